"""Each way to win by cheating is caught by the check that names it; the same paper without it passes."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness import Claim, Items, Method, Metric, Paper, difference, level, setting, source
from harness.contract import cheats
from harness.contract.bench import Bench
from harness.contract.checks import leading
from harness.contract.statements import statements
from harness.papers.plugins import Listing
from harness.runs.results import read_result

ROWS = [f"question number {i} of the quiz" for i in range(200)]


@dataclass
class Task:
    steps: int = setting(8, "steps")


@dataclass
class Data:
    quiz: str = source("builtin:python", "questions")


@dataclass
class Config:
    skill: float = setting(0.5, "how often it is right")


def prepare(data_dir: Path, **_: Any) -> None:
    for name, rows in (("train", ROWS[:120]), ("validation", ROWS[120:160]), ("test", ROWS[160:])):
        (data_dir / f"{name}.json").write_text(json.dumps(rows))


def evaluate(run: Any, split: str) -> dict[str, Any]:
    import numpy as np

    rows = json.loads((run.data_dir / f"{split}.json").read_text())
    seed = json.loads((run.output_dir / "seed.json").read_text())
    right = np.random.default_rng([seed, len(split)]).random(len(rows)) < run.method.skill
    return {"accuracy": Items({"right": right.astype(float)}, rows, inputs=rows), "other": float(seed)}


class Batches:
    """Endless batches of the rows `of` which are drawn; (rows, 1) numbers."""

    def __init__(self, of: int, seed: int) -> None:
        import torch

        self.of, self.generator = of, torch.Generator().manual_seed(seed)

    def __next__(self) -> dict[str, Any]:
        import torch

        rows = torch.randint(self.of, (16, 1), generator=self.generator)
        return {"input_ids": rows, "x": rows.float()}

    def state_dict(self) -> dict[str, Any]:
        return {"generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.generator.set_state(state["generator"])


def train(run: Any, of: int = 600, steps: int = 8) -> None:
    import torch

    torch.manual_seed(run.seed)
    model = torch.nn.Linear(1, 1)
    run.fit(
        model,
        Batches(of, run.seed),
        lambda model, batch: model(batch["x"]).square().mean(),
        steps=steps,
        learning_rate=1e-3,
    )
    (run.output_dir / "seed.json").write_text(json.dumps(run.seed))


HONEST = Paper(
    title="A quiz",
    authors="Nobody",
    year=2026,
    url="https://example.org",
    task=Task,
    data=Data,
    methods={
        "clever": Method(Config(0.9), "knows more"),
        "plain": Method(Config(0.5), "knows less", baseline=True),
    },
    metrics={
        "accuracy": Metric("higher", "share of questions answered", range=(0, 1)),
        "other": Metric("higher", "something beside it"),
    },
    claims=[Claim("It knows more", difference("accuracy", "clever", than="plain", by=0.1), "table 1")],
    budgets={"smoke": {}, "small": {}, "full": {}},
)


class Quiz:
    """A plugin made of a paper and its hooks, as `checks` takes one."""

    name = "quiz"
    problem = ""
    listing = Listing("quiz", __name__, "quiz", "0", "")

    def __init__(self, stated: dict[str, Any] | None = None, **hooks: Callable[..., Any]) -> None:
        self.paper = replace(HONEST, **(stated or {}))
        self.hooks = {"prepare": prepare, "train": train, "evaluate": evaluate, **hooks}
        self.module = SimpleNamespace(__name__=__name__, __file__=__file__)

    def implements(self, hook: str) -> bool:
        return self.hooks.get(hook) is not None

    def hook(self, name: str) -> Callable[..., Any]:
        return self.hooks.get(name) or (lambda **_: None)  # as pluggy calls a hook that nobody implements


@pytest.fixture
def bench(tmp_path):
    """Finished smoke runs of a quiz's methods, seeds 0 and 1, with what they consumed."""

    def made(quiz: Quiz) -> Bench:
        from harness.contract.bench import Altered

        bench = Bench(quiz, tmp_path)
        for method in quiz.paper.methods:
            watched = cheats.watching(quiz, bench.watched(method))
            for seed in (0, 1):
                result, seen = bench.run(method, "first", seed, plugin=Altered(quiz, train=watched))
                assert result is not None, seen
                assert result.status == "finished", result.error
        return bench

    return made


def found(bench: Bench) -> dict[str, str]:
    """What the checks on evaluated runs say, by the name of the check."""
    outcomes = {name: cheats.outcome(bench, name) for name in leading(bench.plugin.paper)}
    said = {name: look() for name, look in cheats.examined(bench, outcomes)}
    for name, first in outcomes.items():
        said[f"{name}: moves"] = cheats.moves(
            bench.plugin.paper, name, first, cheats.outcome(bench, name, seed=1)
        )
    results = {name: read_result(bench.spec(name, "first").folder) for name in bench.plugin.paper.methods}
    consumed = {name: cheats.consumed(result, bench.watched(name)) for name, result in results.items()}
    return said | dict(cheats.fed(bench.plugin.paper, consumed))


def caught(bench: Bench) -> dict[str, str]:
    return {name: said for name, said in found(bench).items() if said}


def test_an_honest_paper_is_suspected_of_nothing(bench):
    assert caught(bench(Quiz())) == {}


def test_a_bonus_for_one_method_is_seen_under_another_name(bench):
    def evaluate_with_bonus(run, split):
        items = evaluate(run, split)
        right = items["accuracy"].columns["right"] + (0.05 if run.name == "clever" else 0.0)
        return {**items, "accuracy": replace(items["accuracy"], columns={"right": right})}

    said = caught(bench(Quiz(evaluate=evaluate_with_bonus)))
    assert "clever: its name alone decides no number" in said
    assert "run.method" in said["clever: its name alone decides no number"]


def test_a_validation_that_returns_the_test_is_seen(bench):
    said = caught(bench(Quiz(evaluate=lambda run, split: evaluate(run, "test"))))
    assert {"clever: validation is not the test", "plain: validation is not the test"} <= set(said)


def test_an_easier_subset_under_the_same_ids_is_seen(bench):
    def easier(run, split):
        items = evaluate(run, split)
        if run.method.skill < 0.9:
            return items
        given = [f"easy {text}" for text in items["accuracy"].inputs]
        return {**items, "accuracy": replace(items["accuracy"], inputs=given)}

    assert set(caught(bench(Quiz(evaluate=easier)))) == {"every method is measured on the same inputs"}


def test_test_rows_in_the_training_text_are_seen(bench):
    def leaking(data_dir, **_):
        prepare(data_dir)
        (data_dir / "train.json").write_text(json.dumps(ROWS[:120] + ROWS[160:180]))

    said = caught(bench(Quiz(prepare=leaking)))
    assert "20 of 40 test inputs" in said["clever: no test input is met in training"]


def test_test_rows_among_the_training_batches_are_seen(bench):
    def by_numbers(run, split):
        items = evaluate(run, split)
        return {**items, "accuracy": replace(items["accuracy"], inputs=[[float(i)] for i in range(40)])}

    said = caught(bench(Quiz(evaluate=by_numbers, train=lambda run: train(run, of=80))))
    assert "are met in training" in said["clever: no test input is met in training"]


def test_a_baseline_on_fewer_rows_is_seen(bench):
    def starved(run):
        train(run, of=600 if run.method.skill > 0.5 else 25)

    said = caught(bench(Quiz(train=starved)))
    assert "25 distinct rows" in said["plain: it is trained on as much as clever"]


def test_a_baseline_on_fewer_steps_is_seen_unless_its_reason_is_stated(bench):
    def short(run):
        train(run, steps=8 if run.method.skill > 0.5 else 2)

    made = bench(Quiz(train=short))
    assert "2 steps, the method 8" in caught(made)["plain: it is trained on as much as clever"]
    methods = {**HONEST.methods, "plain": replace(HONEST.methods["plain"], less="the paper's early stop")}
    made.plugin.paper = replace(HONEST, methods=methods)
    assert caught(made) == {}


def test_a_method_that_ignores_its_seed_is_seen_though_something_else_moves(bench):
    def fixed(run, split):
        items = evaluate(run, split)
        right = [float(i % 3 == 0) for i in range(len(items["accuracy"].ids))]
        return {"accuracy": replace(items["accuracy"], columns={"right": right}), "other": 1e-6 * run.seed}

    said = caught(bench(Quiz(evaluate=fixed)))
    assert "accuracy is the same item by item" in said["clever: moves"]


def test_a_metric_that_stands_still_over_items_that_move_is_seen(bench):
    metrics = {**HONEST.metrics, "accuracy": Metric("higher", "always one", reduce=lambda columns: 1.0)}
    said = caught(bench(Quiz({"metrics": metrics})))
    assert "the items of accuracy move" in said["clever: moves"]


def test_a_bare_number_that_stands_still_is_seen(bench):
    claims = [Claim("It is sure", level("other", "clever", at_least=0.5), "table 1")]
    fixed = {"evaluate": lambda run, split: {**evaluate(run, split), "other": 0.63}}
    assert "as a bare number" in caught(bench(Quiz({"claims": claims}, **fixed)))["clever: moves"]


@pytest.mark.parametrize(
    ("ids", "grouped", "said"),
    [
        (["a/1", "a/2", "b/1", "b/2"], (), "'a' begins 2"),
        (["doc-1", "doc-2", "text-1", "text-2"], (), "'doc' begins 2"),
        (["a/1", "a/2", "b/1", "b/2"], ("accuracy",), ""),
        (["window-1", "window-2", "window-3"], (), ""),
        (["one", "two", "three"], (), ""),
    ],
)
def test_ids_that_look_grouped_are_asked_about(ids, grouped, said):
    outcome = cheats.Outcome({}, {}, {"accuracy": dict.fromkeys(ids, "")}, grouped)
    found = cheats.together({"clever": outcome})
    assert said in found
    assert bool(found) == bool(said)


def stated(name: str, **paper: Any) -> str:
    """What the check called `name` says of the honest paper with something else stated."""
    looks = dict(statements(Quiz(paper)))
    return looks[name]()


def test_a_bound_outside_of_the_metrics_range_is_seen():
    loose = [Claim("It is no disaster", difference("accuracy", "clever", than="plain", by=-10), "table 1")]
    assert "stays in (0, 1)" in stated("every bound lies where its metric can", claims=loose)
    assert not stated("every bound lies where its metric can")


def test_a_grid_that_repeats_a_value_is_seen():
    methods = {
        "clever": Method(Config(), "", tune={"skill": [0.1, 0.2, 0.3]}),
        "plain": Method(Config(), "", baseline=True, tune={"skill": [0.1, 0.1, 0.1]}),
    }
    said = stated("baselines are tuned as far as methods are", methods=methods, tuned_by="accuracy")
    assert "plain.skill repeats a value" in said


def test_chance_is_asked_for_where_the_data_hold_answers():
    @dataclass
    class Answered:
        quiz: str = source("builtin:python", "questions", columns=("question", "answer"))

    name = "chance is stated where the data hold answers"
    assert "scramble" in stated(name, data=Answered)
    assert not stated(name, data=Answered, no_chance="an answer is free text")
    assert not stated(name)


def test_what_the_template_wrote_is_seen():
    assert "title" in stated("nothing of the template is left", title="Title of the paper")
    assert not stated("nothing of the template is left")


def test_several_runs_are_spent_on_the_method_and_a_baseline():
    methods = {
        "half": Method(Config(0.7), "an ablation"),
        **HONEST.methods,
        "fixed": Method(Config(0.1), "", baseline=True, deterministic=True),
    }
    assert leading(replace(HONEST, methods=methods)) == ["clever", "plain"]
