"""Judge a model: what it makes of a chunk continued from afar, of tables, of needles, and of plain prose.

The gain is what the right first half is worth: the loss on returning numbers when another document's first
half stands in its place, minus the loss with its own. A confident wrong copy makes the gain large too, so
accuracy stands beside it.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch

from harness import Items
from harness.nn.bases import load_model
from harness.nn.generate import inference
from harness_longskywork.metrics import DEPTHS, LENGTHS, REACHES
from harness_longskywork.symbols import IGNORED, Rows, Symbols, facts, load_symbols, needles, tables
from harness_longskywork.training import FORMS, places

SEEDS = {"validation": 10_001, "test": 10_002}  # of the items, alike for all methods and seeds
TOKENS = 16_384  # scored at once


def evaluate(run: Any, split: str) -> dict[str, float | Items]:
    """Return all metrics of what `train` left, on items of this split."""
    task, seed = run.task, SEEDS[split]
    symbols, prose = load_symbols(run.data_dir / "symbols.npz"), np.load(run.data_dir / f"{split}.npy")
    model = load_model(run.output_dir / "model", run.device)
    found = _partners(run, model, symbols, prose, seed)
    found["prose_loss"] = _prose(model, prose, 2 * task.document, task.items)
    found |= _tables(model, symbols, task, seed)
    needle_model = load_model(run.output_dir / "needles", run.device)
    found |= _needles(needle_model, symbols, prose, task, seed)
    learned = json.loads((run.output_dir / "needles" / "steps.json").read_text(encoding="utf-8"))
    found["needle_start"] = float(learned["by_step"]["0"])
    # Never reached counts as one look more than there were: a lower bound.
    found["needle_steps"] = float(task.needle_steps + 10 if learned["steps"] is None else learned["steps"])
    return found


def scored(model: Any, rows: Rows) -> dict[str, np.ndarray]:
    """Return for each row of ids and labels its targets' `loss` and `accuracy` in the mean, and whether all
    were right (`exact`): each (rows,)."""
    ids, labels = (torch.from_numpy(rows[name]) for name in ("input_ids", "labels"))
    found: dict[str, list[torch.Tensor]] = {"loss": [], "accuracy": [], "exact": []}
    size = max(1, TOKENS // ids.shape[1])
    with inference(model):
        for some, wanted in zip(ids.split(size), labels.split(size), strict=True):
            some, wanted = some.to(model.device), wanted.to(model.device)[:, 1:]
            logits = model(input_ids=some, position_ids=places(some), use_cache=False).logits[:, :-1].float()
            target = wanted != IGNORED
            loss = torch.nn.functional.cross_entropy(
                logits.transpose(1, 2), wanted, ignore_index=IGNORED, reduction="none"
            )
            right = (logits.argmax(-1) == wanted) & target
            count = target.sum(1).clamp(min=1)
            found["loss"].append(loss.sum(1) / count)
            found["accuracy"].append(right.sum(1) / count)
            found["exact"].append((right.sum(1) == target.sum(1)).float())
    return {name: torch.cat(parts).cpu().double().numpy() for name, parts in found.items()}


def partners(
    symbols: Symbols, prose: np.ndarray, length: int, between: int, items: int, seed: int
) -> tuple[Rows, Rows]:
    """Return `items` windows A1 B1 C1 ... A2 with `between` first halves in the middle, and the same with A1 swapped.

    Targets are the numbers that return in A2; the swapped window opens with another document's first half.
    """
    random = np.random.default_rng([seed, 1])
    documents = [facts(random, symbols, prose, length) for _ in range(items + between + 1)]
    ids = np.stack([document["input_ids"] for document in documents])
    half = ids.shape[1] // 2
    labels = np.where([document["returning"] for document in documents], ids, IGNORED)[:items, half:]
    own, swapped = [], []
    for i in range(items):
        middle = [ids[i + 1 + b, :half] for b in range(between)]
        own.append(np.concatenate([ids[i, :half], *middle, ids[i, half:]]))
        swapped.append(np.concatenate([ids[i + between + 1, :half], *middle, ids[i, half:]]))
    ignored = np.full((items, (between + 1) * half), IGNORED)
    labels = np.concatenate([ignored, labels], axis=1)
    return {"input_ids": np.stack(own), "labels": labels}, {"input_ids": np.stack(swapped), "labels": labels}


def _partners(
    run: Any, model: Any, symbols: Symbols, prose: np.ndarray, seed: int
) -> dict[str, float | Items]:
    task = run.task
    found: dict[str, float | Items] = {}
    furthest = task.window // task.document - 1
    for between in sorted({*REACHES, furthest}):
        if between > furthest:
            run.absent(f"gain_after_{between}", f"a window holds {furthest + 1} documents: see task.window")
            continue
        own, swapped = (scored(model, rows) for rows in partners(
            symbols, prose, task.document, between, task.items, seed))  # fmt: skip
        gain = swapped["loss"] - own["loss"]
        if between in REACHES:
            found[f"gain_after_{between}"] = _items("document", gain, contiguous=True)
        if between == 0:
            found["single_accuracy"] = _items("document", own["accuracy"])
        if between == furthest:  # the halves between are the next windows' own: neighbours share them
            partner = {"accuracy": own["accuracy"], "loss": own["loss"], "gain": gain}
            found |= {
                f"partner_{name}": _items("document", values, contiguous=True)
                for name, values in partner.items()
            }
    return found


def _prose(model: Any, prose: np.ndarray, length: int, items: int) -> Items:
    length = min(length, len(prose) // 2)
    count = min(items, len(prose) // length)
    ids = prose[: count * length].reshape(count, length)
    return _items("window", scored(model, {"input_ids": ids, "labels": ids})["loss"], contiguous=True)


def _tables(model: Any, symbols: Symbols, task: Any, seed: int) -> dict[str, float | Items]:
    """Ask one question of each table, so that items are independent; depth is the row's place, in quarters."""
    found: dict[str, float | Items] = {}
    columns = FORMS[2][0]
    sizes = {"half_rows": task.rows // 2, "": task.rows, "double_rows": 2 * task.rows}
    for turn, (name, rows) in enumerate(sizes.items()):
        asked = tables(np.random.default_rng([seed, 2, turn]), symbols, rows, columns, False, task.items, 1)
        exact = scored(model, asked)["exact"]
        found["_".join(filter(None, ("table_exact", name)))] = _items("table", exact)
        if name == "":
            for quarter in range(4):
                inside = asked["row"][:, 0] * 4 // rows == quarter
                chosen = np.flatnonzero(inside)
                found[f"table_depth_{quarter}"] = Items(
                    {"value": exact[chosen]}, [f"table-{i}" for i in chosen]
                )
    records = tables(np.random.default_rng([seed, 3]), symbols, task.rows, columns, True, task.items, 1)
    found["table_exact_records"] = _items("table", scored(model, records)["exact"])
    return found


def _needles(
    model: Any, symbols: Symbols, prose: np.ndarray, task: Any, seed: int
) -> dict[str, float | Items]:
    found: dict[str, float | Items] = {}
    for turn, variant in enumerate(("single", "value", "query")):
        random = np.random.default_rng([seed, 4, turn])
        asked = needles(random, symbols, prose, task.prose, task.items, variant=variant)
        name = "needle_exact" if variant == "single" else f"needle_multi_{variant}"
        found[name] = _found(model, asked, task.prose)
    for times, of in LENGTHS.items():
        for depth in DEPTHS:
            random = np.random.default_rng([seed, 5, round(2 * of), depth])
            length = int(task.prose * of)
            asked = needles(random, symbols, prose, length, max(1, task.items // 5), depth / 100)
            found[f"needle_{times}_{depth}"] = _found(model, asked, length)
    return found


def _found(model: Any, asked: Rows, length: int) -> Items:
    """Return which needles are found; those in one stretch of the prose may share words of it."""
    stretch = (asked["at"] // length).tolist()
    groups = {"stretch": stretch} if len(set(stretch)) > 1 else {}
    return _items("needle", scored(model, asked)["exact"], groups=groups)


def _items(kind: str, values: np.ndarray, **together: Any) -> Items:
    return Items({"value": values}, [f"{kind}-{i}" for i in range(len(values))], **together)
