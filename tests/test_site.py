"""The documentation site builds without a warning, says what the code says, and its pages can be followed."""

import inspect
import json
import re
import runpy
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

import harness as package
from harness.papers import hookspecs
from harness.papers.statement import API_VERSION
from tests.conftest import Harness
from tests.test_docs import commands

pytestmark = pytest.mark.xdist_group("site")  # one site that all look at
ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
WRITTEN = runpy.run_path(str(DOCS / "written.py"))
HOOKS = {
    name: function
    for name, function in vars(hookspecs).items()
    if inspect.isfunction(function) and function.__module__ == "harness.papers.hookspecs"
}


def named(page: str, place: str) -> list[str]:
    """Return what a page documents from docstrings of `place`."""
    found = re.findall(r"^<!-- ::: (\S+) -->$", (DOCS / page).read_text(encoding="utf-8"), flags=re.M)
    return [name.removeprefix(f"{place}.") for name in found if name.rpartition(".")[0] == place]


# What is documented is what there is


def test_every_hook_has_its_place_and_none_is_made_up():
    assert sorted(named("hooks.md", "harness.papers.hookspecs")) == sorted(HOOKS)


def test_every_hook_is_explained_where_it_is_declared():
    for name, function in HOOKS.items():
        said = inspect.getdoc(function) or ""
        assert said.split("\n")[0].endswith("."), name
        for argument in inspect.signature(function).parameters:
            if argument != "app":
                assert argument in said or argument in (hookspecs.__doc__ or ""), (name, argument)


def test_the_page_of_hooks_tells_their_version():
    text = (DOCS / "hooks.md").read_text(encoding="utf-8")
    assert f"This is **version {API_VERSION}** of the hooks" in text
    assert f"Paper(api_version={API_VERSION}, ...)" in text


def test_every_public_name_is_in_the_reference():
    rooms = {path.stem for path in Path(package.__file__).parent.iterdir()}
    assert sorted({*named("api.md", "harness"), "hookimpl"} - rooms) == sorted(package.__all__)


@pytest.mark.parametrize("page", WRITTEN["PAGES"])
def test_what_a_page_takes_from_the_code_is_what_the_code_says(page):
    text = (DOCS / page).read_text(encoding="utf-8")
    assert WRITTEN["written"](text) == text, "run `make pages`"
    assert not re.findall(r"^::: ", text, flags=re.M)


def test_a_reference_shows_the_signature_and_every_word_of_the_docstring():
    said = WRITTEN["reference"]("harness.Run")
    assert "    precision: str,\n" in said
    assert "#### `Run.stage`" in said
    assert "def stage(name: str, inputs: Any, make: Callable[[Path], None]) -> Path" in said
    assert (inspect.getdoc(package.Run.stage) or "?") in said
    assert "_shown" not in said


def test_the_picture_shows_every_room_no_circle_and_no_arrow_that_goes_without_saying():
    drawn = re.findall(r"^  (\w+) --> (\w+)$", WRITTEN["picture"](), flags=re.M)
    graph = WRITTEN["arrows"]()
    assert {room for arrow in drawn for room in arrow} == set(graph)
    reached = {room: WRITTEN["_reached"](room, graph) for room in graph}
    assert not [room for room in graph if room in reached[room]]
    for room, target in drawn:
        assert not [near for near in graph[room] - {target} if target in reached[near]], (room, target)
    for room in graph:  # what the picture lets one reach is what the imports do
        assert {near for near in graph if near in _walked(room, drawn)} == reached[room]


def _walked(room: str, drawn: list[tuple[str, str]]) -> set[str]:
    near = {target for source, target in drawn if source == room}
    return near.union(*(_walked(target, drawn) for target in near))


def test_every_form_of_the_journey_lives_where_the_page_says():
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    places = re.findall(r"\| `(harness/[\w/.]+)(?:: (\w+))?` \|", text)
    assert len(places) > 12
    for file, name in places:
        source = (ROOT / file).read_text(encoding="utf-8")
        assert not name or re.search(rf"^(?:class|def) {name}\b", source, flags=re.M), (file, name)


def test_the_two_first_pages_show_the_same_commands():
    english, korean = commands(DOCS / "index.md"), commands(DOCS / "ko.md")
    assert english == [command.replace(" --lang ko", "") for command in korean[: len(english)]]


# The site


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    words = ("-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder))
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def words(html: str) -> str:
    """Return a page's text without its elements."""
    from html import unescape

    return " ".join(unescape(re.sub(r"<[^>]+>", "", html)).split())


@pytest.mark.slow
def test_every_paper_has_a_page_that_is_its_card(site):
    cards = sorted((ROOT / "plugins").glob("*/README.md"))
    assert cards
    for card in cards:
        page = site / "papers" / f"{card.parent.name}.html"
        shown = words(page.read_text(encoding="utf-8"))
        for heading in re.findall(r"^## (\w[\w ]*)$", card.read_text(encoding="utf-8"), flags=re.M):
            assert heading in shown, (card, heading)


@pytest.mark.slow
def test_the_page_of_hooks_holds_every_docstring(site):
    shown = words((site / "hooks.html").read_text(encoding="utf-8")).replace("`", "")
    for function in HOOKS.values():
        for paragraph in (inspect.getdoc(function) or "").split("\n\n"):
            assert " ".join(paragraph.split()).replace("`", "") in shown, paragraph


@pytest.mark.slow
def test_every_page_is_reached_and_asks_nothing_of_other_hosts(site):
    front = (site / "index.html").read_text(encoding="utf-8")
    for page in site.rglob("*.html"):
        name = page.relative_to(site).as_posix()
        assert name == "404.html" or f'href="{name}"' in front, name
        html = page.read_text(encoding="utf-8")
        assert not re.findall(
            r'<(?:script|img|iframe)[^>]+src="https?:|<link[^>]+href="https?:[^>]+stylesheet', html
        )


def test_a_cards_links_lead_somewhere_on_the_site():
    namespace: dict = {"__file__": str(DOCS / "site.py")}
    exec(compile((DOCS / "site.py").read_text(encoding="utf-8"), "site.py", "exec"), namespace)
    text = "[other](../lora/README.md#x) ![p](../../results/scorecard/alibi-1.svg) [code](harness_alibi/bias.py) [w](https://x.y)"
    made, pictures = namespace["linked"](
        text + "\n```\n[a](b)\n```\n", ROOT / "plugins" / "alibi", "papers/alibi.md"
    )
    assert made == (
        "[other](../papers/lora.md#x) ![p](../results/scorecard/alibi-1.svg) code [w](https://x.y)\n```\n[a](b)\n```\n"
    )
    assert list(pictures) == ["results/scorecard/alibi-1.svg"]


# Pages that are followed from top to bottom


def followed(page: str, harness: Harness, given: dict[str, str], *small: str):
    """Run a page's commands in order, at smoke budget, with `given` in place of names that are only examples."""
    for command in commands(DOCS / page):
        for example, real in given.items():
            command = command.replace(example, real)
        line = shlex.split(command)[1:]
        if line[0] == "run":
            line += ["budget=smoke", "device=cpu", "seed=0", *small]
            if "+experiment=alibi" in line:
                line += ["method=alibi/alibi,alibi/none"]
                line += (
                    []
                    if any(word.startswith("data.") for word in line)
                    else [f"data.corpus={given['mine.txt']}"]
                )
        yield line, harness(*line)


@pytest.mark.slow
def test_the_page_on_own_models_and_data_can_be_followed(tmp_path, text, warm):
    from transformers import BertConfig, BertModel

    from harness.data.sources import Document
    from harness.data.tokens import character_tokenizer

    harness = Harness(tmp_path, warm)
    lines = [line for line in text.read_text(encoding="utf-8").splitlines() if len(line.split()) > 3][:60]
    pairs = [f"{a}\t{b}\t{i % 6}" for i, (a, b) in enumerate(pairwise(lines))]
    (tmp_path / "mine.tsv").write_text("\n".join(["sentence1\tsentence2\tgold", *pairs]), encoding="utf-8")
    tokenizer = character_tokenizer([Document("all", text.read_text(encoding="utf-8"))])
    tokenizer.save_pretrained(tmp_path / "my-encoder")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(tmp_path / "my-encoder")
    for line, done in followed("own-data.md", harness, {"mine.txt": str(text)}, "tracking=off"):
        if line[0] == "data":
            assert "data.sts" in done.stdout
        elif line[0] == "report":
            assert (tmp_path / "results" / "reports" / f"{line[1]}.html").exists()
    results = [json.loads(path.read_text()) for path in (tmp_path / "results" / "runs").rglob("result.json")]
    assert {r["config"]["paper"] for r in results} == {"alibi", "simcse"}
    assert all(r["status"] == "finished" for r in results)
    (model,) = {r["data"]["model"]["name"] for r in results if r["config"]["paper"] == "simcse"}
    assert model == "my-encoder"


@pytest.mark.slow
def test_the_page_on_tracking_can_be_followed(tmp_path, text, warm):
    server = f"sqlite:///{tmp_path / 'team.db'}"
    given = {"http://mlflow.lab:5000": server, "mine.txt": str(text)}
    first, report, off = followed("tracking.md", Harness(tmp_path, warm), given)
    assert "2 finished" in first[1].stderr
    assert (tmp_path / "team.db").exists()
    assert "smoke" in report[1].stdout
    assert "2 already there" in off[1].stderr


@pytest.mark.slow
def test_the_loop_of_the_gates_page_goes_through_all_its_proposals(tmp_path, monkeypatch):
    from benchmarks.referee import loop

    monkeypatch.setenv("HARNESS_LEASES", str(tmp_path / "leases"))
    answers = loop(tmp_path, steps=10, batch=16)
    assert len(answers) == 20
    assert {answer["outcome"] for answer in answers} <= {"kept", "not kept"}
    assert answers[-1]["kept_so_far"] == sum(answer["outcome"] == "kept" for answer in answers)
    assert not any(answer["failures"] for answer in answers)
