"""The stages: copying warm-up, short and long pretraining, short tuning, tuning on tables, then needles.

Each is a cached folder that follows from the one before it, so methods share what they have in common and each
can be made alone. Nothing learns to look back in this budget without the copying warm-up (measured); a
pretrained model has it already. The needles at the end are a short task: how few steps a start needs tells
what it brings along.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness import Run
from harness.data.batches import Counted, Shuffled
from harness.data.jsonl import read_json
from harness.fit import Stateful, fit, seed_everything, targets, trial_step, whole
from harness.nn.bases import config_of, load_model, tokenizer_of
from harness.tools import write_json
from harness_longskywork.interleaving import gather, interleave
from harness_longskywork.models import scaled, small, suited
from harness_longskywork.own import CONVERSATIONS, WINDOWS, conversations_of, side_by_side, windows_of
from harness_longskywork.settings import LongSkywork, Order, Scaling, Task
from harness_longskywork.symbols import IGNORED, Rows, facts, load_symbols, needles, repeats, tables

# Columns, and the share of batches that are records: cells come first, and records alone would make them forgotten.
FORMS = ((1, 0.0), (2, 0.0), (4, 0.0), (2, 1.0), (4, 0.5))
EVERY = 10  # steps between two looks
SHARED = ("batch_size", "warmup", "clip", "weight_decay")
SETTINGS = {  # that decide a stage, beside those of all
    "copy": (
        *("width", "layers", "heads", "feedforward", "rope_base", "vocabulary", "document"),
        *("copy_steps", "copy_rate", "copy_length"),
    ),
    "base": ("base_steps", "base_rate", "document", "copy_steps", "copy_share"),
    "long": (
        *("window", "windows", "long_steps", "long_rate", "document", "trained_length"),
        "gradient_checkpointing",
    ),
    "short": ("short_steps", "needle_rate", "prose"),
    "synl": ("rows", "questions", "synl_rate", "prose"),
    "needles": ("needle_steps", "needle_rate", "prose", "items"),
}
STEPS_TO = 0.9  # what a start must reach on needles
LEARNED = ("input_ids", "labels", "segments")  # of the rows that are drawn
PIECE = 4096  # tokens whose logits are in memory at once


def train(run: Run) -> None:
    """Make this method's stages and leave the last model, and how it learned needles, in `run.output_dir`.

    A given model's tokenizer and chat template lie beside the weights.
    """
    if run.model is not None:
        suited(config_of(run.model), run.method)  # before the copying stage, which may take hours
    folder = stages(run)
    last = needle_stage(run, folder)
    for source, name in ((folder, "model"), (last, "needles")):
        shutil.copytree(source, run.output_dir / name, dirs_exist_ok=True)
        if run.model is not None:
            tokenizer_of(run.model).save_pretrained(run.output_dir / name)


def stages(run: Run) -> Path:
    """Return the folder of the model that this method ends with, before needles."""
    method, task = run.method, run.task
    folder = copy_stage(run)
    if method.base:
        folder = stage(run, "base", functools.partial(_base, run), folder)
    if method.order is not Order.none or method.scaling is not Scaling.none:
        values = {n: getattr(method, n) for n in ("order", "chunks", "masked", "scaling", "abf_base")}
        long = {name: getattr(value, "name", value) for name, value in values.items()}
        folder = stage(run, "long", functools.partial(_long, run), folder, **long)
    if task.short_steps:
        folder = stage(run, "short", functools.partial(_short, run), folder)
    for turn, steps in enumerate(task.synl_steps if method.synl_share > 0 else ()):
        if steps:
            inputs = {"share": method.synl_share, "form": FORMS[turn], "turn": turn, "steps": steps}
            folder = stage(run, "synl", functools.partial(_synl, run, turn), folder, **inputs)
    return folder


def stage(run: Run, name: str, make: Callable[[Path, Path], None], before: Path, **inputs: Any) -> Path:
    """Return the cached folder of one stage; what decides it are the stage before, its settings and the seed."""
    key = {
        **inputs,
        "before": before.name,
        "settings": {setting: getattr(run.task, setting) for setting in (*SHARED, *SETTINGS[name])},
        "seed": run.seed,
        "device": run.device,
        "precision": run.precision,
    }
    return run.stage(name, key, lambda to: make(before, to))


def copy_stage(run: Run) -> Path:
    """Return the folder of the start: the model given, or the small one, after the copying warm-up."""
    task, symbols = run.task, load_symbols(run.data_dir / "symbols.npz")

    def make(_: Path, to: Path) -> None:
        seed_everything(run.seed)
        model: Any = small(task, symbols.size) if run.model is None else load_model(run.base())
        if task.copy_steps:
            draw = Drawn(run.seed, lambda random: repeats(random, symbols, task.batch_size, task.copy_length))
            learn(run, "copy", model, draw, task.copy_steps, task.copy_rate, "constant")
        model.save_pretrained(to)

    return stage(run, "copy", make, run.data_dir, model=run.model.digest if run.model else "")


class Drawn(Counted):
    """Endless batches from `draw(generator) -> rows`; batch n follows from the seed and n alone."""

    def __init__(self, seed: int, draw: Callable[[np.random.Generator], Rows]) -> None:
        self.seed, self.draw = seed, draw

    def __next__(self) -> dict[str, Tensor]:
        rows = self.draw(np.random.default_rng([self.seed, self.drawn]))
        self.drawn += 1
        return {name: torch.from_numpy(rows[name]) for name in LEARNED if name in rows}


def learn(
    run: Run, name: str, model: Any, batches: Stateful, steps: int, rate: float, schedule: Any,
    step: Callable[[Any, dict[str, Tensor]], Tensor] | None = None, **more: Any,
) -> None:  # fmt: skip
    """Train in one stage, with a checkpoint of the stage's own."""
    task = run.task
    checkpoint = run.checkpoint.with_name(f"checkpoint-{name}")  # the run's processes share it
    if task.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    fitted = fit(
        model, batches, step or loss, steps=steps, learning_rate=rate, schedule=schedule,
        warmup=min(task.warmup, steps // 4), clip=task.clip, weight_decay=task.weight_decay,
        optimizer=functools.partial(torch.optim.AdamW, betas=(0.9, 0.98)), device=run.device,
        precision=run.precision, micro_batch=run.micro_batch, weigh=targets, log_every=EVERY,
        checkpoint=checkpoint, checkpoint_seconds=run.checkpoint_seconds,
        checkpoint_activations=run.checkpoint_activations, shard=run.shard, offload=run.offload,
        progress=lambda done, total, **values: run.progress(done, total, note=name, **values), **more,
    )  # fmt: skip
    run.measure("train_tokens_per_second", fitted.tokens_per_second)
    if run.rank == 0:
        shutil.rmtree(checkpoint, ignore_errors=True)


def loss(model: Any, batch: dict[str, Tensor]) -> Tensor:
    """Return the mean loss over the batch's targets: each answer token weighs alike, however long its row.

    `segments` (rows, length), where there, keep attention inside a document of the window; positions run over
    the window all the same.
    """
    ids, labels = batch["input_ids"][:, :-1], batch["labels"][:, 1:]
    mask = document_mask(batch["segments"][:, :-1]) if "segments" in batch else None
    told: dict[str, Any] = {"attention_mask": mask, "position_ids": places(ids), "use_cache": False}
    if ids.shape[1] <= PIECE:
        total = summed(model(input_ids=ids, **told).logits, labels)
    else:
        hidden = model(input_ids=ids, **told, output_hidden_states=True, logits_to_keep=1).hidden_states[-1]
        total = in_pieces(hidden, getattr(model, "module", model).get_output_embeddings(), labels)
    return total / (labels != IGNORED).sum().clamp(min=1)


def summed(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the summed cross entropy of the targets, in float32."""
    return nn.functional.cross_entropy(
        logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum"
    )


def in_pieces(hidden: Tensor, head: nn.Module, labels: Tensor, piece: int = PIECE) -> Tensor:
    """Return `summed` of the output layer's logits, made `piece` tokens at a time and again in the backward pass.

    The logits of 128K tokens over 65K entries would take 34 GB.
    """
    from torch.utils.checkpoint import checkpoint

    def one(hidden: Tensor, labels: Tensor) -> Tensor:
        return summed(head(hidden), labels)

    parts = zip(hidden.split(piece, dim=1), labels.split(piece, dim=1), strict=True)
    return torch.stack([checkpoint(one, *part, use_reentrant=False) for part in parts]).sum()


def places(ids: Tensor) -> Tensor:
    """Return positions that run over the window, whatever documents lie in it: (1, length)."""
    return torch.arange(ids.shape[1], device=ids.device)[None]


def document_mask(segments: Tensor) -> Tensor:
    """Return (rows, 1, length, length): a token sees those before it with its own document number."""
    length = segments.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=segments.device).tril()
    return (segments[:, :, None] == segments[:, None, :])[:, None] & causal


def _base(run: Run, before: Path, to: Path) -> None:
    task, symbols, prose = run.task, *material(run)
    repeating = round(task.batch_size * task.copy_share) if task.copy_steps else 0

    def draw(random: np.random.Generator) -> Rows:
        documents = [facts(random, symbols, prose, task.document) for _ in range(task.batch_size - repeating)]
        ids = np.stack([document["input_ids"] for document in documents])
        again = repeats(random, symbols, repeating, task.document)
        return {
            "input_ids": np.concatenate([ids, again["input_ids"]]),
            "labels": np.concatenate([ids, again["labels"]]),
        }

    _next(run, "base", load_model(before), drawn(run, draw), task.base_steps, task.base_rate, "constant", to)


def _long(run: Run, before: Path, to: Path) -> None:
    task, method, symbols, prose = run.task, run.method, *material(run)

    def draw(random: np.random.Generator) -> Rows:
        return windows(random, symbols, prose, task, method)

    batches: Stateful = drawn(run, draw)
    if (own := run.data_dir / WINDOWS).exists() and method.order is not Order.none:
        rows = windows_of(own, method.order.name, method.masked)
        batches = Shuffled(rows, task.windows, run.seed, side_by_side)
    model = scaled(before, method, task.window, task.trained_length)
    steps = task.long_steps if method.order is not Order.none else 0
    _next(run, "long", model, batches, steps, task.long_rate, "cosine", to)


def windows(
    random: np.random.Generator, symbols: Any, prose: np.ndarray, task: Task, method: LongSkywork
) -> Rows:
    """Return one step's windows, ordered as the method says: ids, labels and segments (windows, window)."""
    needed = -(-task.windows * task.window // task.document)
    documents = [facts(random, symbols, prose, task.document)["input_ids"] for _ in range(needed)]
    chunks = method.chunks if method.order is Order.interleave else 1
    made = interleave(documents, task.window, chunks, seed=int(random.integers(2**31)))
    ids, segments = [], []
    for _, pieces in zip(range(task.windows), made, strict=False):
        ids.append(gather(documents, [pieces]))
        segments.append(np.repeat(pieces[:, 0], pieces[:, 2] - pieces[:, 1]))
    found = {"input_ids": np.stack(ids), "labels": np.stack(ids)}
    return {**found, "segments": np.stack(segments)} if method.masked else found


def _short(run: Run, before: Path, to: Path) -> None:
    task, symbols, prose = run.task, *material(run)

    def draw(random: np.random.Generator) -> Rows:
        return needles(random, symbols, prose, task.prose // 4, task.batch_size)

    batches = drawn(run, draw, 8)
    _next(run, "short", load_model(before), batches, task.short_steps, task.needle_rate, "constant", to)


def _synl(run: Run, turn: int, before: Path, to: Path) -> None:
    task, symbols, prose = run.task, *material(run)
    columns, share = FORMS[turn]
    rate = task.synl_rate * (2 if columns == 1 else 1)

    def draw(random: np.random.Generator) -> Rows:
        if random.random() < run.method.synl_share:
            records = bool(random.random() < share)
            return tables(random, symbols, task.rows, columns, records, task.batch_size, task.questions)
        return needles(random, symbols, prose, task.prose // 4, task.batch_size)

    batches: Stateful = drawn(run, draw, turn + 1)
    if (own := run.data_dir / CONVERSATIONS).exists():
        batches = Shuffled(conversations_of(own), task.batch_size, [run.seed, turn], side_by_side)
    steps = task.synl_steps[turn]
    _next(run, f"synl{turn}", load_model(before), batches, steps, rate, "constant", to)


def needle_stage(run: Run, before: Path) -> Path:
    """Train a copy of the model on needles, looking every ten steps; leave `steps.json` beside the weights."""
    from harness_longskywork.evaluation import scored

    task, symbols, prose = run.task, *material(run)
    random = np.random.default_rng([run.seed, 7])
    looked = needles(
        random, symbols, np.load(run.data_dir / "validation.npy"), task.prose, min(100, task.items)
    )

    def make(before: Path, to: Path) -> None:
        model = load_model(before, run.device)
        so_far = run.folder / "needles.json"  # of a run that was killed: only later looks come again
        found = read_json(so_far) if so_far.exists() else {}
        seen = {int(step): float(exact) for step, exact in found.items()}
        seen[0] = float(scored(model, looked)["exact"].mean())

        def look(done: int) -> None:
            with whole(model), torch.autocast(model.device.type, enabled=False):
                if run.rank == 0:
                    seen[done] = float(scored(model, looked)["exact"].mean())
                    write_json(so_far, seen)
            looks.add(done)
            model.train()

        def step(model: Any, batch: dict[str, Tensor]) -> Tensor:
            done = batches.drawn - 1
            if done and done % EVERY == 0 and done not in looks:  # pieces of a batch come in turn
                look(done)
            return loss(model, batch)

        looks: set[int] = set()
        batches = drawn(run, lambda random: needles(random, symbols, prose, task.prose, task.batch_size), 9)
        _next(run, "needles", model, batches, task.needle_steps, task.needle_rate, "constant", to, step=step)
        if task.needle_steps:
            look(task.needle_steps)
        so_far.unlink(missing_ok=True)
        reached = [step for step, exact in seen.items() if exact >= STEPS_TO]
        write_json(to / "steps.json", {"steps": min(reached, default=None), "by_step": seen})

    return stage(run, "needles", make, before)


def material(run: Run) -> tuple[Any, np.ndarray]:
    """Return the symbols and the training prose."""
    return load_symbols(run.data_dir / "symbols.npz"), np.load(run.data_dir / "train.npy")


def drawn(run: Run, draw: Callable[[np.random.Generator], Rows], offset: int = 0) -> Drawn:
    """Return the batches of a stage: the same for all methods of a seed."""
    return Drawn(1000 * (run.seed + 1) + offset, draw)


def _next(
    run: Run, name: str, model: Any, batches: Stateful, steps: int, rate: float, schedule: str, to: Path, **more: Any
) -> None:  # fmt: skip
    """Train a loaded model on batches that are the same for all methods of a seed, and save it."""
    seed_everything(run.seed)
    if steps:
        learn(run, name, model, batches, steps, rate, schedule, **more)
    model.save_pretrained(to)


def training_step(run: Run, device: str) -> None:
    """Do one whole step of long pretraining on random tokens of the task's shape (for the contract kit)."""
    shape = (2, run.task.window)
    # One document where none is masked: without a mask transformers looks at the positions, which meta tensors lack.
    segments = torch.randint(4 if run.method.masked else 1, shape, device=device)
    trial_step(functools.partial(small, run.task), loss, shape, device, segments=segments)
