"""`harness.api`: the verbs of the command line, in the same folders, with results that show themselves."""

import dataclasses
import html
import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from harness import api
from tests.conftest import Harness

ROOT = Path(__file__).parents[1]
EVIL = "<script>alert('x')</script>&\"'"
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


@pytest.fixture(scope="module")
def lived_in(tmp_path_factory, text):
    """A results folder with a sweep that the API ran, and how it ended."""
    results = tmp_path_factory.mktemp("api") / "a folder" / "results"
    words = ("budget=smoke", "device=cpu", "tracking=off", f"data.corpus={text}", "hydra/launcher=basic")
    return results, api.run("method=alibi/alibi,alibi/learned", "seed=0,1", *words, results=results)


def test_run_leaves_what_the_command_line_leaves(lived_in, warm):
    results, sweep = lived_in
    assert sweep.exit_code == 0
    assert {(one.method, one.seed, one.outcome) for one in sweep.runs} == {
        (method, seed, "finished") for method in ("alibi", "learned") for seed in (0, 1)
    }
    assert all((one.folder / "result.json").exists() for one in sweep.runs)
    told = json.loads(Harness(results.parent, warm)("status", "--json").stdout)
    assert {row["folder"] for row in told} == {str(one.folder) for one in sweep.runs}


def test_report_says_what_the_command_line_says(lived_in, warm):
    results, _ = lived_in
    found = api.report("alibi", results=results)
    (told,) = json.loads(Harness(results.parent, warm)("report", "alibi", "--json").stdout)
    assert [one.text for one in found.verdicts] == [claim["text"] for claim in told["claims"]]
    assert [one.word for one in found.verdicts] == [claim["verdict"] for claim in told["claims"]]
    assert found.page.read_text(encoding="utf-8") == found.html
    assert found.exit_code == 0


def test_compare_pairs_the_seeds(lived_in):
    results, _ = lived_in
    found = api.compare("alibi/alibi", "alibi/learned", results=results, metrics=["perplexity_1L"])
    ((name, metric),) = found.pairs[0]["metrics"].items()
    assert (name, metric["seeds"]) == ("perplexity_1L", 2)
    assert found.page.exists()


@pytest.mark.slow
def test_decide_says_what_stays_open_and_why(lived_in, text):
    results, _ = lived_in
    words = (
        "method=alibi/alibi,alibi/learned,alibi/sinusoidal",
        "budget=smoke",
        "device=cpu",
        "tracking=off",
    )
    found = api.decide(
        *words, f"data.corpus={text}", "hydra/launcher=basic", results=results, claims=["1"], looks=[3], most_seeds=3
    )  # fmt: skip
    assert found.exit_code == 4
    assert found.open[0].why == "the plan's 3 seeds are used up"
    assert len(found.verdicts) == 1
    assert "seeds are used up" in found._repr_html_()


WRONG = {
    "a method": lambda: api.run("method=alibi/alibo", "budget=smoke"),
    "a flag": lambda: api.run("--help"),
    "a flag of decide": lambda: api.decide("--cfg", "job"),
    "a paper": lambda: api.report("no_such_paper"),
    "runs": lambda: api.compare("alibi/alibi", "alibi/rotary", results="nowhere"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_goes_wrong_is_raised_with_its_fix(what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(api.HarnessError) as caught:
        WRONG[what]()
    assert caught.value.fix


class Elements(HTMLParser):
    """Which elements a text has, and what is in its frame."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.frame = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        given = dict(attrs)
        if tag == "iframe":
            assert "sandbox" in given
            assert not given["sandbox"]
            self.frame = given["srcdoc"]


def test_a_result_shows_itself_and_escapes_what_came_from_data(lived_in):
    results, sweep = lived_in
    run = dataclasses.replace(sweep.runs[0], error=EVIL, method=EVIL)
    shown = dataclasses.replace(sweep, runs=(run,))._repr_html_()
    assert set(Elements(shown).names) <= {"table", "thead", "tbody", "tr", "th", "td", "p"}
    assert html.escape(EVIL) in shown
    report = api.report("alibi", results=results)
    assert Elements(report._repr_html_()).frame == report.html
    assert Elements(report._repr_html_()).names == ["iframe"]
    verdict = dataclasses.replace(report.verdicts[0], text=EVIL, reason=EVIL)
    assert "script" not in Elements(verdict._repr_html_()).names
    stopped = api.Decision((), (api.Open(EVIL, EVIL, None, None),), (), 0, EVIL, 4, "")
    assert "script" not in Elements(stopped._repr_html_()).names


def test_results_are_values_that_nobody_changes(lived_in):
    _, sweep = lived_in
    with pytest.raises(dataclasses.FrozenInstanceError):
        sweep.exit_code = 1  # type: ignore[misc]


def test_importing_it_is_cheap():
    code = (
        "import sys, harness.api; print(sorted(set(sys.modules) & "
        "{'torch', 'numpy', 'scipy', 'pandas', 'hydra', 'mlflow', 'jinja2', 'pydantic', 'typer', 'rich'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert code
    assert not [cell for cell in code if cell["outputs"] or cell["execution_count"]]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(path, tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(
        notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    shown = [out.data for cell in notebook.cells for out in cell.get("outputs", ()) if "data" in out]
    assert any("text/html" in data and "<iframe sandbox" in data["text/html"] for data in shown)
    assert (tmp_path / "results" / "reports" / "alibi.html").exists()
