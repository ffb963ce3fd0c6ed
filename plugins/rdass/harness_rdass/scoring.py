"""Score summaries with any method, once: what two methods or a test share is read back from the cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.nn.encoder import load_encoder
from harness.tools import digest, stage
from harness_rdass.encoders import CharacterTfidf, Encodes
from harness_rdass.judging import rdass
from harness_rdass.overlap import rouge, tokenizer
from harness_rdass.preparation import UNTRAINED, Row, read
from harness_rdass.settings import Score, Scorer, Vectors
from harness_rdass.training import ENCODER

SEMANTIC = (Score.rdass, Score.reference, Score.document)


@dataclass(frozen=True)
class Texts:
    """Documents, references and summaries, one of each an item."""

    documents: Sequence[str]
    references: Sequence[str]
    summaries: Sequence[str]


def texts_of(rows: Sequence[Row]) -> Texts:
    """Return the texts of a table's rows."""
    return Texts(*([row[name] for row in rows] for name in ("document", "reference", "summary")))


def scores(run: Any, method: Scorer, texts: Texts, kind: Vectors) -> np.ndarray:
    """Return what `method` gives each summary, (n,)."""
    if method.score in SEMANTIC:
        return _semantic(run, texts, kind)[method.score.name]
    if method.score in (Score.length, Score.lead_overlap):
        return _control(method, texts)
    return _rouge(run, texts, method.tokens.name)[method.score.name]


def truncated(run: Any, texts: Texts, kind: Vectors) -> float:
    """Return the share of distinct documents that are longer than the encoder reads."""
    cut = dict(zip(texts.documents, _semantic(run, texts, kind)["truncated"], strict=True))
    return float(np.mean(list(cut.values())))


def _semantic(run: Any, texts: Texts, kind: Vectors) -> dict[str, np.ndarray]:
    task = run.task
    inputs = {
        "texts": digest(asdict(texts)),
        "long": task.long.name,
        "max_length": task.max_length,
        "pooling": task.pooling,
        "prompt": task.prompt,
        "device": run.device,
        "vectors": _vectors_digest(run, kind),
    }

    def make(folder: Path) -> None:
        run.progress(0, 1, note="encoding")
        own = run.method.ngrams
        reader = CharacterTfidf([*texts.documents, *texts.references]) if own else encoder(run, kind)
        found = rdass(
            texts.documents, texts.references, texts.summaries, reader, long=task.long.name,
            progress=lambda done, total: run.progress(done, total, note="encoding"),
        )  # fmt: skip
        np.savez(folder / "scores.npz", **asdict(found))

    return _kept(run, "semantic", inputs, make, own=run.method.trained)


def _vectors_digest(run: Any, kind: Vectors) -> Any:
    """Say which vectors these are; a trained encoder's are kept in its run's own folder."""
    if run.method.trained:
        return "trained here"
    if run.method.ngrams:
        return "n-grams of these texts"
    if kind is Vectors.model and run.model is not None:
        return {"model": run.model.digest}
    return {kind.name: digest(read(run.data_dir / "background.jsonl"))}


def encoder(run: Any, kind: Vectors) -> Encodes:
    """Return what turns texts into vectors here."""
    length = run.task.max_length or None
    if run.method.trained:
        return load_encoder(run.output_dir / ENCODER, max_length=length, device=run.device)
    if kind is Vectors.tfidf:
        return CharacterTfidf(row["text"] for row in read(run.data_dir / "background.jsonl"))
    folder = run.data_dir / UNTRAINED if run.model is None else run.model.path
    return load_encoder(
        folder,
        pooling=run.task.pooling or None,
        prompt=run.task.prompt,
        max_length=length,
        device=run.device,
        trust_remote_code=run.trust_remote_code,
    )


def _rouge(run: Any, texts: Texts, tokens: str) -> dict[str, np.ndarray]:
    def make(folder: Path) -> None:
        found = rouge(texts.references, texts.summaries, tokens)
        np.savez(folder / "scores.npz", **asdict(found))

    inputs = {"texts": digest([texts.references, texts.summaries]), "tokens": tokens}
    return _kept(run, "rouge", inputs, make)


def _control(method: Scorer, texts: Texts) -> np.ndarray:
    """Return a summary's number of tokens, or its ROUGE-1 with as much of the document as the reference has."""
    split = tokenizer(method.tokens.name)
    if method.score is Score.length:
        return np.array([len(split(summary)) for summary in texts.summaries], dtype=float)
    leads = [
        " ".join(split(document)[: len(split(reference))])
        for document, reference in zip(texts.documents, texts.references, strict=True)
    ]
    return rouge(leads, texts.summaries, method.tokens.name).rouge_1


def _kept(
    run: Any, name: str, inputs: Any, make: Callable[[Path], None], own: bool = False
) -> dict[str, np.ndarray]:
    """Return the arrays that `make` wrote for these inputs, this data and this code."""
    where = run.output_dir / "scores" if own else run.stages_dir
    folder = stage(where, f"{run.paper}-{name}", {**inputs, "data": run.data_dir.name}, make)
    with np.load(folder / "scores.npz") as arrays:
        return dict(arrays)
