"""Read and embed the corpus once, take out duplicates, hold documents out, and lay out how all are judged.

Held-out documents are put in windows twice, whole: related ones together, and shuffled. Each target gets three
contexts: its own neighbours, another target's neighbours cut to the same tokens, and none. Every method is judged
on these same items; none sees a held-out document in training, nor a near duplicate of one.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.sources import Document, resolve_model
from harness.data.tokens import END, PAD, encode, starts
from harness.errors import UsageError
from harness.nn.bases import folder_of
from harness.tools import device_of, stage, write_json
from harness_iclm import duplicates
from harness_iclm.documents import read
from harness_iclm.embedding import encode as embed
from harness_iclm.embedding import tfidf
from harness_iclm.orders import shuffle
from harness_iclm.packing import Windows, whole_windows
from harness_iclm.search import demand_index, neighbours
from harness_iclm.settings import Task
from harness_iclm.walk import path

HELD_OUT = ("validation", "test")
NEAR = 10  # neighbours that the held-out documents are related by


def prepare(task: Task, data: Mapping[str, Any], model: Any, data_dir: Path) -> None:
    """Leave `tokenizer/`, and of each split tokens, embeddings and, where held out, windows and contexts."""
    import pyarrow.parquet as pq

    duplicates.demand(task.threshold)
    demand_index(task.index, task.probes)
    documents = list(read(data["corpus"], task.documents))
    own = list(read(data["test"])) if "test" in data else []
    given = ["corpus"] * len(documents) + ["test"] * len(own)
    real = [i for i, document in enumerate([*documents, *own]) if document.text.strip()]
    all_ = [*documents, *own]
    documents, given = [all_[i] for i in real], [given[i] for i in real]
    texts = [document.text for document in documents]
    if model is None:
        vectors = tfidf(texts, task.dimensions)
        copies = duplicates.by_shingles(texts, task.threshold, data_dir / "shingles")
    else:
        vectors = embed(
            texts,
            model,
            data_dir / "vectors.npy",
            max_length=task.encoder_length,
            batch_size=task.encoder_batch,
            device=device_of("auto"),
        )
        copies = duplicates.by_cosine(vectors, task.threshold, task.index, task.probes)
    pq.write_table(
        duplicates.table(copies, [document.id for document in documents]), data_dir / "duplicates.parquet"
    )
    duplicates.warn(len(copies.dropped), len(documents), "task.threshold=")
    parts: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    for number in copies.kept:
        parts[part_of(documents[number].id, given[number], bool(own))].append(int(number))
    _demand(parts)
    tokenizer = tokenizer_for(task, [documents[i] for i in parts["train"]], data_dir)
    tokenizer.save_pretrained(data_dir / "tokenizer")
    for name, numbers in parts.items():
        encode([documents[i] for i in numbers], tokenizer, data_dir / f"{name}.npy")
        np.save(data_dir / f"{name}-embeddings.npy", vectors[numbers])
    for name in HELD_OUT:
        _lay_out(task, name, data_dir, tokenizer.eos_token_id)
    if model is not None:
        (data_dir / "vectors.npy").unlink()
    counts = {
        "read": len(all_),
        "empty": len(all_) - len(documents),
        "duplicates": len(copies.dropped),
    }
    counts |= {name: len(numbers) for name, numbers in parts.items()}
    write_json(data_dir / "counts.json", counts)


def part_of(name: str, given: str, own_test: bool) -> str:
    """Return the split a document of this name belongs to: 12 % test and 4 % validation, by its SHA-256."""
    if given == "test":
        return "test"
    number = int(hashlib.sha256(name.encode()).hexdigest(), 16) % 25
    if number < 3:
        return "train" if own_test else "test"
    return "validation" if number == 3 else "train"


def _demand(parts: Mapping[str, Sequence[int]]) -> None:
    for name, numbers in parts.items():
        if len(numbers) < 3:
            raise UsageError(
                f"{len(numbers)} different documents are left for {name}, too few to be related: "
                "give more documents, or raise task.threshold if they are no duplicates"
            )


def tokenizer_for(task: Task, documents: Sequence[Document], data_dir: Path) -> Any:
    """Return the base model's tokenizer, or a byte-level BPE learned from the training documents."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    if task.base:
        stages = data_dir.parent
        source = resolve_model(task.base, cache=stages / "sources")
        base = folder_of(source, functools.partial(stage, stages))
        (data_dir / "base.txt").write_text(str(base), encoding="utf-8")
        return AutoTokenizer.from_pretrained(base)
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=task.vocabulary,
        special_tokens=[PAD, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((document.text for document in documents), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, eos_token=END)


def _lay_out(task: Task, name: str, data_dir: Path, end: int) -> None:
    """Write a held-out split's two packings and its targets with their contexts."""
    tokens, begins = np.load(data_dir / f"{name}.npy"), starts(data_dir / f"{name}.npy")
    lengths = np.diff(begins)
    ids, cosines = _near(np.load(data_dir / f"{name}-embeddings.npy"))
    related = path(ids, cosines)
    for packing, order in (("related", related), ("shuffled", shuffle(len(lengths)))):
        save_windows(data_dir / f"{name}-{packing}.npz", whole_windows(order, lengths, task.length))
    size = task.length // 2
    targets = np.array([d for d in related if lengths[d] >= 3], np.int64)
    contexts = np.stack([_context(tokens, begins, ids[d], size) for d in targets])
    # Another target's context, from half the path away: the same contexts in all, but no longer its own.
    others = np.roll(contexts, len(targets) // 2, axis=0)
    chosen = np.sort(np.random.default_rng(0).permutation(len(targets))[: task.targets])
    np.savez(
        data_dir / f"{name}-contexts.npz",
        targets=targets[chosen],
        related=contexts[chosen],
        unrelated=others[chosen],
        end=np.array(end),
    )


def _near(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return neighbours(vectors, min(NEAR, len(vectors) - 1))


def _context(tokens: np.ndarray, begins: np.ndarray, near: np.ndarray, size: int) -> np.ndarray:
    """Return `size` tokens that end with the nearest neighbour, before it the next nearest, and so on."""
    pieces = [tokens[begins[d] : begins[d + 1]] for d in reversed(near[near >= 0])]
    joined = np.concatenate(pieces)
    return np.tile(joined, -(-size // len(joined)))[-size:].astype(np.int64)


def save_windows(file: Path, packed: Windows) -> None:
    """Write windows to an .npz file."""
    np.savez(file, pieces=packed.pieces, bounds=packed.bounds)


def load_windows(file: Path) -> Windows:
    """Read what `save_windows` wrote."""
    with np.load(file) as found:
        return Windows(found["pieces"], found["bounds"])
