"""A run is stale when its paper would use other definitions today; what no hook reaches does not count."""

import importlib
import shutil
import sys
import time
from pathlib import Path

import pytest

from harness.papers import reach
from harness.papers.plugins import load
from harness.runs import provenance
from harness.runs.provenance import code, definitions, file_digest, stale
from harness.runs.results import Record, Result

INIT = '''"""The paper."""
from harness import Method, Metric, Paper, hookimpl
from harness_grass.claims import CLAIMS
from harness_grass.metrics import METRICS
from harness_grass.settings import Data, Grass, Task

METHODS = {"grass": Method(Grass(), "it"), "bare": Method(Grass(0), "without", baseline=True)}


@hookimpl
def paper():
    return Paper(
        title="Grass", authors="A. Nobody", year=2020, url="", task=Task, data=Data, methods=METHODS,
        metrics=METRICS, claims=CLAIMS, figures=[], budgets={"smoke": {}, "small": {}, "full": {}},
        hooks={"prepare": "work", "train": "work"},
    )


@hookimpl(specname="evaluate")
def judged(run, split):
    from harness_grass.judging import evaluate

    return evaluate(run, split)
'''
FILES = {
    "__init__.py": INIT,
    "claims.py": """from harness import Claim, difference

CLAIMS = [Claim("grass is greener", difference("green", "grass", than="bare"), "Table 1")]
""",
    "metrics.py": '''from harness import Metric

MULTIPLES = (1, 2, 4)


def share(columns):
    """Return the share of what is over the level."""
    return float((columns["green"] > LEVEL).mean())


LEVEL = 0.5
SHORT = 3
METRICS = {
    "green": Metric("higher", "how green", reduce=share),
    "tall": Metric("higher", "how tall"),
    "short": Metric("lower", "how short", reduce=lambda columns: float(columns["tall"].min() - SHORT)),
}
''',
    "settings.py": '''from dataclasses import dataclass

from harness import setting, source


@dataclass
class Task:
    """What all share."""

    rows: int = setting(3, "rows of grass")


@dataclass
class Data:
    """What is read."""

    meadow: str = source("builtin:python", "a meadow")


@dataclass
class Grass:
    """A method."""

    water: int = setting(1, "litres")

    def rain(self):
        return self.water * 2
''',
    "work.py": '''"""Prepare and train."""
from math import sqrt

import harness_grass.seeds as seeds
from harness_grass.soil import dig as turn


def prepare(task, data, data_dir):
    """Fill the folder."""
    (data_dir / "soil").write_text(str(turn(task.rows)))


def train(run):
    # grow
    return sqrt(grow(run.method.rain()) + seeds.sow() + seeds.KINDS["dry"](1))


def grow(height):
    return height + 1


def unused():
    return grow(0)
''',
    "soil.py": """def dig(rows):
    return rows * DEPTH


DEPTH = 2
""",
    "seeds.py": """KINDS = {}


def sow():
    return 1


def kind(function):
    KINDS[function.__name__] = function
    return function


@kind
def dry(n):
    return n


KINDS["wet"] = sow
""",
    "judging.py": '''from harness.fit import seed_everything
from harness_grass.metrics import MULTIPLES


class Judge:
    """A judge."""

    def look(self):
        """Look."""
        return MULTIPLES


def evaluate(run, split):
    seed_everything(run.seed)
    return {f"green_{m}": 1.0 for m in Judge().look()}
''',
    "commands.py": """from harness_grass.work import grow

print("a tool", grow)
""",
}


@pytest.fixture
def grass(tmp_path, monkeypatch):
    """Install a paper in a folder of its own; return that of its package."""
    folder = tmp_path / "harness_grass"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    about = tmp_path / "harness_grass-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: harness-grass\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[harness.papers]\ngrass = harness_grass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    fresh()
    yield folder
    fresh()


def fresh():
    """Forget what was read and imported, as a new process would."""
    importlib.invalidate_caches()
    for name in [name for name in sys.modules if name.startswith("harness_grass")]:
        del sys.modules[name]
    for known in (reach.read, reach.source_of, provenance._today, provenance._changed):
        known.cache_clear()


def a_run(metrics=("green", "tall", "short")) -> Record:
    made = code(load("grass"), metrics)
    fresh()
    return Record(Path(), Result("0" * 64, "finished", {"paper": "grass"}, code=made))


def edit(file: Path, before: str, after: str) -> None:
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))


def test_a_run_names_what_it_used(grass):
    made = a_run().result.code["definitions"]
    own = {name for name in made if name.startswith("harness_grass")}
    statements = {name for name in own if "<" in name}
    assert len(statements) == 1  # KINDS["wet"] = sow
    assert own - statements == {
        *("harness_grass:judged", "harness_grass.judging:evaluate", "harness_grass.judging:Judge"),
        *("harness_grass.metrics:MULTIPLES", "harness_grass.metrics:METRICS", "harness_grass.metrics:LEVEL"),
        *("harness_grass.metrics:share", "harness_grass.metrics:SHORT", "harness_grass.settings:Task"),
        *("harness_grass.settings:Grass", "harness_grass.work:prepare", "harness_grass.work:train"),
        *("harness_grass.work:grow", "harness_grass.soil:dig", "harness_grass.soil:DEPTH"),
        *("harness_grass.seeds:KINDS", "harness_grass.seeds:sow", "harness_grass.seeds:kind"),
        "harness_grass.seeds:dry",
    }
    assert {"metric:green", "metric:tall", "metric:short", "harness.fit.loop:seed_everything"} <= made.keys()
    rooms = {name.rpartition(":")[0] for name in made if name.startswith("harness.")}
    carrying = {
        room for room in rooms if room.startswith(("harness.runs", "harness.papers", "harness.errors"))
    }
    assert carrying == {"harness.papers.reduction"}


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("claims.py", "grass is greener", "grass is much greener"),
        ("__init__.py", "A. Nobody", "A. Somebody"),
        ("work.py", "\n\ndef unused():\n    return grow(0)\n", ""),
        ("work.py", "return grow(0)", "return grow(9)"),
        ("work.py", "# grow", "# let it grow"),
        ("work.py", '    """Fill the folder."""\n', ""),
        ("work.py", "grow(run.method.rain())", "grow(\n        run.method.rain(),\n    )"),
        ("judging.py", '"""A judge."""', '"""A judge of grass."""'),
        ("judging.py", '        """Look."""\n', ""),
        ("soil.py", "", "UNASKED = 1\n"),
        ("commands.py", "a tool", "the tool"),
        ("work.py", "import harness_grass.seeds as seeds", "from harness_grass import seeds"),
        ("metrics.py", '    "tall"', '    # it grows\n    "tall"'),
    ],
)
def test_a_run_stays_as_it_is_when_nothing_that_it_used_changes(grass, file, before, after):
    run = a_run()
    edit(grass / file, before, after) if before else (grass / file).write_text(after + FILES[file])
    assert not stale(run)


def test_a_definition_may_move_to_another_file_and_a_file_to_another_name(grass):
    run = a_run()
    shutil.move(grass / "soil.py", grass / "earth.py")
    edit(grass / "work.py", "harness_grass.soil", "harness_grass.earth")
    edit(grass / "metrics.py", "MULTIPLES = (1, 2, 4)\n", "")
    (grass / "grid.py").write_text("MULTIPLES = (1, 2, 4)\n")
    edit(grass / "judging.py", "harness_grass.metrics", "harness_grass.grid")
    assert not stale(run)


def test_a_definition_may_be_called_otherwise_by_who_imports_it(grass):
    run = a_run()
    edit(
        grass / "work.py", "from harness_grass.soil import dig as turn", "from harness_grass.soil import dig"
    )
    edit(grass / "work.py", "turn(task.rows)", "dig(task.rows)")
    assert not stale(run)


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("metrics.py", "MULTIPLES = (1, 2, 4)", "MULTIPLES = (1, 3, 4)"),
        ("metrics.py", "LEVEL = 0.5", "LEVEL = 0.6"),
        ("metrics.py", "SHORT = 3", "SHORT = 4"),
        ("metrics.py", "> LEVEL).mean", ">= LEVEL).mean"),
        ("metrics.py", '"how tall")', '"how tall", reduce="exp_mean")'),
        ("soil.py", "DEPTH = 2", "DEPTH = 3"),
        ("work.py", "height + 1", "height + 2"),
        ("work.py", "from math import sqrt", "from cmath import sqrt"),
        ("work.py", "from math import sqrt", "from harness_grass.judging import Judge as sqrt"),
        ("settings.py", "self.water * 2", "self.water * 3"),
        ("judging.py", "return MULTIPLES", "return MULTIPLES[:2]"),
        ("seeds.py", "def dry(n):\n    return n\n", "def dry(n):\n    return n + 1\n"),
        ("seeds.py", 'KINDS["wet"] = sow', 'KINDS["wet"] = KINDS["dry"]'),
        ("seeds.py", 'KINDS["wet"] = sow', 'KINDS["wet"] = sow\nKINDS["dry"] = sow'),
        (
            "__init__.py",
            "import evaluate\n\n    return evaluate(",
            "import evaluate\n\n    return dict() or evaluate(",
        ),
        ("__init__.py", '"train": "work"', '"train": "judging"'),
    ],
)
def test_a_run_is_stale_when_something_that_it_used_changes(grass, file, before, after):
    run = a_run()
    edit(grass / file, before, after)
    assert stale(run)


def test_another_function_of_the_same_name_makes_a_run_stale(grass):
    (grass / "other.py").write_text("def dig(rows):\n    return rows\n")
    run = a_run()
    edit(grass / "work.py", "from harness_grass.soil", "from harness_grass.other")
    assert stale(run)


def test_a_metric_that_a_run_does_not_have_may_change(grass):
    run = a_run(["tall"])
    edit(grass / "metrics.py", "LEVEL = 0.5", "LEVEL = 0.6")
    assert not stale(run)


def test_a_run_of_a_paper_that_is_gone_is_stale(grass):
    run = a_run()
    shutil.rmtree(grass.parent / "harness_grass-1.dist-info")
    assert stale(run)


def test_what_prepare_uses_decides_whether_data_are_prepared_again(grass):
    def key():
        fresh()
        return definitions(load("grass"), ["prepare"])

    first = key()
    edit(grass / "work.py", "height + 1", "height + 2")
    edit(grass / "settings.py", "self.water * 2", "self.water * 3")
    assert key() == first
    edit(grass / "soil.py", "DEPTH = 2", "DEPTH = 3")
    assert key() != first


def test_runs_of_the_first_shape_are_compared_file_by_file_where_the_files_lie_now(grass):
    harness = Path(reach.__file__).parents[1]
    modules = {
        "harness.evals": file_digest(harness / "nn" / "evals.py"),  # before there were rooms
        "harness_grass.work": file_digest(grass / "work.py"),
        "harness_grass.claims": "what claims say has never counted",
    }
    run = Record(Path(), Result("0" * 64, "finished", {"paper": "grass"}, code={"modules": modules}))
    assert not stale(run)
    edit(grass / "work.py", "# grow", "# let it grow")
    fresh()
    assert stale(run)
    assert stale(
        Record(Path(), Result("1" * 64, "finished", {}, code={"modules": {"harness_grass.gone": "0"}}))
    )


def test_five_hundred_runs_are_told_apart_in_no_time(grass):
    run = a_run()
    begun = time.process_time()
    assert not any(stale(run) for _ in range(500))
    assert time.process_time() - begun < 2  # 0.08 s on a quiet machine


def test_no_claim_and_no_command_of_a_paper_here_is_part_of_its_runs():
    for name in ("alibi", "lora", "rdass"):
        paper = load(name)
        made = definitions(paper, provenance.HOOKS, paper.paper.metrics)
        names = {key.rpartition(":")[2] for key in made}
        assert {"CLAIMS", "FIGURES", "METHODS", "BUDGETS", "paper", "tools"}.isdisjoint(names), name
        assert len(made) > 100
