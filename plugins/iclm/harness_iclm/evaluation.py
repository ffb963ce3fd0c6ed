"""Judge a model on related and on shuffled windows, and ask what a related context is worth to it.

Related windows are easier text, so both packings are always told, of the same tokens. The context gain
compares, for one target, another's neighbours as context with its own neighbours, at equal length: a
position effect or "any text helps" cancels. It is asked without a mask of every method, as a prompt would be.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from harness import Items, Run
from harness.data.jsonl import read_json
from harness.data.tokens import starts
from harness.nn.generate import generate, inference
from harness_iclm.few_shot import scores
from harness_iclm.metrics import PACKINGS, PLACES
from harness_iclm.preparation import load_windows
from harness_iclm.settings import Order
from harness_iclm.training import load, predictions, rows_of

BATCH = 8192  # tokens


def evaluate(run: Run, split: str) -> dict[str, float | Items]:
    """Return the losses on both packings by place in the window, the context gain, repetition and the order's worth."""
    model = load(run.output_dir, run.device)
    tokens, begins = np.load(run.data_dir / f"{split}.npy"), starts(run.data_dir / f"{split}.npy")
    found: dict[str, float | Items] = {}
    packed = {packing: load_windows(run.data_dir / f"{split}-{packing}.npz") for packing in PACKINGS}
    # Documents of one related window are about one thing, and are each other's neighbours.
    topic = {"topic": packed["related"].holders()}
    whose = {"related": topic, "shuffled": {**topic, "window": packed["shuffled"].holders()}}
    measured: dict[str, dict[int, float]] = {}
    for packing in PACKINGS:
        losses, places = window_losses(
            model, list(packed[packing]), tokens, begins, run.method.masked, run.device
        )
        measured[packing] = losses
        found[f"loss_{packing}"] = _items(losses, whose[packing])
        for number, place in enumerate(PLACES):
            chosen = {d: loss for d, loss in losses.items() if min(places[d], 2) == number}
            if chosen:
                found[f"loss_{packing}_{place}"] = _items(chosen, whose[packing])
            else:
                run.absent(f"loss_{packing}_{place}", "no window holds so many documents")
    found["perplexity_shuffled"] = found["loss_shuffled"]
    own = "shuffled" if run.method.order in (Order.random, Order.best_fit) else "related"
    found["loss_own_packing"] = _items(measured[own], topic)
    found |= contexts(run, model, tokens, begins, split, topic)
    found["repetition"] = repetition(run, model, tokens, begins)
    found |= read_json(run.output_dir / "order.json")
    return found | scores(run, model)


def _items(losses: dict[int, float], whose: dict[str, np.ndarray]) -> Items:
    documents = sorted(losses)
    ids = [f"document-{d}" for d in documents]
    return Items({"nll": [losses[d] for d in documents]}, ids, _groups(documents, whose))


def _groups(documents: Any, whose: dict[str, np.ndarray]) -> dict[str, list[int]]:
    """Return the documents' groups, without a factor in which all are one."""
    groups = {name: of[documents].tolist() for name, of in whose.items()}
    return {name: group for name, group in groups.items() if len(set(group)) > 1}


def window_losses(
    model: Any,
    rows: list[np.ndarray],
    tokens: np.ndarray,
    begins: np.ndarray,
    masked: bool,
    device: str,
) -> tuple[dict[int, float], dict[int, int]]:
    """Return each document's mean loss and its place in its window, by its number.

    Its first token is not counted: in the first document of a window nothing predicts it. Documents of one
    token have no loss.
    """
    losses, places = {}, {}
    longest = max(int((row[:, 2] - row[:, 1]).sum()) for row in rows)
    size = max(1, BATCH // longest)
    for start in range(0, len(rows), size):
        some = rows[start : start + size]
        nll = token_losses(model, rows_of(some, tokens, begins, masked, longest), device)
        for row, loss in zip(some, nll, strict=True):
            at = 0
            for place, (document, first, end) in enumerate(row):
                if end - first > 1:
                    losses[int(document)] = float(loss[at : at + end - first - 1].mean())
                    places[int(document)] = place
                at += end - first
    return losses, places


def token_losses(model: Any, batch: dict[str, torch.Tensor], device: str) -> np.ndarray:
    """Return the loss of each token after the first, (rows, length - 1) float32."""
    batch = {name: values.to(device) for name, values in batch.items()}
    answers = batch["input_ids"][:, 1:]
    with inference(model):
        logits = predictions(model, batch)
    found = torch.nn.functional.cross_entropy(logits.flatten(0, 1), answers.flatten(), reduction="none")
    return found.view(answers.shape).cpu().numpy()


def losses_after(model: Any, before: Any, texts: list[np.ndarray], device: str) -> np.ndarray:
    """Return each text's mean loss after what stands `before` it, (n,) float64; first tokens are not counted."""
    by_length, losses = sorted(range(len(texts)), key=lambda i: len(texts[i])), np.empty(len(texts))
    size = max(1, BATCH // max(len(one) + len(text) for one, text in zip(before, texts, strict=True)))
    for start in range(0, len(texts), size):
        some = by_length[start : start + size]
        ids = np.zeros((len(some), max(len(before[i]) + len(texts[i]) for i in some)), np.int64)
        for row, i in enumerate(some):
            ids[row, : len(before[i]) + len(texts[i])] = np.concatenate([before[i], texts[i]])
        nll = token_losses(model, {"input_ids": torch.from_numpy(ids)}, device)
        for row, i in enumerate(some):
            losses[i] = nll[row, len(before[i]) : len(before[i]) + len(texts[i]) - 1].mean()
    return losses


def second_half(model: Any, texts: list[np.ndarray], device: str) -> np.ndarray:
    """Return what a text's own first half is worth to its second, beside as many tokens of another's, (n,) float64.

    A document is related to itself for certain: a model to which this is worth nothing cannot use related documents.
    """
    turned = [*texts[len(texts) // 2 :], *texts[: len(texts) // 2]]
    halves = [
        (one[: len(one) // 2], other[: len(other) // 2]) for one, other in zip(texts, turned, strict=True)
    ]
    sizes = [min(len(own), len(other)) for own, other in halves]
    seconds = [text[len(text) // 2 :] for text in texts]
    own, other = (
        [pair[k][len(pair[k]) - n :] for pair, n in zip(halves, sizes, strict=True)] for k in (0, 1)
    )
    return losses_after(model, other, seconds, device) - losses_after(model, own, seconds, device)


def contexts(
    run: Run,
    model: Any,
    tokens: np.ndarray,
    begins: np.ndarray,
    split: str,
    whose: dict[str, np.ndarray],
) -> dict[str, Items]:
    """Return the loss of each target after its own neighbours, after another's and after nothing, and the gain.

    The targets' first tokens are not counted. "Nothing" is the mark between documents alone.
    """
    with np.load(run.data_dir / f"{split}-contexts.npz") as file:
        targets, end = file["targets"], int(file["end"])
        shown = {"related": file["related"], "unrelated": file["unrelated"]}
    shown["no"] = np.full((len(targets), 1), end)
    room = run.task.length - shown["related"].shape[1]
    whole = [tokens[begins[d] : begins[d + 1]][: run.task.length].astype(np.int64) for d in targets]
    texts = [text[:room] for text in whole]
    found = {name: losses_after(model, before, texts, run.device) for name, before in shown.items()}
    names, groups = [f"target-{d}" for d in targets], _groups(targets, whose)
    items = {f"loss_after_{name}": Items({"nll": losses}, names, groups) for name, losses in found.items()}
    return items | {
        "second_half_gain": Items({"gain": second_half(model, whole, run.device)}, names, groups),
        "context_gain": Items({"gain": found["unrelated"] - found["related"]}, names, groups),
        "position_gain": Items({"gain": found["no"] - found["unrelated"]}, names, groups),
    }


def repetition(run: Run, model: Any, tokens: np.ndarray, begins: np.ndarray, n: int = 4) -> Items:
    """Return the share of sampled tokens that end a run of `n` which already stood in their text."""
    size = max(n, run.task.length // 4)
    chosen = np.flatnonzero(np.diff(begins) > size)[: run.task.prompts]
    chosen = chosen if len(chosen) else np.argsort(-np.diff(begins), kind="stable")[: run.task.prompts]
    prompts = [tokens[begins[d] : begins[d + 1]][:size].astype(int).tolist() for d in chosen]
    made = generate(model, prompts, max_new_tokens=size, seed=0)
    shares = [repeated(prompt, new, n) for prompt, new in zip(prompts, made, strict=True)]
    return Items({"share": shares}, [f"prompt-{d}" for d in chosen])


def repeated(prompt: list[int], new: list[int], n: int = 4) -> float:
    """Return the share of the tokens of `new` that end a run of `n` tokens seen before in prompt and new."""
    text = [*prompt, *new]
    seen = {tuple(text[i : i + n]) for i in range(len(prompt) - n + 1)}
    again = 0
    for end in range(max(len(prompt), n - 1), len(text)):
        run = tuple(text[end - n + 1 : end + 1])
        again += run in seen
        seen.add(run)
    return again / len(new) if new else 0.0
