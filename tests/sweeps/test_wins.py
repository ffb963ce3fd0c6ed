"""A look at a claim of wins compares the runs of its own seeds, and no others."""

from types import SimpleNamespace

from harness.runs.results import find_runs
from harness.sweeps.referee import Question, _cells, _told
from harness.verdicts.looks import Plan
from harness.verdicts.versus import Versus
from tests.verdicts.test_versus import TOY, Toy, write


def asked_of(results, plugin):
    specs = {name: SimpleNamespace(deterministic=False) for name in ("toy", "plain")}
    versus = Versus(plugin, results)
    asked = Question((), "toy", TOY, tuple(TOY.claims), specs, results, False, versus)
    runs = {name: {} for name in specs}
    for record in find_runs(results):
        runs[record.result.config["name"]][record.result.config["seed"]] = record
    return asked, runs


def test_a_look_reads_the_wins_of_its_own_seeds(tmp_path):
    plugin = Toy()
    asked, runs = asked_of(write(tmp_path), plugin)
    (cell,) = _cells(asked, runs, TOY.claims[0], range(3))
    assert (cell.method, sorted(cell.values)) == ("toy over plain", [0, 1, 2])
    assert plugin.times == 3


def test_what_a_claim_of_wins_takes_is_told_from_its_wins_or_why_there_are_none(tmp_path):
    plan = Plan(looks=(3, 5))
    per_seed, noise = _told(*asked_of(write(tmp_path), Toy()), plan, TOY.claims[0], 1)
    assert len(per_seed) == 3
    assert per_seed.min() > 0.5
    assert noise.seed > 0
    said = _told(*asked_of(tmp_path, Toy(hook=lambda one, other: {})), plan, TOY.claims[0], 1)
    assert isinstance(said, tuple)  # another hook of the same code: what is kept counts
    for file in (tmp_path / "versus" / "toy").glob("*.json"):
        file.unlink()
    said = _told(*asked_of(tmp_path, Toy(hook=lambda one, other: {})), plan, TOY.claims[0], 1)
    assert "returned nothing" in said
