"""A paper whose runs cost a fifth of a second: logistic regression on all columns of a table, or on half of them.

It is what `benchmarks.forgeries` makes forgeries of; its evaluation answers single items when it is asked to.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import Claim, Items, Method, Metric, Paper, Run, difference, hookimpl, setting, source

COLUMNS, TEST = 8, 1319  # the rows that come first are the test


@dataclass
class Task:
    steps: int = setting(400, "training steps", least=1)
    batch_size: int = setting(16, "rows of a step", least=1)
    learning_rate: float = setting(0.05, "peak learning rate", least=0)


@dataclass
class Data:
    table: str = source("table.csv", "columns x0 to x7 and y", columns=("x0", "y"))


@dataclass
class Columns:
    columns: int = setting(COLUMNS, "how many columns are seen", least=1, most=COLUMNS)


@hookimpl
def paper() -> Paper:
    return Paper(
        title="All columns",
        authors="",
        year=2026,
        url="",
        task=Task,
        data=Data,
        methods={
            "all": Method(Columns(), "sees all columns"),
            "half": Method(Columns(COLUMNS // 2), "sees half of them", baseline=True),
        },
        metrics={"accuracy": Metric("higher", "right answers", range=(0, 1)), "nll": Metric("lower", "loss")},
        claims=[
            Claim(
                "all is right more often, by .05", difference("accuracy", "all", "half", by=0.05), "Table 1"
            ),
            Claim("all has the lower loss", difference("nll", "all", "half"), "Table 1"),
        ],
        budgets={"smoke": {}, "small": {}, "full": {}},
    )


@hookimpl
def prepare(data: Any, data_dir: Path) -> None:
    import numpy as np

    with data["table"].path.open(encoding="utf-8", newline="") as file:
        rows = [
            [float(row[f"x{i}"]) for i in range(COLUMNS)] + [float(row["y"])] for row in csv.DictReader(file)
        ]
    table = np.array(rows, dtype=np.float32)
    np.save(data_dir / "test.npy", table[:TEST])
    np.save(data_dir / "train.npy", table[TEST:])


class Rows:
    """Endless random rows, drawn from the run's seed."""

    def __init__(self, table: Any, size: int, seed: int) -> None:
        import torch

        self.table, self.size = torch.from_numpy(table), size
        self.chance = torch.Generator().manual_seed(seed)

    def __iter__(self) -> Rows:
        return self

    def __next__(self) -> dict[str, Any]:
        import torch

        rows = self.table[torch.randint(len(self.table), (self.size,), generator=self.chance)]
        return {"inputs": rows[:, :COLUMNS], "labels": rows[:, COLUMNS]}

    def state_dict(self) -> dict[str, Any]:
        return {"chance": self.chance.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.chance.set_state(state["chance"])


@hookimpl
def train(run: Run) -> None:
    import numpy as np
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    from harness.fit import recipe, seed_everything

    seed_everything(run.seed)
    model, seen = torch.nn.Linear(COLUMNS, 1), run.method.columns

    def step(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        inputs = batch["inputs"].clone()
        inputs[:, seen:] = 0
        return binary_cross_entropy_with_logits(model(inputs)[:, 0], batch["labels"])

    rows = Rows(np.load(run.data_dir / "train.npy"), run.task.batch_size, run.seed)
    run.fit(model, rows, step, **recipe(run.task))
    np.save(run.output_dir / "weights.npy", torch.cat([model.weight[0], model.bias]).detach().numpy())


@hookimpl
def evaluate(run: Run, split: str) -> dict[str, Items]:
    import numpy as np

    table = np.load(run.data_dir / "test.npy")
    ids = [f"row-{i}" for i in range(len(table))]
    places = run.places(ids)
    rows, weights = table[places].astype(float), np.load(run.output_dir / "weights.npy").astype(float)
    seen = run.method.columns
    logits = rows[:, :seen] @ weights[:seen] + weights[-1]
    signs = 2 * rows[:, COLUMNS] - 1
    told: dict[str, Any] = {
        "ids": [ids[place] for place in places],
        "inputs": [r[:COLUMNS].astype(np.float32) for r in rows],
    }
    return {
        "accuracy": Items({"right": (logits * signs > 0).astype(float)}, **told),
        "nll": Items({"nll": np.logaddexp(0, -logits * signs)}, **told),
    }
