"""The loop takes the steps a bare loop would, and goes on after a stop as if there had been none."""

import contextlib
import math
import os
import random
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from harness.data.batches import Batches
from harness.errors import HarnessError, UsageError
from harness.fit import (
    NonFiniteLoss,
    checkpoint_step,
    fit,
    loop,
    pick_device,
    pick_precision,
    rate,
    recipe,
    seed_everything,
    targets,
    trial_step,
)
from harness.fit.checkpoint import save, trained_state

TOKENS = np.random.default_rng(0).integers(0, 20, size=2_000).astype(np.uint16)
OPTIONS = {"steps": 23, "learning_rate": 0.01, "warmup": 3, "device": "cpu", "log_every": 5}


def model():
    """A language model with dropout, so that the random generators matter."""
    return nn.Sequential(nn.Embedding(20, 16), nn.Dropout(0.2), nn.Linear(16, 20))


def step(model, batch):
    return F.cross_entropy(model(batch["input_ids"]).flatten(0, 1), batch["labels"].flatten())


def batches(rows=6):
    return Batches(TOKENS, length=8, batch_size=rows, seed=0)


def trained(**options):
    """Train a fresh model from seed 0; return it with its outcome and its log."""
    seed_everything(0)
    made, points = model(), {}

    def log(step, **values):
        assert step not in points
        points[step] = values
        if step == options.get("killed_at"):
            raise KeyboardInterrupt

    options = {**OPTIONS, "log": log, **options}
    told = {k: v for k, v in options.items() if k != "killed_at"}
    return made, fit(made, batches(), step, **told), points


def weights(model):
    return torch.cat([p.detach().cpu().flatten() for p in model.parameters()])


# The steps it takes


def test_it_takes_the_steps_of_a_bare_loop_to_the_last_bit():
    made, fitted, points = trained(weight_decay=0.1)
    seed_everything(0)
    bare, data = model(), batches()
    optimizer = torch.optim.AdamW(bare.parameters(), lr=0.01, weight_decay=0.1, fused=True)
    for i in range(23):
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * rate(i, 23, "cosine", 3)
        loss = step(bare, next(data))
        loss.backward()
        nn.utils.clip_grad_norm_(bare.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    assert torch.equal(weights(made), weights(bare))
    assert fitted.last_loss == points[23]["loss"] == loss.item()
    assert list(points) == [5, 10, 15, 20, 23]
    assert not made.training


@pytest.mark.parametrize("micro_batch", [1, 4, 6, 100])
def test_micro_batches_add_up_to_the_whole_batch(micro_batch):
    seed_everything(0)
    whole, parts = nn.Linear(4, 1), nn.Linear(4, 1)
    parts.load_state_dict(whole.state_dict())
    data = torch.randn(6, 5)

    class Same:
        def __next__(self):
            return {"x": data[:, :4], "y": data[:, 4:]}

    def squared(model, batch):
        return (model(batch["x"]) - batch["y"]).square().mean()

    options = {"steps": 5, "learning_rate": 0.1, "device": "cpu", "optimizer": torch.optim.SGD}
    one = fit(whole, Same(), squared, **options)
    two = fit(parts, Same(), squared, micro_batch=micro_batch, **options)
    assert torch.allclose(weights(whole), weights(parts), atol=1e-6)
    assert one.last_loss == pytest.approx(two.last_loss, abs=1e-6)


@pytest.mark.parametrize("micro_batch", [1, 2, 3])
def test_rows_of_unequal_targets_add_up_to_the_mean_over_all_of_them(micro_batch):
    """3, 0, 17, 5, 2 and 9 labels a row: weighed by targets, pieces give the gradient of the whole batch."""
    seed_everything(0)
    whole, parts, by_rows = (nn.Embedding(11, 11).double() for _ in range(3))
    for other in (parts, by_rows):
        other.load_state_dict(whole.state_dict())
    ids = torch.randint(11, (6, 18))
    labels = ids.clone()
    for row, kept in enumerate([3, 0, 17, 5, 2, 9]):
        labels[row, : 18 - kept] = -100

    class Same:
        def __next__(self):
            return {"input_ids": ids, "labels": labels}

    def mean(model, batch):
        logits, asked = model(batch["input_ids"][:, :-1]), batch["labels"][:, 1:]
        total = nn.functional.cross_entropy(logits.flatten(0, 1), asked.flatten(), reduction="sum")
        return total / (asked != -100).sum().clamp(min=1)

    options = {"steps": 3, "learning_rate": 1.0, "clip": None, "device": "cpu", "optimizer": torch.optim.SGD}
    fit(whole, Same(), mean, **options)
    fit(parts, Same(), mean, micro_batch=micro_batch, weigh=targets, **options)
    fit(by_rows, Same(), mean, micro_batch=micro_batch, **options)
    assert torch.allclose(weights(whole), weights(parts), atol=1e-12)
    assert not torch.allclose(weights(whole), weights(by_rows), atol=1e-3)


def test_clipping_bounds_the_step():
    made = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(made.weight)

    class Far:
        def __next__(self):
            return {"x": torch.ones(2, 1)}

    options = {
        "steps": 1,
        "learning_rate": 1.0,
        "schedule": "constant",
        "device": "cpu",
        "optimizer": torch.optim.SGD,
    }
    fit(made, Far(), lambda m, b: 1000 * m(b["x"]).mean(), clip=0.5, **options)
    assert made.weight.item() == pytest.approx(-0.5, abs=1e-5)
    fit(made, Far(), lambda m, b: 1000 * m(b["x"]).mean(), clip=None, **options)
    assert made.weight.item() == pytest.approx(-1000.5, abs=1e-3)


def test_frozen_parameters_stay_and_a_group_keeps_its_own_peak():
    made = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1), nn.Linear(1, 1))
    made[0].requires_grad_(False)
    before = weights(made[0]).clone()
    rates = []

    def groups(parameters, lr, weight_decay):
        assert len(parameters) == 4
        return torch.optim.SGD([{"params": parameters[:2]}, {"params": parameters[2:], "lr": lr * 16}], lr=lr)

    class Ones:
        def __next__(self):
            return {"x": torch.ones(2, 2)}

    def watched(m, b):
        return m(b["x"]).mean()

    def log(step, learning_rate, **_):
        rates.append(learning_rate)

    fit(
        made, Ones(), watched, steps=2, learning_rate=0.1, schedule="linear", optimizer=groups,
        device="cpu", log=log, log_every=1,
    )  # fmt: skip
    assert torch.equal(weights(made[0]), before)
    assert rates == pytest.approx([0.1, 0.05])


def test_bfloat16_computes_in_bfloat16_and_keeps_float32_weights():
    seen = set()

    def watching(model, batch):
        logits = model(batch["input_ids"])
        seen.add(logits.dtype)
        return F.cross_entropy(logits.flatten(0, 1).float(), batch["labels"].flatten())

    made = model()
    fitted = fit(made, batches(), watching, precision="bfloat16", **OPTIONS)
    assert seen == {torch.bfloat16}
    assert {p.dtype for p in made.parameters()} == {torch.float32}
    assert math.isfinite(fitted.last_loss)


def test_the_outcome_counts_tokens_or_else_rows():
    _, fitted, _ = trained()
    assert fitted.tokens_per_second * fitted.seconds == pytest.approx(23 * 6 * 8)
    assert fitted.steps == 23
    assert fitted.peak_memory_bytes > 10**7

    class Rows:
        def __next__(self):
            return {"x": torch.ones(7, 1)}

    rows = fit(nn.Linear(1, 1), Rows(), lambda m, b: m(b["x"]).mean(), **OPTIONS)
    assert rows.tokens_per_second * rows.seconds == pytest.approx(23 * 7)


def test_progress_is_told_from_the_start_to_the_end():
    seen = []
    seed_everything(0)
    fit(
        model(),
        batches(),
        step,
        progress=lambda done, total, **v: seen.append((done, total, sorted(v))),
        **OPTIONS,
    )
    assert seen[0] == (0, 23, [])
    assert seen[1:] == [(n, 23, ["loss", "tokens_per_second"]) for n in (5, 10, 15, 20, 23)]


# The schedule


def test_the_schedules_by_hand():
    assert [rate(s, 8, "linear", 4) for s in range(9)] == [0.25, 0.5, 0.75, 1, 1, 0.75, 0.5, 0.25, 0]
    assert [rate(s, 8, "cosine", 4) for s in (4, 6, 8)] == pytest.approx([1, 0.5, 0])
    assert [rate(s, 8, "constant", 2) for s in (0, 1, 2, 7)] == [0.5, 1, 1, 1]


@given(
    st.integers(0, 50),
    st.integers(1, 50),
    st.sampled_from(["cosine", "linear", "constant"]),
    st.integers(0, 9),
)
def test_a_rate_is_a_share_that_never_rises_after_warm_up(s, steps, schedule, warmup):
    assert 0 <= rate(s, steps, schedule, warmup) <= 1
    if s >= warmup:
        assert rate(s + 1, steps, schedule, warmup) <= rate(s, steps, schedule, warmup)


def test_a_long_schedule_can_be_stopped_half_way():
    whole, half = {}, {}
    seed_everything(0)
    first = model()
    options = {**OPTIONS, "steps": 20, "log_every": 10}
    fit(first, batches(), step, **options, log=lambda s, **v: whole.update({s: v}))
    seed_everything(0)
    second = model()
    options["steps"] = 10
    fit(second, batches(), step, **options, schedule_steps=20, log=lambda s, **v: half.update({s: v}))
    assert half[10] == whole[10]


# What stops it


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_the_run_at_its_step(bad):
    calls = []

    def breaking(m, batch):
        calls.append(1)
        return step(m, batch) * (bad if len(calls) == 7 else 1)

    with pytest.raises(NonFiniteLoss, match=r"at step 7 .*lower the learning rate") as caught:
        fit(model(), batches(), breaking, **OPTIONS)
    assert caught.value.step == 7
    assert caught.value.learning_rate == pytest.approx(0.01 * rate(6, 23, "cosine", 3))


def test_a_gradient_that_is_not_finite_stops_the_run_though_the_loss_is():
    made = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(made.weight)

    class Ones:
        def __next__(self):
            return {"x": torch.ones(2, 1)}

    with pytest.raises(NonFiniteLoss) as caught:
        fit(made, Ones(), lambda m, b: m(b["x"]).sqrt().mean(), **{**OPTIONS, "steps": 1})
    assert caught.value.step == 1


def test_no_checkpoint_is_written_of_weights_that_are_not_finite(tmp_path):
    calls = []

    def breaking(m, batch):
        calls.append(1)
        return step(m, batch) * (float("nan") if len(calls) == 12 else 1)

    with pytest.raises(NonFiniteLoss):
        fit(model(), batches(), breaking, checkpoint=tmp_path, checkpoint_seconds=0, **OPTIONS)
    assert checkpoint_step(tmp_path) == 10


def test_batches_that_end_are_named():
    class Two:
        left = 2

        def __next__(self):
            self.left -= 1
            if self.left < 0:
                raise StopIteration
            return {
                "input_ids": torch.zeros(1, 1, dtype=torch.long),
                "labels": torch.zeros(1, 1, dtype=torch.long),
            }

    with pytest.raises(HarnessError, match="ended at step 2 of 23"):
        fit(model(), Two(), step, **OPTIONS)


def test_a_device_or_precision_that_is_not_here_is_named():
    with pytest.raises(UsageError, match="'quantum' is not on this machine"):
        pick_device("quantum")
    with pytest.raises(UsageError, match="'fp8' is not known"):
        pick_precision("fp8", torch.device("cpu"))
    assert pick_precision("auto", torch.device("cpu")) == "float32"
    assert pick_device("cpu").type == "cpu"


# Going on after a stop


def test_a_training_stopped_and_taken_up_again_ends_with_the_same_bits(tmp_path):
    straight, fitted, points = trained()
    with pytest.raises(KeyboardInterrupt):
        trained(checkpoint=tmp_path, checkpoint_seconds=0, killed_at=15)
    assert checkpoint_step(tmp_path) == 10
    resumed, again, late = trained(checkpoint=tmp_path, checkpoint_seconds=0)
    assert torch.equal(weights(resumed), weights(straight))
    assert late == {s: points[s] for s in (15, 20, 23)}
    assert again.last_loss == fitted.last_loss
    assert again.tokens_per_second * again.seconds == pytest.approx(23 * 6 * 8)


def test_the_random_generators_go_on_where_they_were(tmp_path):
    def draws(**options):
        drawn = []

        def drawing(m, batch):
            drawn.append((random.random(), np.random.rand(), torch.rand(1).item()))
            return step(m, batch)

        def log(step, **_):
            if step == options.get("killed_at"):
                raise KeyboardInterrupt

        seed_everything(0)
        told = {k: v for k, v in options.items() if k != "killed_at"}
        with contextlib.suppress(KeyboardInterrupt):
            fit(model(), batches(), drawing, log=log, **told, **OPTIONS)
        return drawn

    straight = draws()
    draws(checkpoint=tmp_path, checkpoint_seconds=0, killed_at=10)
    assert checkpoint_step(tmp_path) == 5
    assert draws(checkpoint=tmp_path) == straight[5:]


def test_a_finished_training_is_not_done_again(tmp_path):
    made, fitted, _ = trained(checkpoint=tmp_path)
    assert checkpoint_step(tmp_path) == 23
    again, same, points = trained(checkpoint=tmp_path)
    assert torch.equal(weights(again), weights(made))
    assert same.last_loss == fitted.last_loss
    assert points == {}


def test_only_the_newest_checkpoint_is_kept_and_frozen_weights_are_not_in_it(tmp_path):
    made = model()
    made[0].requires_grad_(False)
    fit(made, batches(), step, checkpoint=tmp_path, checkpoint_seconds=0, **OPTIONS)
    assert [p.name for p in tmp_path.iterdir()] == ["step-000000023"]
    kept = torch.load(tmp_path / "step-000000023/shared.pt", weights_only=True)["model"]
    assert sorted(kept) == ["2.bias", "2.weight"]


def test_a_checkpoint_is_on_the_disk_with_its_names_before_the_older_one_goes(tmp_path, monkeypatch):
    done = []
    flush, rename, remove = os.fsync, os.replace, shutil.rmtree

    def flushed(handle):
        flush(handle)
        done.append(("flush", Path(os.readlink(f"/proc/self/fd/{handle}")).name))

    def renamed(old, new):
        rename(old, new)
        done.append(("rename", Path(new).name))

    def removed(path, **options):
        if Path(path).exists():
            done.append(("remove", Path(path).name))
        remove(path, **options)

    save(tmp_path, 1, {"a": 1}, {"b": 2}, 0, lambda: None)
    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "replace", renamed)
    monkeypatch.setattr(shutil, "rmtree", removed)
    save(tmp_path, 2, {"a": 1}, {"b": 2}, 0, lambda: None)
    assert done == [
        ("flush", "shared.pt"),
        ("flush", "process-0.pt"),
        ("flush", ".step-000000002"),
        ("rename", "step-000000002"),
        ("flush", tmp_path.name),
        ("remove", "step-000000001"),
    ]


@pytest.mark.parametrize("name", ["shared.pt", "process-0.pt"])
def test_a_torn_checkpoint_is_ignored(tmp_path, name):
    made, _, points = trained(checkpoint=tmp_path)
    torn = tmp_path / "step-000000023" / name
    torn.write_bytes(torn.read_bytes()[: torn.stat().st_size // 2])
    (tmp_path / ".step-000000099").mkdir()
    assert checkpoint_step(tmp_path) == 0
    again, _, late = trained(checkpoint=tmp_path)
    assert late == points
    assert torch.equal(weights(again), weights(made))
    assert [p.name for p in tmp_path.iterdir()] == ["step-000000023"]


def test_nothing_in_a_checkpoint_can_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    trained(checkpoint=tmp_path / "c")
    torch.save({"recipe": Trap()}, tmp_path / "c" / "step-000000023" / "shared.pt")
    with pytest.raises(Exception, match="Weights only load failed"):
        trained(checkpoint=tmp_path / "c")
    assert not (tmp_path / "ran").exists()


def test_batches_whose_state_could_not_be_read_back_are_refused_at_the_first_checkpoint(tmp_path):
    class Opaque(Batches):
        def state_dict(self):
            return {"random": random.Random(0)}

    with pytest.raises(HarnessError, match="plain values and tensors"):
        fit(model(), Opaque(TOKENS, 8, 6, 0), step, checkpoint=tmp_path, checkpoint_seconds=0, **OPTIONS)
    assert checkpoint_step(tmp_path) == 0


OTHER = {
    "optimizer": {"optimizer": torch.optim.SGD},
    "steps": {"steps": 24, "schedule_steps": 23},
    "learning_rate": {"learning_rate": 0.02},
    "weight_decay": {"weight_decay": 0.1},
    "schedule": {"schedule": "linear"},
    "schedule_steps": {"schedule_steps": 30},
    "warmup": {"warmup": 4},
    "clip": {"clip": None},
}


@pytest.mark.parametrize("name", OTHER)
def test_the_checkpoint_of_another_fit_is_refused(tmp_path, name):
    trained(checkpoint=tmp_path)
    with pytest.raises(HarnessError, match=rf"of another fit \({name} was .+, is .+\)"):
        trained(checkpoint=tmp_path, **OTHER[name])


def test_the_checkpoint_of_a_fit_that_trained_less_is_refused(tmp_path):
    made = model()
    made[0].requires_grad_(False)
    fit(made, batches(), step, checkpoint=tmp_path, **OPTIONS)
    with pytest.raises(HarnessError, match=r"parameters was 340, is 660"):
        trained(checkpoint=tmp_path)
    kept = torch.load(tmp_path / "step-000000023/shared.pt", weights_only=True)
    assert set(kept["recipe"]) == {*OTHER, "parameters"}


def test_of_two_checkpoints_that_a_kill_left_the_newer_counts(tmp_path):
    straight, _, _ = trained()
    with pytest.raises(KeyboardInterrupt):
        trained(checkpoint=tmp_path, checkpoint_seconds=0, killed_at=15)
    shutil.copytree(tmp_path / "step-000000010", tmp_path / "step-000000005")
    assert checkpoint_step(tmp_path) == 10
    resumed, _, late = trained(checkpoint=tmp_path, checkpoint_seconds=0)
    assert sorted(late) == [15, 20, 23]
    assert torch.equal(weights(resumed), weights(straight))
    assert [p.name for p in tmp_path.iterdir()] == ["step-000000023"]


def test_weights_that_are_tied_and_frozen_are_kept_by_neither_name():
    made = nn.ModuleDict({"into": nn.Embedding(20, 16), "out": nn.Linear(16, 20)})
    made["out"].weight = made["into"].weight
    assert sorted(trained_state(made)) == ["into.weight", "out.bias", "out.weight"]
    made["into"].weight.requires_grad_(False)
    assert sorted(trained_state(made)) == ["out.bias"]


def test_the_time_of_checkpoints_does_not_count_as_training(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("harness.fit.loop.time.monotonic", lambda: now[0])
    save = loop.save

    def slow(*given):
        now[0] += 1000.0
        save(*given)

    def second(m, batch):
        now[0] += 1.0
        return step(m, batch)

    monkeypatch.setattr(loop, "save", slow)
    fitted = fit(model(), batches(), second, checkpoint=tmp_path, checkpoint_seconds=0, **OPTIONS)
    assert fitted.seconds == 23.0
    assert fitted.tokens_per_second == 6 * 8


def test_two_fits_can_train_one_model_one_after_the_other():
    made, first, _ = trained()
    second = fit(made, batches(), step, **OPTIONS)
    assert second.last_loss < first.last_loss


# Several processes

RANK = """
import sys, torch
sys.path.insert(0, sys.argv[1])
from tests.fit.test_fit import OPTIONS, Path, batches, checkpoint_step, fit, nn, seed_everything, step, weights
seed_everything(0)
made = nn.Sequential(nn.Embedding(20, 16), nn.Linear(16, 20))
out, points = Path(sys.argv[2]), []
log = lambda s, **v: points.append((s, v["loss"]))
fit(made, batches(rows=5), step, log=log, checkpoint=out / "c", checkpoint_seconds=0, **OPTIONS)
torch.save((weights(made), points), out / f"{sys.argv[3]}.pt")
"""


def launch(out: Path, processes: int) -> list:
    root = str(Path(__file__).parents[2])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    together = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, root, str(out), str(rank)],
            env=environ
            if processes == 1
            else {
                **environ,
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(processes),
                "LOCAL_WORLD_SIZE": str(processes),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
            },
        )
        for rank in range(processes)
    ]
    assert [process.wait(120) for process in together] == [0] * processes
    return [torch.load(out / f"{rank}.pt") for rank in range(processes)]


@pytest.mark.slow
def test_two_processes_train_what_one_trains(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    [(alone, points)] = launch(tmp_path / "one", 1)
    (first, seen), (second, unseen) = launch(tmp_path / "two", 2)  # 5 rows: 3 and 2
    assert torch.equal(first, second)
    assert torch.allclose(first, alone, atol=1e-5)
    assert [s for s, _ in seen] == [s for s, _ in points]
    assert [v for _, v in seen] == pytest.approx([v for _, v in points], abs=1e-5)
    assert unseen == []  # process 0 speaks for all
    whole = tmp_path / "two/c/step-000000023"
    assert sorted(p.name for p in whole.iterdir()) == ["process-0.pt", "process-1.pt", "shared.pt"]


def test_a_trial_step_needs_no_memory_and_meets_what_stays_on_another_device():
    def loss(model, batch):
        return F.cross_entropy(model(batch["input_ids"]).flatten(0, 1), batch["labels"].flatten())

    def build(vocabulary):
        return nn.Sequential(nn.Embedding(vocabulary, 4), nn.Linear(4, vocabulary))

    trial_step(build, loss, (2, 3), "meta")
    with pytest.raises(RuntimeError, match="meta"):
        trial_step(build, lambda model, batch: loss(model, batch) + torch.zeros(1), (2, 3), "meta")
    trial_step(
        lambda n: build(n).requires_grad_(False), None, (2, 3), "meta"
    )  # nothing to train, nothing asked


def test_a_recipe_is_what_the_task_says_of_it_and_no_more():
    task = SimpleNamespace(steps=7, warmup=2, width=64, schedule_steps=9)
    assert recipe(task) == {"steps": 7, "schedule_steps": 9, "warmup": 2}
