"""A paper whose runs cost nothing: scores drawn from the seed. The tests install this file as a plugin.

`better` is two deviations ahead of `plain`, `equal` is level with it, `tuned` has a grid, `broken` raises,
`mute` has no score.
"""

import os
import time
from dataclasses import dataclass

from harness import Claim, Method, Metric, Paper, difference, hookimpl, setting


@dataclass
class Task:
    steps: int = setting(1, "nothing")


@dataclass
class Data:
    pass


@dataclass
class Shift:
    shift: float = setting(0.0, "how far ahead")
    draw: int = setting(0, "which stream of chance")


@hookimpl
def paper():
    return Paper(
        title="A coin",
        authors="",
        year=2026,
        url="",
        task=Task,
        data=Data,
        methods={
            "plain": Method(Shift(), "the baseline", baseline=True),
            "better": Method(Shift(4.0, 1), "better"),
            "equal": Method(Shift(0.0, 2), "no better"),
            "tuned": Method(Shift(0.0, 3), "tuned", tune={"shift": [0.0, 3.0]}),
            "broken": Method(Shift(0.0, 4), "raises"),
            "mute": Method(Shift(0.0, 5), "has no score, and says why"),
        },
        metrics={"score": Metric("higher", "score")},
        claims=[
            Claim("better is better", difference("score", "better", "plain"), "Table 1"),
            Claim("equal is better", difference("score", "equal", "plain"), "Table 1"),
            Claim("tuned is better", difference("score", "tuned", "plain"), "Table 1"),
            Claim("broken is better", difference("score", "broken", "plain"), "Table 1"),
            Claim("mute is better", difference("score", "mute", "plain"), "Table 1"),
        ],
        budgets={"smoke": {}, "small": {}, "full": {}},
        tuned_by="score",
    )


@hookimpl
def prepare(data_dir):
    (data_dir / "ready").touch()


@hookimpl
def train(run):
    if run.name == "broken":
        raise ValueError("it is broken")
    time.sleep(float(os.environ.get("COIN_SECONDS", "0")))


@hookimpl
def evaluate(run, split):
    import numpy as np

    if run.name == "mute":
        run.absent("score", "it has no voice")
        return {}
    drawn = np.random.default_rng([run.seed, run.method.draw]).normal()
    return {"score": run.method.shift + float(drawn)}
