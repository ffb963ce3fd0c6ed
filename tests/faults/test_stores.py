"""Many at once on one store: nothing fails, nothing is lost, nothing is there twice."""

import multiprocessing

import pytest

pytestmark = pytest.mark.fault


def _first_start(folder, barrier) -> None:
    from harness.tracking import Mirror

    barrier.wait()
    store = Mirror(f"sqlite:///{folder / 'mlflow.db'}", folder / "artifacts")
    store.close_sweep(store.open_sweep("alibi", "a-sweep", "harness run"), failed=False)


def test_sixteen_first_starts_at_once_on_a_fresh_store_all_succeed(tmp_path):
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401  # once, for all the forks
    from mlflow import MlflowClient

    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(16)
    starts = [context.Process(target=_first_start, args=(tmp_path, barrier)) for _ in range(16)]
    for start in starts:
        start.start()
    for start in starts:
        start.join()
    assert [start.exitcode for start in starts] == [0] * 16
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert [e.name for e in client.search_experiments()].count("alibi") == 1
    runs = client.search_runs([client.get_experiment_by_name("alibi").experiment_id])
    assert len(runs) == 16
    assert {run.info.status for run in runs} == {"FINISHED"}
