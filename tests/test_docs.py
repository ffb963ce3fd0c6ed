"""What the pages say is so: every command runs at smoke budget, and tables equal the files behind them."""

import json
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from harness.reports.publish import with_table
from harness.reports.stored import read_cards

pytestmark = pytest.mark.xdist_group("docs")  # one folder that is lived in
ROOT = Path(__file__).parent.parent
FOLLOWED = (
    "first-plugin.md",
    "plugin.md",
    "sampler.md",
    "own-data.md",
    "ko-own-data.md",  # the same commands, below
    "tracking.md",
    "gate.md",
)  # from top to bottom: test_install, test_site
SKILL = sorted((ROOT / "harness" / "skills").rglob("*.md"))
PAGES = [
    ROOT / "README.md",
    ROOT / "AGENTS.md",
    *SKILL,
    *sorted((ROOT / "plugins").glob("*/README.md")),
    *sorted(page for page in (ROOT / "docs").glob("*.md") if page.name not in FOLLOWED),
]
ELSEWHERE = (
    "ui",
    "check",
)  # one stays in the foreground; the other takes a minute: tests/contract, test_install


def commands(page: Path) -> list[str]:
    """Return the `harness` commands of a page's console blocks, without comments."""
    blocks = re.findall(r"```console\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.S)
    lines = [line.strip()[2:].split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("harness ")]


FEWER = {  # a sweep's methods, cut to two for the test
    "alibi": "alibi/alibi,alibi/learned",
    "alibi_ablations": "alibi/alibi_half_heads,alibi/alibi_interpolated",
    "alibi_retrofit": "alibi/retrofit,alibi/retrofit_base",
    "quickstart": "alibi/alibi,alibi/learned",
    "iclm": "iclm/in_context,iclm/random",
    "lora": "lora/lora_r8,lora/base",
    "magpie": "magpie/magpie,magpie/magpie_bare_template",
    "magpie_temperature": "magpie/magpie_hot",
    "longskywork": "longskywork/cip,longskywork/concatenate",
    "rdass": "rdass/rdass,rdass/rouge_1_syllable",
    "rdass_p_sbert": "rdass/p_sbert_scratch",
    "simcse": "simcse/unsupervised,simcse/untuned",
    "simcse_two_layers": "simcse/no_dropout,simcse/untuned",
    "simcse_six_layers": "simcse/no_dropout,simcse/untuned",
    "score": "score/score,score/base",
    "score_few": "score/star",
}
TINY = {"score": ("task.train_problems=24",)}  # what an experiment asks for and two digits have not
TEXTS = {
    "lora": ("train", "general"),
    "score": (),
    "score_few": (),
    "magpie": (),
    "magpie_temperature": (),
}  # the data that a short text stands for, where it is not the corpus
COMMANDS = sorted({c for page in PAGES for c in commands(page) if c.split()[1] not in ELSEWHERE})


def smoke(words: list[str], text: Path) -> list[str]:
    """Return a documented command at smoke budget, on a short text, with two methods and one seed."""
    words = [word.replace("my.txt", str(text)).replace("mine/", f"{text.parent}/") for word in words]
    words = [word.replace("python train.py", f"{sys.executable} train.py") for word in words]
    if words[0] == "bundle":  # what the page then verifies was made before more was run on other texts
        words = [word.replace("alibi.zip", "another.zip") for word in words]
    if words[0] not in ("run", "decide"):
        return words
    kept = [w for w in words if not w.startswith(("budget=", "device=", "task."))]
    small = [
        "budget=smoke",
        "device=cpu",
        "tracking=off",
        "seed=0",
        *(w for w in words if w.startswith("task.length")),
    ]
    experiment = next((w.partition("=")[2] for w in words if w.startswith("+experiment=")), "")
    paper = next((w.partition("=")[2].partition("/")[0] for w in words if w.startswith("method=")), "")
    if not any(word.startswith("data.") for word in words):
        small += [f"data.{name}={text}" for name in TEXTS.get(experiment or paper, ("corpus",))]
    if experiment in FEWER:
        small.append(f"method={FEWER[experiment]}")
    small += TINY.get(experiment, ())
    if words[0] == "decide":  # which says itself what seeds it takes
        small.remove("seed=0")
    else:
        small.append("tuned=false")
    return [*kept, *(w.replace("task.length=128", "task.length=24") for w in small)]


@pytest.fixture(scope="module")
def lived_in(tmp_path_factory, text, warm):
    """A folder where something has been run, so that reports and tables have something to show."""
    from harness.data.sources import Document
    from harness.data.tokens import character_tokenizer
    from tests.conftest import Harness

    harness = Harness(tmp_path_factory.mktemp("docs"), warm)
    # A folder of that name is that tokenizer: none is fetched.
    character_tokenizer([Document("", text.read_text(encoding="utf-8"))]).save_pretrained(
        harness.folder / "gpt2"
    )
    several = (
        *(
            "rdass/rdass",
            "rdass/length",
            "simcse/untuned",
            "simcse/whitening",
            "score/base",
            "longskywork/cip",
        ),
        *("magpie/magpie", "magpie/magpie_bare_template"),
    )
    for words in (
        ["method=alibi/alibi,alibi/learned", f"data.corpus={text}"],
        [f"method={','.join(several)}", "tuned=false"],
        ["method=iclm/random,iclm/in_context", "tuned=false", f"data.corpus={text}"],
        ["method=lora/lora_r8", "tuned=false", f"data.train={text}", f"data.general={text}"],
    ):
        harness("run", "-m", *words, "budget=smoke", "device=cpu", "tracking=off")
    harness("bundle", "alibi", "--out", "alibi.zip")
    for example in ROOT.glob("plugins/*/tests/examples/*"):  # the files that a card's commands name
        shutil.copy(example, harness.folder)
    for folder, more in (("base", 1), ("changed", 0)):  # what a page about the gate speaks of
        (harness.folder / folder).mkdir()
        (harness.folder / folder / "train.py").write_text(TRAIN.format(more=more), encoding="utf-8")
    return harness


def test_the_korean_page_on_own_data_has_the_commands_of_the_english_one():
    english, korean = (commands(ROOT / "docs" / name) for name in ("own-data.md", "ko-own-data.md"))
    assert {command.replace(" --lang ko", "") for command in korean} <= {*english, "harness report alibi"}


@pytest.mark.parametrize(("page", "example"), [("sampler.md", "min_p"), ("plugin.md", "neftune")])
def test_an_example_is_what_its_page_writes(page, example):
    """So the contract of both is checked once, where the page is followed (tests/test_install.py)."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    files = re.findall(r"```(?:python|yaml) title=\"(.+?)\"\n(.*?)```", text, flags=re.S)
    assert {name.partition("/")[0] for name, _ in files} == {example}
    for name, written in files:
        assert (ROOT / "examples" / name).read_text(encoding="utf-8") == written, name


TRAIN = """
import json, sys
seed = int(sys.argv[2])
print(json.dumps({{"loss": {more} + (seed * 7 + {more} * 3) % 5 / 100}}))
"""


@pytest.mark.parametrize("command", COMMANDS)
def test_a_documented_command_runs(lived_in, text, command):
    words = smoke(shlex.split(command)[1:], text)
    before = set(lived_in.folder.rglob("result.json"))
    done = lived_in(*words, code=4 if words[0] == "decide" else 0)  # smoke runs decide nothing
    if words[0] == "run":
        assert set(lived_in.folder.rglob("result.json")) - before or "already there" in done.stderr
    elif words[0] == "report":
        assert list((lived_in.folder / "results" / "reports").glob("*.html"))
    else:
        assert done.stdout.strip()


def test_every_page_of_the_skill_is_named_on_its_first_one_and_says_what_it_is_for():
    first, *_ = [path for path in SKILL if path.name == "SKILL.md"]
    text = first.read_text(encoding="utf-8")
    front = text.split("---\n")[1]
    assert re.search(r"^name: paper-harness$", front, flags=re.M)
    (about,) = re.findall(r"^description: (.+)$", front, flags=re.M)
    assert len(about) <= 1024
    for page in SKILL:
        assert page == first or f"`{page.name}`" in text, page


def test_the_agents_page_shows_an_error_as_it_is(lived_in):
    page = (ROOT / "docs" / "agents.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```json\n(.*?)\n```", page, flags=re.S)
    done = lived_in("run", "--json", "method=alibi/alibo", code=2)
    assert json.loads(done.stdout) == json.loads(shown)


@pytest.mark.parametrize("page", ["README.md", "results/README.md"])
def test_the_scorecard_on_a_page_is_the_one_in_the_files(page):
    cards = read_cards(ROOT / "results" / "scorecard")
    text = (ROOT / page).read_text(encoding="utf-8")
    assert with_table(text, cards) == text
    assert cards


def test_the_tree_in_the_readme_names_all_that_is_there():
    tree = (ROOT / "README.md").read_text(encoding="utf-8").split("## The house")[1].split("## ")[0]
    for name in re.findall(r"^    (\w+)/", tree, flags=re.M):
        assert (ROOT / name).is_dir(), name
    named = set(re.findall(r"\b(\w+(?:/|\.py))", tree.split("    plugins/")[0]))
    there = {
        path.name + ("/" if path.is_dir() else "")
        for path in (ROOT / "harness").iterdir()
        if not path.name.startswith("_") and path.suffix in ("", ".py") and not path.is_symlink()
    }
    assert there <= named, there - named
    assert {name for name in named if name.endswith(".py")} <= there
