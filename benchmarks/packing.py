"""Interleaving documents into windows, beside the least that packing can cost: numpy's concatenate, and a reshape."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.measuring import Measured, Target, agree, interleaved

WINDOW = 32_768
WHY = (
    "per document of 1,000 tokens 2.6 us, and numpy 1.4: the copy 1.4 as there, its 2.1 slices 0.5 to make and 0.4 to "
    "copy apart, the plan (cuts, order) 0.3"
)


def documents(tokens: int, mean: int = 1000, seed: int = 0) -> list[np.ndarray]:
    """Return documents of log-normal lengths as token arrays, int64, about `tokens` in all."""
    rng = np.random.default_rng(seed)
    lengths = np.maximum(8, rng.lognormal(np.log(mean) - 0.5, 1.0, tokens // mean)).astype(int)
    stream = rng.integers(50_000, size=lengths.sum())
    return np.split(stream, np.cumsum(lengths)[:-1])


def interleaved_windows(docs: list[np.ndarray], window: int) -> np.ndarray:
    """Return the tokens of all CIP-2 windows, one after the other."""
    from harness_longskywork.interleaving import gather, interleave

    return gather(docs, interleave(docs, window, 2, seed=0, ahead=128))


def measure(toy: bool) -> Iterator[Measured]:
    """Pack the same documents both ways; both use every token once."""
    window = 64 if toy else WINDOW
    docs = documents(4000, 100) if toy else documents(20_000_000)
    total = sum(map(len, docs))
    kept: dict[str, int] = {}

    def ours() -> None:
        kept["ours"] = interleaved_windows(docs, window).size

    def theirs() -> None:
        stream = np.concatenate(docs)
        full = stream[: len(stream) // window * window].reshape(-1, window)
        kept["theirs"] = full.size

    pairs = interleaved(ours, theirs, rounds=1 if toy else 7)
    if kept["ours"] != total or total - kept["theirs"] >= window:
        raise RuntimeError(f"tokens were lost: {total} given, {kept['ours']} and {kept['theirs']} packed")
    agree(interleaved_windows(docs, window).sum(), sum(int(doc.sum()) for doc in docs), 0, "the tokens' sum")
    what = f"CIP-2 packing, tokens/s, {total / 1e6:.0f} M tokens, documents of about 1,000, windows of {window:,}"
    yield pairs.against(what, "numpy concatenate and reshape", Target("at least", 0.5), WHY, tokens=total)
