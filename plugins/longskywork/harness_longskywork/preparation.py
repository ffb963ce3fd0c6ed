"""Read the corpus once: its most frequent words, and the prose they make, as symbols.

Words outside the chosen ones stand in the prose as one symbol, the same for all. With `model=` a symbol is a
token of its tokenizer that stands for one word, so any causal language model can be put through the same stages.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.documents import split
from harness.errors import UsageError
from harness.nn.bases import config_of, tokenizer_of
from harness_longskywork.models import suited
from harness_longskywork.own import demand_reader, keep
from harness_longskywork.settings import LongSkywork, Task
from harness_longskywork.symbols import Symbols, save_symbols

NAMES, NUMBERS, HEADERS = 100, 100, 16


def fits(task: Task, data: Mapping[str, Any], model: Any, method: LongSkywork | None = None) -> None:
    """Raise UsageError for sizes, files, and a model to be lengthened by a method, that no run could use."""
    check(task)
    demand_reader(data, model)
    if model is not None and method is not None:
        suited(config_of(model), method)


def prepare(task: Task, data: Mapping[str, Any], model: Any, data_dir: Path) -> None:
    """Leave `symbols.npz`, and `train.npy`, `validation.npy`, `test.npy`: prose as symbols."""
    fits(task, data, model)
    keep(task, data, model, data_dir)
    parts = split(list(data["corpus"].documents()))
    texts = {
        name: [re.findall(r"[a-z]+", document.text.lower()) for document in getattr(parts, name)]
        for name in ("train", "validation", "test")
    }
    counts = Counter(word for document in texts["train"] for word in document)
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    if model is None:
        words = {word: number for number, word in enumerate(ranked[: task.vocabulary - 1])}
        edges = [int(e) for e in np.cumsum([0, task.vocabulary, NAMES, NUMBERS, HEADERS])]
        prose, names, numbers, headers = (np.arange(low, high) for low, high in pairwise(edges))
        symbols = Symbols(prose, names, numbers, headers, ask=edges[-1], size=edges[-1] + 1)
    else:
        words, symbols = of_model(model, ranked, task.vocabulary)
    save_symbols(symbols, data_dir / "symbols.npz")
    for name, documents in texts.items():
        found = [words.get(word, int(symbols.prose[-1])) for document in documents for word in document]
        if len(found) <= 2 * task.prose:
            raise UsageError(
                f"the {name} part of data.corpus has {len(found)} words, and needles need more than "
                f"{2 * task.prose}: give more text, or lower task.prose"
            )
        np.save(data_dir / f"{name}.npy", np.asarray(found, np.int64))


def check(task: Task) -> None:
    """Raise UsageError for sizes that the symbols or the windows cannot hold."""
    if task.document % 24 or not 24 <= task.document <= 24 * NAMES:
        raise UsageError(
            f"task.document={task.document} is out of range: give a multiple of 24, at most {24 * NAMES}"
        )
    if task.window < task.document:
        raise UsageError(
            f"task.window={task.window} is shorter than a document of {task.document} tokens: raise it, or lower "
            "task.document"
        )
    if not 0 <= round(task.batch_size * task.copy_share) < task.batch_size:
        raise UsageError(
            f"task.copy_share={task.copy_share} leaves none of {task.batch_size} rows to documents: "
            "give a share from 0 to below 1"
        )
    if task.vocabulary < 2:
        raise UsageError("task.vocabulary must be at least 2: a frequent word, and one symbol for all others")
    if 2 * task.rows > NAMES:
        raise UsageError(
            f"task.rows={task.rows} must be at most {NAMES // 2}: each row of a table has a name as key"
        )


def of_model(model: Any, ranked: list[str], vocabulary: int) -> tuple[dict[str, int], Symbols]:
    """Choose symbols among a model's tokens: those of frequent words, and for the rest other whole words.

    The last of the prose's symbols stands for every word that is not among the frequent ones.
    """
    tokenizer: Any = tokenizer_of(model)
    config = config_of(model).get_text_config()
    single = {
        text.strip(): number
        for number in range(len(tokenizer))
        if re.fullmatch(r" ?[A-Za-z]{2,}", text := tokenizer.decode([number]))
    }
    words = {word: single[word] for word in ranked if word in single}
    words = dict(list(words.items())[: vocabulary - 1])
    others = [number for number in sorted(single.values()) if number not in set(words.values())]
    wanted = NAMES + NUMBERS + HEADERS + 2
    if len(words) < vocabulary - 1 or len(others) < wanted:
        most = min(len(words), len(single) - wanted) + 1
        fix = f"lower task.vocabulary to {most}" if most > 1 else "choose a model of a larger vocabulary"
        raise UsageError(
            f"the tokenizer of model= has single tokens for {len(words)} frequent words of data.corpus and "
            f"{len(others)} others, and {vocabulary - 1} and {wanted} are needed: {fix}"
        )
    spread = np.asarray(others)[np.linspace(0, len(others) - 1, wanted).astype(int)]
    spread = np.random.default_rng(0).permutation(spread)
    names, numbers, headers, (ask, rest) = np.split(spread, np.cumsum([NAMES, NUMBERS, HEADERS]))
    prose = np.asarray([*sorted(words.values()), rest])
    return words, Symbols(prose, names, numbers, headers, ask=int(ask), size=config.vocab_size)
