"""Several fits in one run: each has its own checkpoint, curves and measurements."""

import json

import pytest
import torch

from harness import Run
from harness.data.batches import Shuffled
from harness.runs.run import forget_after


@pytest.fixture
def run(tmp_path):
    (tmp_path / "output").mkdir()
    return Run(
        paper="p",
        name="m",
        method=None,
        task=None,
        data={},
        model=None,
        budget="smoke",
        seed=0,
        device="cpu",
        precision="float32",
        data_dir=tmp_path,
        output_dir=tmp_path / "output",
        stages_dir=tmp_path,
        folder=tmp_path,
        checkpoint_seconds=0.0,
    )


def train(run, steps, **options):
    torch.manual_seed(0)
    model = torch.nn.Linear(1, 1)
    rows = [torch.tensor([float(i)]) for i in range(8)]
    batches = Shuffled(rows, 4, run.seed, lambda some: {"x": torch.stack(some)})
    step = lambda trained, batch: ((trained(batch["x"]) - batch["x"]) ** 2).mean()  # noqa: E731
    run.fit(model, batches, step, steps=steps, learning_rate=0.01, log_every=1, **options)
    return model


def points(run):
    return [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]


def test_named_fits_have_curves_checkpoints_and_measurements_of_their_own(run):
    train(run, 2, name="first")
    train(run, 3, name="second")
    keys = {(point["step"], key) for point in points(run) for key in point if key.endswith("loss")}
    assert keys == {(1, "first/loss"), (2, "first/loss"), *((n, "second/loss") for n in (1, 2, 3))}
    assert {"train_peak_memory@first", "train_tokens_per_second@second"} <= set(run.measured)
    assert {path.name for path in run.checkpoint.iterdir()} == {"first", "second"}


def test_a_fit_that_is_done_is_not_done_again_when_the_run_goes_on(run):
    whole = train(run, 2, name="first")
    before = points(run)
    again = train(run, 2, name="first")
    assert points(run) == before
    assert torch.equal(whole.weight, again.weight)


def test_without_a_name_a_fit_is_the_run_s_own(run):
    train(run, 2)
    assert set(run.measured) == {"train_tokens_per_second", "train_peak_memory"}
    assert [point["step"] for point in points(run) if "loss" in point] == [1, 2]


def test_going_on_forgets_the_points_of_that_fit_alone(tmp_path):
    curves = tmp_path / "metrics.jsonl"
    lines = [{"step": 1, "a/loss": 1}, {"step": 5, "a/loss": 1}, {"step": 5, "b/loss": 1}]
    curves.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 6, "a/lo')
    forget_after(curves, 2, "a/")
    assert [json.loads(line) for line in curves.read_text().splitlines()] == [lines[0], lines[2]]
    forget_after(curves, 2)
    assert [json.loads(line) for line in curves.read_text().splitlines()] == lines[:1]


def test_a_run_adds_up_what_its_fits_were_given_but_not_what_a_stage_was(run):
    train(run, 2, name="first")
    train(run, 3, name="second")
    assert run.consumed == {"steps": 5, "rows": 20, "tokens": 20}
    run.stage("shared", {}, lambda folder: train(run, 7, name="third"))
    assert run.consumed == {"steps": 5, "rows": 20, "tokens": 20}


def test_a_fit_that_is_resumed_counts_what_it_was_given_before(run):
    train(run, 2, schedule="constant", schedule_steps=4)
    run.consumed.clear()
    train(run, 2, schedule="constant", schedule_steps=4)
    assert run.consumed == {"steps": 2, "rows": 8, "tokens": 8}
