"""Score the same held-out tokens at L, 2L, 4L ... with both protocols, and probe for memory.

Nonoverlapping windows give early tokens little context, and longer windows fewer of them: that
alone lowers perplexity (the early token curse, Appendix B). The sliding window removes it. The
probe asks whether a model can use what it saw: flat perplexity is not long memory.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from harness import Items, Run
from harness.data.tokens import starts, together
from harness.fit import peak_memory
from harness.nn.evals import by_position, nll, retrieval
from harness_alibi.metrics import EDGES, MULTIPLES, PROBES
from harness_alibi.models import load
from harness_alibi.settings import Task


def evaluate(run: Run[Task, Any], split: str) -> dict[str, float | Items]:
    """Return perplexity at every length with both protocols, by position, and the probe's gains."""
    task = run.task
    model = load(run.output_dir, run.device)
    tokens = np.load(run.data_dir / f"{split}.npy", mmap_mode="r")
    begins = starts(run.data_dir / f"{split}.npy")
    found: dict[str, float | Items] = {}
    reach = within_reach(run, task)
    for done, multiple in enumerate(reach):
        length = multiple * task.length
        run.progress(done, len(reach) + 1, note="scoring")
        begun = time.perf_counter()
        whole = nll(model, tokens, length, targets=task.targets, device=run.device)
        seconds = time.perf_counter() - begun
        slid = nll(model, tokens, length, targets=task.sliding_targets, stride=task.stride, device=run.device)
        found[f"perplexity_{multiple}L"] = blocks(whole, task.length, begins)
        found[f"sliding_perplexity_{multiple}L"] = blocks(slid, task.stride, begins)
        run.measure("evaluation_tokens_per_second", task.targets / seconds)
    found |= by_edge(whole, reach[-1] * task.length, task.length, begins)
    run.measure("evaluation_peak_memory", peak_memory(run.device))
    distances = {name: int(float(name[:-1]) * task.length) for name in PROBES}
    if run.method.position == "learned":
        for name in PROBES[1:]:  # the question comes after the distance, so L itself is out of reach
            run.absent(f"retrieval_gain_{name}", f"learned positions end at L = {task.length}")
            del distances[name]
    size = max(task.length // 16, 1)
    probed = retrieval(
        model,
        tokens,
        list(distances.values()),
        items=task.probes,
        key=size,
        value=3 * size,
        device=run.device,
    )
    for name, distance in distances.items():
        gain = probed[distance]["gain"]
        # Probes that end nearby show the same text between: one stretch.
        stretch = probed[distance]["end"] // int(float(PROBES[-1][:-1]) * task.length)
        ids = [f"probe-{i}" for i in range(len(gain))]
        found[f"retrieval_gain_{name}"] = Items({"gain": gain}, ids, {"stretch": stretch.tolist()})
    return found


def within_reach(run: Run[Task, Any], task: Task) -> tuple[int, ...]:
    """Return the multiples of L this method can be scored at; say why the others are absent."""
    if run.method.position != "learned":
        return MULTIPLES
    reason = f"learned positions end at L = {task.length}: there is no vector for a later one"
    for multiple in MULTIPLES[1:]:
        run.absent(f"perplexity_{multiple}L", reason)
        run.absent(f"sliding_perplexity_{multiple}L", reason)
    for edge in EDGES:
        if float(edge[:-1]) > 1:
            run.absent(f"position_perplexity_{edge}", reason)
    return MULTIPLES[:1]


def blocks(losses: np.ndarray, size: int, begins: np.ndarray) -> Items:
    """Return the mean loss of each run of `size` tokens: items that are equal at every length."""
    count = len(losses) // size
    means = losses[: count * size].reshape(count, size).mean(axis=1)
    places = np.arange(count) * size
    return Items({"nll": means}, [f"tokens-{place}" for place in places], **together(begins, places))


def by_edge(losses: np.ndarray, length: int, unit: int, begins: np.ndarray) -> dict[str, Items]:
    """Return the losses at positions up to each edge in a window of `length`, one item a window."""
    highs = {int(float(edge[:-1]) * unit): edge for edge in EDGES}
    places = np.arange(len(losses) // length) * length
    ids, whose = [f"window-{i}" for i in range(len(places))], together(begins, places)
    return {
        f"position_perplexity_{highs[high]}": Items({"nll": means}, ids, **whose)
        for (_, high), means in by_position(losses, length, [0, *highs]).items()
    }
