"""Train one decoder on windows; which documents share a window is all that differs between methods.

Each pass over the corpus has the same windows in a new order. The last window, if it is not full, is left out. Windows
of best fit are not full: they are filled up with tokens that count nothing.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness import Run
from harness.data.batches import Counted
from harness.data.tokens import starts
from harness.errors import HarnessError, UsageError
from harness.fit import recipe, seed_everything, trial_step
from harness.nn.decoder import Decoder
from harness.tools import write_json
from harness_iclm import intrinsic, orders
from harness_iclm.packing import Windows, best_fit, windows
from harness_iclm.search import neighbours
from harness_iclm.settings import Order, Task
from harness_iclm.walk import path


def train(run: Run) -> None:
    """Order the documents by `run.method`, cut and shuffle windows, and train on them."""
    from transformers import AutoTokenizer

    tokens = np.load(run.data_dir / "train.npy", mmap_mode="r")
    begins = starts(run.data_dir / "train.npy")
    embeddings = np.load(run.data_dir / "train-embeddings.npy", mmap_mode="r")
    order = ordered(run, embeddings)
    best = run.method.order is Order.best_fit
    pack = best_fit if best else windows
    packed = pack(order, np.diff(begins), run.task.length, seed=run.seed, shuffled=run.method.shuffled)
    if best:  # what follows what is the packing's doing
        order = packed.documents()
    found = intrinsic.measure(embeddings, order, packed)
    write_json(run.output_dir / "order.json", found)
    tokenizer = AutoTokenizer.from_pretrained(run.data_dir / "tokenizer")
    seed_everything(run.seed)
    model = new_model(run, len(tokenizer))
    task, masked = run.task, run.method.masked
    batches = WindowBatches(
        tokens, begins, packed, task.length, task.batch_size, run.seed, masked, padded=best
    )
    adamw = functools.partial(torch.optim.AdamW, betas=(0.9, run.task.beta2))
    rate = {"learning_rate": task.learning_rate * run.method.rate}
    run.fit(model, batches, step, optimizer=adamw, **{**recipe(task), **rate})
    model.save_pretrained(run.output_dir)
    tokenizer.save_pretrained(run.output_dir)


def ordered(run: Run, embeddings: np.ndarray) -> np.ndarray:
    """Return the order of the training documents; neighbours are searched once for all methods and seeds."""
    method = run.method
    if method.order in (Order.random, Order.best_fit):
        return orders.shuffle(len(embeddings), run.seed)
    if method.order is Order.clusters:
        return orders.clusters(embeddings, method.cluster_size, run.seed)

    def search(folder: Path) -> None:
        ids, cosines = neighbours(embeddings, method.neighbours, run.task.index, run.task.probes)
        np.savez(folder / "near.npz", ids=ids, cosines=cosines)

    inputs = {"data": run.data_dir.name, "neighbours": method.neighbours}
    with np.load(run.stage("neighbours", inputs, search) / "near.npz") as near:
        ids, cosines = near["ids"], near["cosines"]
    if method.order is Order.nearest_neighbours:
        return orders.nearest_first(ids, run.seed)
    return path(ids, cosines, restart=method.restart.name, seed=run.seed)


class WindowBatches(Counted):
    """An endless iterator of `{"input_ids"}`, and `"position_ids"` where `masked`, each (batch, length) int64.

    Only full windows are taken, unless they are `padded`: then `"share"` says what each token after the first counts.
    Pass p over the windows is in an order that the seed and p decide.
    """

    def __init__(
        self,
        tokens: np.ndarray,
        begins: np.ndarray,
        packed: Windows,
        length: int,
        batch_size: int,
        seed: int,
        masked: bool,
        padded: bool = False,
    ) -> None:
        self.tokens, self.begins, self.packed, self.length = tokens, begins, packed, length
        self.batch_size, self.seed, self.masked = batch_size, seed, masked
        self.padded = padded
        self.full = np.arange(len(packed)) if padded else np.flatnonzero(packed.tokens == length)
        if not len(self.full):
            raise HarnessError(
                f"the documents fill no window of {length} tokens: give more text or lower task.length="
            )
        self._pass, self._order = 0, self.full

    def __next__(self) -> dict[str, torch.Tensor]:
        first = self.drawn * self.batch_size
        self.drawn += 1
        rows = [self.packed[self._window(n)] for n in range(first, first + self.batch_size)]
        batch = rows_of(rows, self.tokens, self.begins, self.masked, self.length)
        return batch | {"share": share(rows, self.length)} if self.padded else batch

    def _window(self, n: int) -> int:
        turn, place = divmod(n, len(self.full))
        if turn != self._pass:
            self._pass, self._order = turn, self.full
            if turn:  # the first pass keeps the packing's own order: it is shuffled, or meant not to be
                self._order = np.random.default_rng([self.seed, turn]).permutation(self.full)
        return int(self._order[place])


def rows_of(
    rows: list[np.ndarray], tokens: np.ndarray, begins: np.ndarray, masked: bool, length: int = 0
) -> dict[str, torch.Tensor]:
    """Return windows as tokens, (rows, length) int64, and where `masked` each token's position in its document.

    A short one is filled with token 0, as if that were a document more.
    """
    length = length or max(int((row[:, 2] - row[:, 1]).sum()) for row in rows)
    ids, positions = np.zeros((2, len(rows), length), np.int64)
    for i, row in enumerate(rows):
        at = 0
        for document, first, end in row:
            part = slice(at, at + end - first)
            ids[i, part] = tokens[begins[document] + first : begins[document] + end]
            positions[i, part] = np.arange(end - first)
            at += end - first
        positions[i, at:] = np.arange(length - at)
    batch = {"input_ids": torch.from_numpy(ids)}
    return batch | {"position_ids": torch.from_numpy(positions)} if masked else batch


def share(rows: list[np.ndarray], length: int) -> torch.Tensor:
    """Return what each token after the first counts, (rows, length - 1) float32: fillings nothing.

    Others count alike in the whole batch, 1 in the mean, so the mean over some of its rows, weighed by rows, adds up.
    """
    sizes = np.array([int((row[:, 2] - row[:, 1]).sum()) for row in rows])
    counted = (np.arange(1, length) < sizes[:, None]).astype(np.float32)
    return torch.from_numpy(counted / max(counted.mean(), 1 / counted.size))


def predictions(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return the logits for each token after the first, (rows, length - 1, vocabulary) float32.

    Where the batch has positions, each 0 begins a document, and documents do not see each other.
    """
    inputs = {name: values[:, :-1] for name, values in batch.items()}
    if "position_ids" in inputs:
        document = (inputs["position_ids"] == 0).cumsum(1)  # (rows, length - 1)
        same = document[:, :, None] == document[:, None, :]
        inputs["attention_mask"] = same.tril()[:, None]  # (rows, 1, queries, keys)
    logits: torch.Tensor = model(**inputs, use_cache=False).logits
    return logits.float()


def step(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return the mean loss of each window's next tokens; the last of a document predicts the next one's first."""
    logits = predictions(model, {name: values for name, values in batch.items() if name != "share"})
    answers = batch["input_ids"][:, 1:].flatten()
    if "share" not in batch:
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), answers)
    losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), answers, reduction="none")
    return (losses * batch["share"].flatten()).mean()


def decoder(task: Task, vocabulary: int) -> Decoder:
    """Return an untrained decoder with rotary positions, as LLaMA's."""
    return Decoder.of(task, vocabulary, position="rotary")


def new_model(run: Run, vocabulary: int) -> Any:
    """Return the model to train: a new decoder, or the base to go on with."""
    if not run.task.base:
        return decoder(run.task, vocabulary)
    from transformers import AutoModelForCausalLM

    base = Path((run.data_dir / "base.txt").read_text(encoding="utf-8"))
    if not base.exists():
        raise UsageError(f"the base model is gone from {base}: run with rerun=true, or bring it back")
    return AutoModelForCausalLM.from_pretrained(base, trust_remote_code=run.trust_remote_code)


def training_step(run: Run, device: str) -> None:
    """Do one whole step on random tokens of the task's shape (for the contract kit)."""
    length, more = run.task.length, {}
    if run.method.masked:
        more = {"position_ids": torch.arange(length, device=device).expand(2, -1) % (length // 2)}
    trial_step(functools.partial(decoder, run.task), step, (2, length), device, **more)


def load(folder: Path, device: str) -> Any:
    """Load the model that `train` left in `folder`, ready to be scored."""
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    return model.to(device).eval()
