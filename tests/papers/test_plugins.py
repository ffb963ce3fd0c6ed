"""Papers are found by their metadata, and a broken one is a row with its reason while the others work."""

import json
from types import ModuleType

import pytest

from harness.papers.plugins import Listing, Plugin, load
from harness.sweeps.config import _refuse_what_does_not_fit

BROKEN = {
    "raises": ("raise RuntimeError('no luck today')", "no luck today"),
    "leaves": ("import sys; sys.exit(3)", "sys.exit(3)"),
    "lacks": ("import a_module_nobody_has", "a_module_nobody_has"),
    "misspells": ("from harness import hookimpl\n@hookimpl\ndef trian(run): ...", "trian"),
    "states_nothing": (
        "from harness import hookimpl\n@hookimpl\ndef paper(): return 3",
        "returns no harness.Paper",
    ),
    "report": ("", "is a harness command: rename the entry point"),
    "speaks_old": (
        """
from dataclasses import dataclass
from harness import Method, Paper, hookimpl
@dataclass
class Nothing: ...
@hookimpl
def paper():
    return Paper("", "", 2020, "", Nothing, Nothing, {}, {}, [], {}, api_version=0)
""",
        "written for hook API 0, this harness speaks 1: upgrade the plugin",
    ),
}
NEEDS = {  # what a package's metadata ask for; its code imports that only when it runs
    "needs_a_package": ("a-package-nobody-has>=2", "pip install 'a-package-nobody-has>=2'"),
    "needs_it_elsewhere": ("winonly; sys_platform == 'nowhere'", "its paper() hook is missing"),
    "needs_it_for_extras": ("tool-nobody-has; extra == 'dev'", "its paper() hook is missing"),
    "needs_a_later_harness": ("paper-harness>=99", "needs paper-harness >=99, this is"),
}


def install(folder, name: str, code: str, distribution: str = "", needs: str = "") -> None:
    """Put a plugin into `folder` the way an installer would: a module and its metadata."""
    distribution = distribution or f"plugin-{name}"
    module = f"harness_test_{name}_{distribution.replace('-', '_')}"
    (folder / f"{module}.py").write_text(code)
    metadata = folder / f"{distribution.replace('-', '_')}-1.0.dist-info"
    metadata.mkdir()
    about = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n"
    (metadata / "METADATA").write_text(about + (f"Requires-Dist: {needs}\n" if needs else ""))
    (metadata / "entry_points.txt").write_text(f"[harness.papers]\n{name} = {module}\n")


def test_every_broken_plugin_is_a_row_with_its_reason_and_the_others_work(harness):
    for name, (code, _) in BROKEN.items():
        install(harness.folder, name, code)
    for name, (needs, _) in NEEDS.items():
        install(harness.folder, name, "", needs=needs)
    done = harness("papers", "-v", "--json", PYTHONPATH=str(harness.folder))
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert rows["alibi"]["problem"] == ""
    for name, (_, reason) in {**BROKEN, **NEEDS}.items():
        assert reason in rows[name]["problem"], rows[name]


def test_a_broken_plugin_does_not_keep_another_from_running(harness, text):
    install(harness.folder, "raises", *BROKEN["raises"][:1])
    words = ("run", "method=alibi/alibi", "budget=smoke", "tracking=off", f"data.corpus={text}")
    harness(*words, PYTHONPATH=str(harness.folder))
    done = harness("run", "method=raises/x", code=2, PYTHONPATH=str(harness.folder))
    assert "Traceback" not in done.stderr


def test_two_packages_that_claim_one_name_are_both_told(harness):
    install(harness.folder, "twice", "", "one-twice")
    install(harness.folder, "twice", "", "two-twice")
    done = harness("papers", "-v", "--json", PYTHONPATH=str(harness.folder))
    problems = [row["problem"] for row in json.loads(done.stdout) if row["name"] == "twice"]
    assert len(problems) == 2
    assert all("two packages claim" in problem for problem in problems)
    shown = " ".join(harness("papers", PYTHONPATH=str(harness.folder)).stdout.split())
    assert "uninstall one (this one is one-twice)" in shown  # metadata alone tell it
    assert "uninstall one (this one is two-twice)" in shown


def test_what_a_plugin_states_is_checked_word_by_word():
    from dataclasses import replace

    from harness.papers.plugins import _problems, load
    from harness.papers.statement import Claim, level

    paper = load("alibi").paper
    assert paper is not None
    assert not list(_problems(paper))
    wrong = [
        (replace(paper, api_version=99), "hook API 99"),
        (replace(paper, budgets={"small": {}}), "no budget 'smoke'"),
        (
            replace(paper, claims=[Claim("x", level("perplexity_1L", "albi", at_most=1.0), "")]),
            "no method 'albi'",
        ),
        (
            replace(paper, claims=[Claim("x", level("perplxity", "alibi", at_most=1.0), "")]),
            "no metric 'perplxity'",
        ),
        (replace(paper, methods={"alibi": paper.methods["alibi"]}), "no baseline"),
    ]
    for stated, said in wrong:
        assert any(said in problem for problem in _problems(stated)), said


@pytest.mark.parametrize("name", ["alibi"])
def test_the_papers_here_are_listed_with_version_and_words(harness, name):
    rows = {row["name"]: row for row in json.loads(harness("papers", "--json").stdout)}
    assert rows[name]["version"]
    assert rows[name]["summary"]


@pytest.mark.parametrize(
    ("paper", "wants"), [("longskywork", True), ("lora", True), ("score", False), ("alibi", False)]
)
def test_a_hook_that_a_paper_names_says_what_it_asks_for(paper, wants):
    assert load(paper).asks_for("fits", "method") is wants


@pytest.mark.parametrize(("words", "times"), [("task, model", 1), ("method, task", 2)])
def test_a_paper_is_asked_whether_all_fits_once_a_task_and_once_a_method_where_it_wants_to_know(words, times):
    module = ModuleType(f"asks_{times}")
    module.asked = []
    exec(
        f"from harness import hookimpl\n@hookimpl\ndef fits({words}):\n    asked.append(task)\n", vars(module)
    )
    plugin = Plugin(Listing(module.__name__, module.__name__, "", "", ""), module)
    for method in ("a", "b", "a", "b"):
        _refuse_what_does_not_fit(plugin, "a task", {}, None, method)
    assert module.asked == ["a task"] * times
