"""A paper of four methods that really train; three of its twelve runs fail, each in a way of its own.

The tests install this file as a plugin. With STORM=calm nothing fails.
"""

from dataclasses import dataclass

from harness import Method, Metric, Paper, hookimpl, setting


@dataclass
class Task:
    steps: int = setting(100, "training steps")


@dataclass
class Data:
    pass


@dataclass
class Width:
    width: int = setting(8, "the model's width")


FATE = {("second", 0): "segfault", ("third", 1): "oom", ("fourth", 2): "hang"}


@hookimpl
def paper():
    names = ("first", "second", "third", "fourth")
    return Paper(
        title="A storm",
        authors="",
        year=2026,
        url="",
        task=Task,
        data=Data,
        methods={n: Method(Width(8 * (i + 1)), n, baseline=i == 0) for i, n in enumerate(names)},
        metrics={"loss": Metric("lower", "nats")},
        claims=[],
        budgets={"smoke": {}, "small": {}, "full": {}},
    )


@hookimpl
def prepare(data_dir):
    (data_dir / "ready").touch()


@hookimpl
def train(run):
    import os
    import time

    import torch

    from harness.data.batches import Batches
    from harness.fit import seed_everything

    seed_everything(run.seed)
    model = torch.nn.Sequential(
        torch.nn.Embedding(32, run.method.width), torch.nn.Linear(run.method.width, 32)
    )
    tokens = torch.randint(0, 32, (4000,), generator=torch.Generator().manual_seed(0)).numpy()
    fate = FATE.get((run.name, run.seed)) if os.environ.get("STORM") != "calm" else None

    def step(model, batch):
        time.sleep(0.005)  # long enough to be killed in the middle
        return torch.nn.functional.cross_entropy(
            model(batch["input_ids"]).flatten(0, 1), batch["labels"].flatten()
        )

    if fate == "segfault":
        import ctypes

        ctypes.string_at(0)
    if fate == "oom":
        torch.empty(2**36)
    if fate == "hang":
        time.sleep(3600)
    run.fit(model, Batches(tokens, 16, 8, run.seed), step, steps=run.task.steps, learning_rate=1e-2)
    torch.save(model.state_dict(), run.output_dir / "model.pt")


@hookimpl
def evaluate(run, split):
    import torch

    state = torch.load(run.output_dir / "model.pt", weights_only=True)
    return {"loss": float(sum(value.double().abs().sum() for value in state.values()))}
