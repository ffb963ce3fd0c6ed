"""A plugin that only a CPU can run is found without a GPU, with its line; one that keeps to its device passes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from harness import Items
from harness.contract import elsewhere
from harness.contract.bench import Bench
from harness.contract.elsewhere import Found, on_another_device
from tests.contract.test_cheats import Batches, Data, Quiz
from tests.contract.test_contract import replace_default

Step = Callable[[Any, dict[str, torch.Tensor]], torch.Tensor]


def squares(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    return model(batch["x"]).square().mean()


def training(step: Step = squares, **options: Any) -> Callable[[Any], None]:
    """Return a `train` that takes this step and keeps its weights and their optimiser's kind of state."""

    def train(run: Any) -> None:
        torch.manual_seed(run.seed)
        model = torch.nn.Sequential(torch.nn.Linear(1, 4), torch.nn.Dropout(0.1), torch.nn.Linear(4, 1))
        run.fit(
            model,
            Batches(64, run.seed),
            step,
            **{"steps": 4, "learning_rate": 0.1, "log_every": 2, **options},
        )
        torch.save(model.state_dict(), run.output_dir / "model.pt")

    return train


def trained(run: Any) -> Any:
    model = torch.nn.Sequential(torch.nn.Linear(1, 4), torch.nn.Dropout(0.1), torch.nn.Linear(4, 1))
    model.load_state_dict(torch.load(run.output_dir / "model.pt", map_location=run.device))
    return model.to(run.device).eval()


def answering(answer: Callable[[Any, Any], Any]) -> Callable[..., dict[str, Any]]:
    """Return an `evaluate` whose items are what `answer(model, run)` gives."""

    def evaluate(run: Any, split: str) -> dict[str, Any]:
        rows = json.loads((run.data_dir / f"{split}.json").read_text())
        with torch.inference_mode():
            found = np.asarray(answer(trained(run), run), dtype=float)
        return {"accuracy": Items({"right": found}, rows[: len(found)]), "other": float(found.mean())}

    return evaluate


def rows_of(run: Any, **options: Any) -> torch.Tensor:
    return torch.arange(8.0, **options)[:, None]


def keeps(model: Any, run: Any) -> Any:
    """Draw on the device by a generator of its own, and bring back what is judged."""
    noise = torch.randn(8, 1, device=run.device, generator=torch.Generator(run.device).manual_seed(run.seed))
    return (model(rows_of(run).to(run.device)) + noise)[:, 0].cpu().numpy()


def small(folder: Path, **hooks: Any) -> Quiz:
    """Return a quiz with these hooks on a text of a line."""
    text = folder / "quiz.txt"
    text.write_text("one question\n")
    return Quiz({"data": replace_default(Data, "quiz", str(text))}, **hooks)


def found(folder: Path, train: Any = None, evaluate: Any = None, **stated: Any) -> Found:
    """What a run elsewhere shows of a quiz with these hooks."""
    hooks = {"train": train or training(), "evaluate": evaluate or answering(keeps), **stated}
    bench = Bench(small(folder, **hooks), folder)
    first, seen = bench.run("clever", "first")
    assert first is not None, seen
    assert first.status == "finished", first.error
    return on_another_device(bench, "clever", first)


def test_a_plugin_that_keeps_to_its_device_gives_the_cpus_numbers(tmp_path):
    assert found(tmp_path) == Found(finished=True)


def left(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    return (model(batch["x"]) * torch.ones(16, 1)).square().mean()  # left on the CPU


def counted(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    loss = squares(model, batch)
    return loss + torch.zeros(()).add_(loss)  # a sum on the CPU


def as_array(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    return squares(model, batch) + float(batch["x"].numpy().mean())  # without .cpu()


def by_chance(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    x = batch["x"]
    noise = torch.randn(x.shape, device=x.device, generator=torch.Generator().manual_seed(0))  # a CPU's
    return squares(model, {"x": x + noise})


def by_class(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    return functional.cross_entropy(
        model(batch["x"]).expand(-1, 2), torch.zeros(16, dtype=torch.long)
    )  # labels


@pytest.mark.parametrize(
    "step", [left, counted, as_array, by_chance, by_class], ids=lambda step: step.__name__
)
def test_a_step_that_leaves_its_device_is_found_with_its_line(step, tmp_path):
    said = found(tmp_path, training(step))
    line = step.__code__.co_firstlineno
    assert any(f"contract/test_elsewhere.py:{line + ahead} " in said.differs for ahead in range(1, 5)), said
    assert not said.finished


ANSWERS: dict[str, Callable[[Any, Any], Any]] = {
    "an input on the CPU": lambda model, run: model(rows_of(run))[:, 0].cpu(),
    "an array without .cpu()": lambda model, run: model(rows_of(run, device=run.device))[:, 0].numpy(),
    "made an array": lambda model, run: np.asarray(model(rows_of(run, device=run.device))[:, 0]),
    "held against the CPU's": lambda model, run: (model(rows_of(run, device=run.device)) - rows_of(run))[
        :, 0
    ].cpu(),
    "a model of the CPU": lambda model, run: model.cpu()(rows_of(run, device=run.device))[:, 0].cpu(),
    "a checkpoint of the CPU": lambda model, run: (
        rows_of(run, device=run.device)
        @ torch.load(run.output_dir / "model.pt", map_location="cpu")["0.weight"].T
    ).cpu()[:, 0],
    "a CPU's generator": lambda model, run: torch.multinomial(
        model(rows_of(run, device=run.device)).abs()[:, 0], 2, generator=torch.Generator().manual_seed(0)
    ).cpu(),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_evaluation_that_leaves_its_device_is_found_with_its_line(name, tmp_path):
    said = found(tmp_path, evaluate=answering(ANSWERS[name]))
    assert "contract/test_elsewhere.py:" in said.differs
    assert "run" in said.differs.partition("(`")[2]
    assert not said.untried


def test_a_preparation_that_leaves_its_device_is_found(tmp_path):
    def prepare(data_dir: Path, **_: Any) -> None:
        from harness.tools import device_of
        from tests.contract.test_cheats import prepare

        prepare(data_dir)
        torch.ones(3, device=device_of("auto")).numpy()

    assert "asks a device's tensor for numpy" in found(tmp_path, prepare=prepare).differs


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            lambda model, run: np.arange(8) + (run.device == "cpu"),
            "right of accuracy is 0 on another device and 1 on",
        ),
        (
            lambda model, run: np.arange(8 + (run.device == "cpu")),
            "right of accuracy: 9 values on the CPU and 8",
        ),
    ],
)
def test_other_items_on_another_device_are_told(answer, said, tmp_path):
    assert said in found(tmp_path, evaluate=answering(answer)).differs


def test_another_loss_on_another_device_is_told(tmp_path):
    def step(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return squares(model, batch) * (1 + 1e-3 * (batch["x"].device.type == "cpu"))

    assert "the curve gradient_norm is" in found(tmp_path, training(step)).differs


def test_rounding_is_no_difference(tmp_path):
    def answer(model: Any, run: Any) -> Any:
        return np.arange(8) * (1 + 1e-7 * (run.device == "cpu"))

    assert found(tmp_path, evaluate=answering(answer)).differs == ""


def item(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    loss = squares(model, batch)
    loss.item()
    return loss


def at_the_cpu(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    loss = squares(model, batch)
    loss.detach().cpu()
    return loss


def choosing(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    x = batch["x"]
    return squares(model, {"x": x[x[:, 0] >= 0]})


def a_constant(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    x = batch["x"]
    return squares(model, batch) * torch.tensor([1.0, 1.0], device=x.device).sum()


class Backward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x * 1

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        gradient.sum().item()
        return gradient


def backwards(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    return Backward.apply(squares(model, batch))


@pytest.mark.parametrize(
    ("step", "what"),
    [
        (item, "loss.item()"),
        (at_the_cpu, "loss.detach().cpu()"),
        (choosing, "x[x[:, 0] >= 0]"),
        (a_constant, "torch.tensor([1.0, 1.0], device=x.device)"),
        (backwards, "gradient.sum().item()"),
    ],
)
def test_a_step_that_waits_for_a_copy_is_told_how_often_and_where(step, what, tmp_path):
    said = found(tmp_path, training(step))
    assert said.finished
    assert said.differs == ""
    assert "contract/test_elsewhere.py:" in said.copies
    assert " 4 times in training steps" in said.copies
    assert what in said.copies.partition("(`")[2]


def test_what_a_step_samples_without_gradients_is_told_and_no_failure(tmp_path):
    def step(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        with torch.no_grad():
            squares(model, batch).item()
        return squares(model, batch)

    said = found(tmp_path, training(step))
    assert said.copies == ""
    assert "4 times in training steps" in said.told


def test_the_batch_the_look_and_a_checkpoint_are_no_waiting(tmp_path):
    assert found(tmp_path, training(log_every=1)) == Found(finished=True)


def test_a_gap_of_the_device_is_no_fault(tmp_path):
    def evaluate(run: Any, split: str) -> dict[str, Any]:
        if run.device != "cpu":
            raise NotImplementedError("this device has no such kernel")
        return answering(keeps)(run, split)

    assert found(tmp_path, evaluate=evaluate).untried == "NotImplementedError: this device has no such kernel"


def test_the_kit_says_what_was_not_tried_and_asks_the_meta_device_instead(tmp_path, monkeypatch):
    from harness.contract import checks

    monkeypatch.setattr(checks, "on_another_device", lambda *_: Found(untried="no such kernel"))
    quiz = small(tmp_path, training_step=lambda run, device: torch.ones(3, device=device).sum().item())
    bench = Bench(quiz, tmp_path)
    first, _ = bench.run("clever", "first")
    same, step = checks._elsewhere(bench, "clever", first)
    assert (same.passed, same.untried) == (True, "no such kernel")
    assert not step.passed
    assert "reads a tensor's value" in step.fix


def test_where_it_runs_it_replaces_the_meta_device(tmp_path):
    from harness.contract.checks import _elsewhere

    quiz = small(
        tmp_path, train=training(), evaluate=answering(keeps), training_step=lambda run, device: 1 / 0
    )
    bench = Bench(quiz, tmp_path)
    first, _ = bench.run("clever", "first")
    assert [(check.name, check.passed, check.fix) for check in _elsewhere(bench, "clever", first)] == [
        ("clever: on another device it gives the same", True, ""),
        ("clever: a training step waits for no copy", True, ""),
    ]


def test_the_widest_of_several_lines_is_the_one_that_is_told():
    copies = [["a.py:1 ", "x", "reads", "own", 2], ["a.py:9 ", "y", "reads", "own", 5]]
    fix, told = elsewhere.waited(copies, steps=5)
    assert fix.startswith("a.py:9 reads 5 times in training steps (`y`), and one more: ")
    assert told == ""


def test_a_fault_that_another_error_hides_is_told_all_the_same(tmp_path):
    def answer(model: Any, run: Any) -> Any:
        try:
            return model(rows_of(run, device=run.device)).numpy()[:, 0]
        except Exception:
            raise ValueError("no answer") from None

    said = found(tmp_path, evaluate=answering(answer))
    assert "asks a device's tensor for numpy" in said.differs
    assert said.untried == ""


def test_what_was_not_tried_is_printed_so_in_words_and_as_json(monkeypatch, capsys):
    from harness.commands import check
    from harness.contract.checks import Check

    made = [Check("a", True), Check("b", True, untried="NotImplementedError: no such kernel")]
    monkeypatch.setattr(check, "checks", lambda *_: iter(made))
    assert check.show_check("lora", as_json=False) == 0
    said = capsys.readouterr().out
    assert "not tried b" in said
    assert "no such kernel" in said
    assert "1 of 1 checks passed; 1 not tried" in said
    assert check.show_check("lora", as_json=True) == 0
    assert [one["untried"] for one in json.loads(capsys.readouterr().out)] == ["", made[1].untried]


def test_what_is_brought_over_once_and_kept_is_in_no_steps_way():
    once = [["a.py:1 ", "x", "copies", "own", 1]]
    assert elsewhere.waited(once, steps=4) == ("", "")
    assert "copies 1 times" in elsewhere.waited(once, steps=1)[0]
