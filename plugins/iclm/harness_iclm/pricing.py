"""What a run would cost, and what ordering ten, a hundred and the paper's 235 million documents would, stage by stage.

Rates were measured with this code on one thread of a 2-core x86-64 machine (2026-11-25, see the card); counts, bytes
and the split into shards are arithmetic. The paper's own times stand beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from harness import Plan, Run
from harness.errors import UsageError
from harness.nn.bases import config_of
from harness.nn.pricing import copies, halved, known, plan_of, shaped, tokens_of
from harness_iclm.training import decoder, step

PAPER = 235_266_464  # documents, its section 3.1
# Documents a second, k = 10, residual degree, 200,000 documents with random neighbours (2026-11-26).
WALKED, SYMMETRISED = 1_500_000, 1_100_000


def plan(run: Run) -> Plan:
    """Price a run of this task; a document mask gets no credit. The order's price is in the notes."""
    task, rows = run.task, run.micro_batch or run.task.batch_size
    model = based(task.base) if task.base else None
    if model is None:
        with torch.device("meta"):
            model = decoder(task, task.vocabulary)
    return plan_of(
        model,
        [(task.steps, task.batch_size, task.length)],
        step=step,
        batch=tokens_of(model.config.get_text_config().vocab_size),
        precision=run.precision,
        rows=rows,
        levers={"fit.micro_batch": halved(rows)},
        notes=order_notes((10_000_000, 100_000_000, PAPER), run.method.neighbours),
    )


def based(name: str) -> Any:
    """Return the model that `task.base` names, on the meta device: of a folder, or of a known shape."""
    path = Path(name.removeprefix("file:")).expanduser()
    if path.exists():
        return copies(config_of(Here(path)))
    shape = known(name)
    if shape is None:
        raise UsageError(
            f"task.base={name} is not here, and a plan fetches nothing: give its folder, or leave it out"
        )
    return shaped(shape)


@dataclass(frozen=True)
class Here:
    """A model that lies at `path`, as a resolved source does."""

    path: Path


def order_notes(sizes: Sequence[int], k: int, width: int = 768, code: int = 256) -> list[str]:
    """Say what each stage of ordering so many documents costs, and how it is split over machines."""

    def each(what: Callable[[int], float], digits: int = 0) -> str:
        return " / ".join(f"{what(documents):,.{digits}f}" for documents in sizes)

    gb, shard = 1e9, 50_000_000
    vectors = each(lambda n: n * width * 2 / gb)
    index, batches = each(lambda n: n * (code + 8) / gb, 1), each(lambda n: -(-n // shard))
    lookups = each(lambda n: n * n * 64 / 32_768 * code / 1e15, 2)
    edges, held = each(lambda n: 2 * n * k / gb, 1), each(lambda n: 2 * n * k * 6 / gb, 1)
    built, walked = each(lambda n: n / SYMMETRISED / 3600, 3), each(lambda n: n / WALKED / 3600, 3)
    return [
        f"ordering {each(float)} documents, the last of them the paper's corpus:",
        f"embeddings: {vectors} GB in fp16, twice that in fp32; sharded by documents, no shard needs another",
        f"index IVF32768,PQ256: {index} GB with ids; trained once on 1,572,864 vectors (the paper: 423 s), then filled "
        f"by shards of 50M ({batches} of them; 628 s each)",
        f"search, {k} neighbours, 64 of 32,768 lists: {lookups}e15 table look-ups; sharded by queries, a batch of 50M "
        "took 4,738 s on 8 GPUs (the paper; 6 hours on 32 GPUs in all)",
        "near duplicates: as many searches among those kept so far, in the same lists; in file order, by one process",
        f"graph: {edges}G edges at most, {held} GB of int32 ids and fp16 weights; {built} h to symmetrise and sort at "
        "the rate measured here; sharded by rows",
        f"walk: {walked} h at the {WALKED:,.0f} documents/s measured here, on one core with the graph in memory (the "
        "paper: 12 h on 20 CPUs); sequential, or one path a shard of lists, joined at their ends",
    ]
