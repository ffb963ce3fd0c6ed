"""The wheels hold everything: in a fresh environment, from any folder, the harness and a stranger's paper work.

The environment has this one's libraries by links, but neither the harness nor any paper of this checkout:
those come from wheels, as for anyone.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
STRANGER = ROOT / "tests" / "stranger"
OWN = ("harness", "paper_harness", "__editable__")
pytestmark = [pytest.mark.install, pytest.mark.xdist_group("install")]  # one environment for all of them


class Environment:
    """A fresh virtual environment and a folder to be in."""

    def __init__(self, home: Path) -> None:
        self.home, self.bin = home, home / "env" / "bin"
        self.wheels, self.folder = home / "wheels", home / "somewhere"
        self.folder.mkdir()
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home / "env")], check=True)
        libraries = home / "libraries"
        libraries.mkdir()
        for path in Path(sysconfig.get_path("purelib")).iterdir():
            if not path.name.startswith(OWN) and path.suffix != ".pth":
                (libraries / path.name).symlink_to(path)
        (site,) = (home / "env").glob("lib/python*/site-packages")
        (site / "libraries.pth").write_text(f"{libraries}\n")

    def __call__(self, *words: str, code: int = 0, both: bool = False) -> str:
        """Run a program of the environment from its folder; return what it printed, `both` to the two streams."""
        environ = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
        environ |= {"PATH": f"{self.bin}:{environ['PATH']}", "OMP_NUM_THREADS": "1"}
        command = [str(self.bin / words[0]), *words[1:]]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, env=environ)
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        if both:
            return done.stdout + done.stderr
        return done.stdout if code == 0 else done.stderr

    def build(self, project: Path) -> Path:
        """Build a project's wheel from a copy of it, and return the wheel."""
        ignore = shutil.ignore_patterns(
            ".venv", ".git", "build", "*.egg-info", "__pycache__", "results", "plugins"
        )
        copy = self.home / "sources" / str(len(list(self.home.glob("sources/*"))))
        shutil.copytree(project, copy, ignore=ignore)
        into = self.wheels / copy.name  # another build of the same version has the same name
        words = ("wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(into))
        self("python", "-m", "pip", *words, str(copy))
        (made,) = into.glob("*.whl")
        return made


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """An environment with the harness's wheel in it, and no paper."""
    environment = Environment(tmp_path_factory.mktemp("fresh"))
    made = environment.build(ROOT)
    environment("python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(made))
    return environment


def test_the_wheel_holds_the_licence_and_no_tests(fresh):
    (wheel,) = fresh.wheels.glob("*/paper_harness-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert any(name.endswith("licenses/NOTICE") for name in names)
    assert "harness/conf/config.yaml" in names
    assert "harness/py.typed" in names
    rooms = {path.parent.name for path in (ROOT / "harness").glob("*/__init__.py")}
    assert rooms == {name.split("/")[1] for name in names if re.fullmatch(r"harness/\w+/__init__.py", name)}
    assert len(rooms) >= 10
    for path in (ROOT / "harness").rglob("*"):  # and every file of theirs
        if path.suffix in (".py", ".yaml", ".jinja", ".md") and "__pycache__" not in path.parts:
            assert path.relative_to(ROOT).as_posix() in names
    assert not [name for name in names if name.startswith("tests")]
    assert Path(fresh("harness", "skill", "--path").strip(), "SKILL.md").is_relative_to(fresh.home / "env")
    assert '"x-untrusted": true' in fresh("harness", "schema", "report")
    assert fresh("harness", "--version").split() == ["harness", wheel.name.split("-")[1]]


def test_a_strangers_paper_is_built_installed_checked_swept_reported_and_removed(fresh):
    papers = json.loads(fresh("harness", "papers", "--json"))
    assert papers == []

    # Built and installed, with its requirements looked at: the harness it asks for is the one from the wheel.
    wheel = fresh.build(STRANGER)
    fresh("python", "-m", "pip", "install", "--quiet", "--no-index", str(wheel))
    where = "import harness, harness_mixup; print(harness.__file__, harness_mixup.__file__)"
    for path in fresh("python", "-c", where).split():
        assert Path(path).is_relative_to(fresh.home / "env"), path

    # Listed.
    (row,) = json.loads(fresh("harness", "papers", "-v", "--json"))
    assert (row["name"], row["distribution"], row["problem"]) == ("mixup", "paper-harness-mixup", "")
    assert list(row["methods"]) == ["mixup", "erm", "dropout"]

    # Checked: its own tests, one of which is the contract; and its own command.
    tests = shutil.copytree(STRANGER / "tests", fresh.folder / "tests")
    assert "6 passed" in fresh("python", "-m", "pytest", "-q", "--import-mode=importlib", str(tests))
    assert "0.4 to 0.5" in fresh("harness", "mixup", "weights")

    # Swept, by the experiment it ships, and reported.
    fresh(
        "harness",
        "run",
        "-m",
        "+experiment=mixup",
        "budget=smoke",
        "task.steps=100",
        "seed=0,1,2",
        "tracking=off",
        "device=cpu",
    )
    assert len(list(fresh.folder.glob("results/runs/mixup/*/*/result.json"))) == 9
    (card,) = json.loads(fresh("harness", "report", "mixup", "--json"))
    assert [method["seeds"] for method in card["methods"]] == [[0, 1, 2]] * 3
    for claim in card["claims"]:
        assert claim["verdict"] in ("holds", "fails", "open")
        assert claim["low"] < claim["value"] < claim["high"]
    assert "With wrong labels" in (fresh.folder / "results" / "reports" / "mixup.html").read_text()

    # Removed: its name is unknown again, and the harness goes on.
    fresh("python", "-m", "pip", "uninstall", "--quiet", "--yes", "paper-harness-mixup")
    assert json.loads(fresh("harness", "papers", "-v", "--json")) == []
    assert "mixup" in fresh("harness", "run", "method=mixup/mixup", code=2)
    fresh("harness", "status")


def test_a_paper_written_before_the_rooms_still_keeps_the_contract(fresh, tmp_path):
    """The stranger's paper, importing what strangers used by the paths it had then."""
    old = shutil.copytree(STRANGER, tmp_path / "stranger")
    hooks = [
        "from harness.hookspecs import hookimpl",
        "from harness.lazy import lazy",
        "from harness.paper import Claim, Figure, Items, Method, Metric, Paper, difference",
        "from harness.run import Run",
    ]
    used = [
        "from harness.evals import nll",
        "from harness.isolate import quiet_libraries",
        "from harness.results import digest, write_json",
        "from harness.stages import stage",
    ]
    for name, lines in (("__init__.py", hooks), ("training.py", [*used, "from harness import Items, Run"])):
        path = old / "harness_mixup" / name
        text, count = re.subn(r"^from harness import .*$", "\n".join(lines), path.read_text(), flags=re.M)
        assert count == 1
        path.write_text(text)
    wheel = fresh.build(old)
    fresh("python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel))
    told = fresh("python", "-W", "always", "-c", "import harness_mixup.training", both=True)
    assert "harness.results is harness.runs.results now" in told
    said = fresh("harness", "check", "mixup")
    assert re.search(r"(\d+) of \1 checks passed", said)
    fresh("python", "-m", "pip", "uninstall", "--quiet", "--yes", "paper-harness-mixup")


def test_a_paper_of_this_repository_is_whole_in_its_wheel(fresh):
    """A paper runs from its wheel in the tests above and below; here: its experiments and modules are all in it."""
    wheel = fresh.build(ROOT / "plugins" / "alibi")
    fresh("python", "-m", "pip", "install", "--quiet", "--no-index", str(wheel))
    names = set(zipfile.ZipFile(wheel).namelist())
    package = ROOT / "plugins" / "alibi" / "harness_alibi"
    for path in [*package.rglob("*.py"), *package.rglob("*.yaml")]:
        assert str(path.relative_to(package.parent)) in names
    assert "length: 64" in fresh("harness", "run", "+experiment=alibi", "method=alibi/alibi", "--cfg", "job")


FOLLOWED = {  # a page: its paper, what makes its sweep shorter, how its first claim begins
    "first-plugin.md": ("gated_ngram", ["data.corpus={text}", "task.steps=20"], "Gates lower perplexity"),
    "plugin.md": ("neftune", ["task.steps=20", "task.base_steps=30"], "Noise in tuning lowers"),
    "sampler.md": ("min_p", ["task.items=40", "task.base_steps=150"], "At 2 min-p is right"),
}


@pytest.mark.parametrize("page", FOLLOWED)
def test_a_page_on_plugins_followed_word_by_word_ends_in_a_verdict(fresh, text, page):
    """Its commands are run and its files written as they stand there; only the sweep is made shorter."""
    paper, shorter, begins = FOLLOWED[page]
    shorter = [word.format(text=text) for word in shorter]
    written = (ROOT / "docs" / page).read_text(encoding="utf-8")
    fence = r"```(console|diff|python|yaml)(?: title=\"(.+?)\")?\n(.*?)```"
    for kind, title, block in re.findall(fence, written, flags=re.S):
        if kind == "console":
            for line in block.splitlines():
                follow(fresh, shlex.split(line.removeprefix("$ "), comments=True), shorter)
        elif kind == "diff":
            path = fresh.folder / title
            old = "".join(line[1:] for line in block.splitlines(keepends=True) if line[0] in "- ")
            new = "".join(line[1:] for line in block.splitlines(keepends=True) if line[0] in "+ ")
            assert path.read_text().count(old) == 1, title
            path.write_text(path.read_text().replace(old, new))
        elif title:
            assert (fresh.folder / title).parent.is_dir()
            (fresh.folder / title).write_text(block)
    cards = json.loads(fresh("harness", "report", paper, "--json"))
    (card,) = (card for card in cards if card["budget"] == "small")  # beside the page's first smoke run
    claim = card["claims"][0]
    assert claim["text"].startswith(begins)
    assert claim["seeds"] == 3
    assert claim["verdict"] in ("holds", "fails", "open")
    assert claim["low"] <= claim["value"] <= claim["high"]
    assert (fresh.folder / "results" / "reports" / f"{paper}.html").exists()
    rows = json.loads(fresh("harness", "papers", "-v", "--json"))
    (row,) = (row for row in rows if row["name"] == paper)
    assert not row["problem"]  # also after the page's last change
    fresh("python", "-m", "pip", "uninstall", "--quiet", "--yes", row["distribution"])


def follow(fresh: Environment, words: list[str], shorter: list[str]) -> None:
    """Do a line of a page's console; a checkout's file comes out of this one."""
    if words[0] == "rm":
        for name in words[1:]:
            (fresh.folder / name).unlink()
        return
    if words[0] == "cp":
        shutil.copy(ROOT / words[1], fresh.folder / words[2])
        return
    if words[0] == "pip":
        words = ["python", "-m", *words, "--quiet", "--no-index", "--no-build-isolation"]
    if words[0] == "pytest":
        words = ["python", "-m", *words]
    if words[:2] == ["harness", "run"]:
        words = [
            *words,
            *(word for word in shorter if word.startswith("data.")),
            "device=cpu",
            "tracking=off",
        ]
        if "-m" in words:
            words += [*shorter, "seed=0,1,2", "hydra.launcher.n_jobs=1"]
            words = list(dict.fromkeys(words))
    fresh(*words)


@pytest.mark.parametrize("example", ["neftune", "min_p"])
def test_an_example_is_built_installed_run_and_leaves_nothing_behind(fresh, example):
    package, distribution = f"harness_{example}", f"paper-harness-{example.replace('_', '-')}"
    wheel = fresh.build(ROOT / "examples" / example)
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in (ROOT / "examples" / example / package).rglob("*.*"):
        if path.suffix in (".py", ".yaml", ".jsonl"):
            assert str(path.relative_to(ROOT / "examples" / example)) in names
    site = next((fresh.home / "env").glob("lib/python*/site-packages"))
    before = {path.name for path in site.iterdir()}
    fresh("python", "-m", "pip", "install", "--quiet", "--no-index", str(wheel))
    (row,) = (row for row in json.loads(fresh("harness", "papers", "-v", "--json")) if row["name"] == example)
    assert (row["distribution"], row["problem"]) == (distribution, "")
    fresh("harness", "run", f"method={example}/{example}", "budget=smoke", "tracking=off", "device=cpu")
    assert list(fresh.folder.glob(f"results/runs/{example}/{example}/*/result.json"))
    fresh("python", "-m", "pip", "uninstall", "--quiet", "--yes", distribution)
    assert {path.name for path in site.iterdir()} == before
    assert example in fresh("harness", "run", f"method={example}/{example}", code=2)
