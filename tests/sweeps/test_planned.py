"""A job does what its driver decided: composed once, resolved once, carried as plain data."""

import copy
import dataclasses
import itertools

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_store import ConfigStore
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from harness.errors import HarnessError
from harness.papers.plugins import load, load_all
from harness.runs.journal import Sweep
from harness.runs.results import Result
from harness.sweeps import config, inside, sweep
from harness.sweeps.choices import Choices, offer
from harness.sweeps.compose import compose
from harness.sweeps.planned import forget, leave, pick_up
from harness.sweeps.tuning import tuned

WORDS = ("method=alibi/alibi", "budget=smoke", "device=cpu", "tracking=off")


@pytest.fixture(scope="module")
def decided(tmp_path_factory):
    """A sweep and its one job, decided as `harness run` decides it."""
    folder = tmp_path_factory.mktemp("planned")
    (folder / "own.txt").write_text("a line to learn from\n" * 300)
    words = [*WORDS, f"results={folder / 'results'}", f"data.corpus={folder / 'own.txt'}"]
    offer(load_all())
    (job,) = compose(words, multirun=False).jobs
    spec, settings = config.to_spec(job.cfg)
    return Sweep("one", "harness run", spec.results, "", (spec,)), job.words, spec, settings


def test_a_job_finds_what_was_decided_for_its_overrides_and_for_no_others(decided):
    going, words, spec, settings = decided
    leave(going, words, spec, settings)
    found = pick_up(going.journal, [*reversed(words), "sweep=one", "hydra.launcher.n_jobs=1"])
    assert found == (
        dataclasses.replace(spec, sweep="one"),
        dataclasses.replace(settings, tracking=config.Tracking()),
    )
    assert found[0].run_key == spec.run_key
    assert pick_up(going.journal, [*words, "seed=1"]) is None
    forget(going)
    assert pick_up(going.journal, words) is None


def test_a_password_of_the_tracking_store_is_in_no_plan(decided):
    going, words, spec, settings = decided
    uri = "postgresql+psycopg2://me:secret@db/mlflow"
    leave(
        going,
        [*words, f"tracking.uri={uri}"],
        spec,
        dataclasses.replace(settings, tracking=config.Tracking(uri)),
    )
    (plan,) = going.journal.with_suffix(".jobs").iterdir()
    assert "secret" not in plan.read_text()
    assert (
        pick_up(going.journal, [*words, "tracking.uri=postgresql+psycopg2://me:***@db/mlflow"])[0].sweep
        == "one"
    )
    forget(going)


@hypothesis_settings(deadline=None)
@given(
    st.dictionaries(
        st.text() | st.integers(),
        st.floats() | st.text() | st.none() | st.lists(st.integers()) | st.tuples(st.integers()),
        max_size=2,
    )
)
def test_what_plain_data_cannot_carry_is_decided_again_and_never_changed(decided, odd):
    going, words, spec, settings = decided
    odd_one = dataclasses.replace(spec, changes=odd)
    forget(going)
    leave(going, words, odd_one, settings)
    found = pick_up(going.journal, words)
    assert found is None or found[0] == dataclasses.replace(odd_one, sweep="one")


@pytest.mark.parametrize(("launcher", "again"), [("cores", 0), ("basic", 2)])
def test_a_sweep_resolves_each_job_once_and_hydra_composes_it_again_for_its_own_launchers(
    decided, monkeypatch, tmp_path, launcher, again
):
    _, words, _, _ = decided
    decisions, jobs, composed = [], [], []
    to_spec, load = config.to_spec, ConfigLoaderImpl.load_sweep_config

    def counted(*given, **named):
        decisions.append(given)
        return to_spec(*given, **named)

    def kept(job):
        jobs.append(job.spec)
        return 0.0

    def loaded(*given, **named):
        composed.append(given)
        return load(*given, **named)

    monkeypatch.setattr(config, "to_spec", counted)
    monkeypatch.setattr(ConfigLoaderImpl, "load_sweep_config", loaded)
    monkeypatch.setattr(sweep.Decided, "__call__", kept)
    monkeypatch.chdir(tmp_path)
    told = ("seed=0,1", f"hydra/launcher={launcher}", "isolate=false", f"results={tmp_path / 'results'}")
    sweep.main(["-m", *words, *told])
    assert [spec.seed for spec in jobs] == [0, 1]
    assert {spec.sweep for spec in jobs} == {jobs[0].sweep}
    assert jobs[0].sweep
    assert (len(decisions), len(composed)) == (2, again)
    assert not list((tmp_path / "results" / "sweeps").glob("*.jobs"))  # over, and forgotten


def test_hydra_keeps_its_own_ways(decided):
    """Nothing of Hydra's stays replaced in this process, and what we offer is free to copy: it stores none of it."""
    from hydra._internal.core_plugins.basic_sweeper import (
        BasicSweeper,
    )  # as it is once Hydra has looked for plugins

    with inside.launching_at_once(), inside.launching_at_once():  # two sweeps of one process
        assert "validate_batch_is_legal" in vars(BasicSweeper)
    assert "__deepcopy__" not in vars(ConfigStore)
    assert "validate_batch_is_legal" not in vars(BasicSweeper)
    assert not {"method", "overlay", "schema.yaml"} & set(ConfigStore.instance().repo)
    source = Choices("harness", "papers://")
    assert vars(copy.deepcopy(source)) == vars(source) == {"provider": "harness", "path": ""}


@pytest.mark.parametrize(
    ("reasons", "told"),
    [
        (["few documents: give more"], r"\(few documents: give more\): see"),
        (["few", "none"], r"\(2 reasons\): see"),
    ],
)
def test_a_grid_of_which_no_setting_ends_well_says_why(decided, reasons, told):
    spec = dataclasses.replace(decided[2], paper="iclm", name="random", changes={})
    turns = itertools.cycle(reasons)

    def fails(point):
        return Result("key", "failed", {}, error={"type": "UsageError", "message": next(turns)})

    with pytest.raises(HarnessError, match=told):
        tuned(spec, load("iclm"), fails)
