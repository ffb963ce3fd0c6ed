"""mixup: train on mixed pairs of examples, and a network believes fewer of the labels that are wrong.

Zhang, Cisse, Dauphin and Lopez-Paz (ICLR 2018). Each input is a weighted mean of two, each target the same mean
of their labels. Of its claims this plugin judges those about wrong training labels; scikit-learn's digits and a
small network stand for CIFAR-10 and a residual one.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from harness import Claim, Figure, Items, Method, Metric, Paper, Run, difference, hookimpl, lazy
from harness_mixup.settings import Data, Mixup, Task

__getattr__ = lazy(__name__, {"mix": "mixing"})

METHODS = {
    "mixup": Method(Mixup(alpha=8.0), "pairs of images and their labels, mixed (the paper's)"),
    "erm": Method(Mixup(), "the images as they are: empirical risk minimisation", baseline=True),
    "dropout": Method(
        Mixup(dropout=0.5), "the images as they are, half of the units left out", baseline=True
    ),
}

METRICS = {
    "accuracy": Metric("higher", "share of test images, rightly labelled, that are recognised"),
    "believed": Metric("lower", "share of wrong training labels that the network predicts"),
}

CLAIMS = [
    Claim(
        "Trained on labels of which some are wrong, mixup recognises more than plain training",
        difference("accuracy", "mixup", than="erm"),
        "section 3.4, table 2",
    ),
    Claim(
        "It recognises more than dropout",
        difference("accuracy", "mixup", than="dropout"),
        "section 3.4, table 2",
    ),
    Claim(
        "It memorises fewer of the wrong labels than plain training",
        difference("believed", "mixup", than="erm"),
        "section 3.4, table 2",
    ),
]

FIGURES = [
    Figure("With wrong labels", "bar", {"accuracy": "recognised", "believed": "believed"}, x="", y="share")
]

BUDGETS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "smoke": {"task": {"examples": 200, "test": 200, "hidden": 16, "batch_size": 16, "steps": 8}},
    "small": {},  # the defaults of Task: seconds a run
    "full": {"task": {"hidden": 1024, "steps": 20_000}},
}


@hookimpl
def paper() -> Paper:
    return Paper(
        title="mixup: Beyond Empirical Risk Minimization",
        authors="Hongyi Zhang, Moustapha Cisse, Yann N. Dauphin, David Lopez-Paz",
        year=2018,
        url="https://arxiv.org/abs/1710.09412",
        task=Task,
        data=Data,
        methods=METHODS,
        metrics=METRICS,
        claims=CLAIMS,
        figures=FIGURES,
        budgets=BUDGETS,
        chance={"accuracy": (0.0, 0.25)},
        no_validation="nothing is chosen, and what is believed are the training labels",
        api_version=1,
    )


@hookimpl
def prepare(task: Task, data: Mapping[str, Any], data_dir: Path) -> None:
    from harness_mixup.images import prepare

    prepare(task, data, data_dir)


@hookimpl
def scramble(data_dir: Path, seed: int) -> None:
    from harness_mixup.images import scramble

    scramble(data_dir, seed)


@hookimpl
def train(run: Run) -> None:
    from harness_mixup.training import train

    train(run)


@hookimpl
def evaluate(run: Run, split: str) -> Mapping[str, float | Items]:
    from harness_mixup.training import evaluate

    return evaluate(run, split)


@hookimpl
def training_step(run: Run, device: str) -> None:
    from harness_mixup.training import training_step

    training_step(run, device)


@hookimpl
def tools(app: typer.Typer) -> None:
    from harness_mixup.command import weights

    app.command()(weights)
    app.callback()(lambda: None)  # so that one command alone keeps its name
