"""Unsupervised SimCSE's training loop beside sentence-transformers' trainer, on the same encoder and sentences.

Both contrast a sentence with itself under other dropout masks, at most 32 tokens of it, AdamW, no extra head. The
clock runs over the training loop alone, batches included: imports, the trainer's start and its end are left out.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import Any

from benchmarks.measuring import Measured, Side, Target, interleaved, loop_clock, one_thread
from benchmarks.sentences import encoder_folder, sentences

WHY = (
    "profiled: of a step's operations (413 ms at batch 64, theirs 408) 63 % are matrix products, 9 % dropout masks, 7 "
    "% GELU, all forward and backward and the same on both sides; AdamW is 1 %. What the loops do otherwise is small: "
    "our tokenising was 3 % and is half of that now, their loader takes 6 %. They embed a view at a time, which fits "
    "the cache better (gains at 512); doing so here would change the dropout masks and with them every published run"
)
TEMPERATURE, RATE, LENGTH = 0.05, 3e-5, 32


def ours(folder: Any, texts: list[str], batch: int, steps: int) -> Side:
    """Return a side that trains by our loop and returns its seconds."""
    from harness_simcse.sentences import Batches
    from harness_simcse.settings import SimCSE
    from harness_simcse.training import Views, loss_of

    from harness.fit import fit
    from harness.nn.encoder import load_encoder

    def run() -> float:
        encoder = load_encoder(folder, pooling="mean")
        batches = Batches([[text, text] for text in texts], encoder, batch, 0, LENGTH)
        return fit(
            Views(encoder), batches, loss_of(SimCSE(temperature=TEMPERATURE)), steps=steps, learning_rate=RATE,
            schedule="linear", device="cpu",
        ).seconds  # fmt: skip

    return run


def theirs(folder: Any, texts: list[str], batch: int, steps: int) -> Side:
    """Return a side that trains by sentence-transformers' trainer and returns the seconds of its loop."""
    from datasets import Dataset, disable_progress_bars
    from sentence_transformers import (  # type: ignore[attr-defined]
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
        losses,
    )

    disable_progress_bars()
    data = Dataset.from_dict({"anchor": texts, "positive": texts})

    def run() -> float:
        model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
        model.max_seq_length = LENGTH
        clock = loop_clock()
        with tempfile.TemporaryDirectory() as room:
            arguments = SentenceTransformerTrainingArguments(
                output_dir=room, max_steps=steps, per_device_train_batch_size=batch, learning_rate=RATE,
                lr_scheduler_type="linear", dataloader_drop_last=True, save_strategy="no", logging_strategy="no",
                report_to=[], disable_tqdm=True, use_cpu=True, max_grad_norm=1.0,
            )  # fmt: skip
            loss = losses.MultipleNegativesRankingLoss(model, scale=1 / TEMPERATURE)
            SentenceTransformerTrainer(
                model=model, args=arguments, train_dataset=data, loss=loss, callbacks=[clock]
            ).train()
        return float(clock.seconds)

    return run


def measure(toy: bool) -> Iterator[Measured]:
    """Time the loop at two batch sizes."""
    one_thread()
    folder = encoder_folder(1, 16, 500) if toy else encoder_folder(2, 128)
    texts = sentences(64 if toy else 20_000, 3, 40)
    for batch, steps in ((4, 2), (8, 2)) if toy else ((64, 20), (512, 3)):
        a, b = (side(folder, texts, batch, steps) for side in (ours, theirs))
        pairs = interleaved(a, b, rounds=1 if toy else 5)
        what = f"SimCSE training, sentences/s at batch {batch}, BERT of 2 x 128 (random weights), up to 32 tokens"
        yield pairs.against(
            what, "sentence-transformers' trainer", Target("at least", 1.2), WHY, sentences=batch * steps
        )
