"""`fit.micro_batch` is the same training in pieces, or the kit says what is not."""

from pathlib import Path
from typing import Any

import pytest

from harness.contract.bench import Bench
from harness.contract.pieces import same_in_pieces
from harness.errors import UsageError
from tests.contract.test_cheats import Quiz


class Ragged:
    """Rows of 1 to 8 labels each; batch n is the same in every run."""

    drawn = 0

    def __next__(self) -> dict[str, Any]:
        import torch

        generator = torch.Generator().manual_seed(self.drawn)
        self.drawn += 1
        ids = torch.randint(7, (8, 9), generator=generator)
        labels = ids.clone()
        for row in range(8):
            labels[row, : 8 - row] = -100
        return {"input_ids": ids, "labels": labels}

    def state_dict(self) -> dict[str, Any]:
        return {"drawn": self.drawn}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.drawn = state["drawn"]


def mean_of_targets(model: Any, batch: dict[str, Any]) -> Any:
    import torch

    logits, asked = model(batch["input_ids"])[:, :-1], batch["labels"][:, 1:]
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), asked.flatten())


def train(run: Any, loss: Any = mean_of_targets, **options: Any) -> None:
    import torch

    torch.manual_seed(run.seed)
    options = {"steps": 2, "learning_rate": 0.1} | options
    run.fit(torch.nn.Embedding(7, 7), Ragged(), loss, **options)


def deaf(run: Any) -> None:
    import torch

    from harness.fit import fit

    fit(torch.nn.Embedding(7, 7), Ragged(), mean_of_targets, steps=2, learning_rate=0.1, device="cpu")


def honest(run: Any) -> None:
    from harness.fit import targets

    train(run, weigh=targets)


def refusing(run: Any) -> None:
    raise UsageError("fit.micro_batch is not for a loss that compares rows: leave it out")


def sampling(run: Any) -> None:
    """Draw noise for the whole piece at once: a row gets other noise in another piece."""
    import torch

    from harness.fit import targets

    def loss(model: Any, batch: dict[str, Any]) -> Any:
        noise = torch.rand(len(batch["labels"]), generator=torch.Generator().manual_seed(0))
        return mean_of_targets(model, batch) * (1 + noise.mean())

    train(run, loss, weigh=targets)


@pytest.mark.parametrize(
    ("trains", "said"),
    [
        (honest, ""),
        (refusing, ""),
        (lambda run: None, ""),
        (train, "give fit `weigh`"),
        (sampling, "from its own seed"),
        (deaf, "it has no effect"),
    ],
)
def test_pieces_train_as_the_whole_batch_does_or_it_is_said(tmp_path: Path, trains: Any, said: str) -> None:
    found = same_in_pieces(Bench(Quiz(train=trains), tmp_path), "clever")
    assert (said in found) if said else not found
