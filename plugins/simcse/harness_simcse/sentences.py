"""What is trained on: lines of text, or triplets; as batches that every method of a seed draws alike.

Batch n is a function of the seed and n: an order is drawn for each epoch, whole batches of it are used, and the
rows left over wait for the next order. Crop and word deletion change a batch's second view only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from harness.data.batches import Shuffled
from harness.data.sources import Document
from harness.errors import UsageError
from harness.nn.encoder import Encoder
from harness_simcse.settings import Augmentation

Row = Sequence[str]  # a sentence, or a sentence with an entailed and a contradicted one


def lines(documents: Iterable[Document], skipped: Counter[str]) -> list[str]:
    """Return the lines of a source's documents, white space made single; empty ones are counted."""
    found = []
    for document in documents:
        for line in document.text.splitlines() or [""]:
            text = " ".join(line.split())
            if text:
                found.append(text)
            else:
                skipped["an empty line of data.sentences"] += 1
    return found


def gather(file: Path) -> list[str]:
    """Return the sentences of a text file, a line each, or both sides of an STS file's pairs.

    What is not UTF-8 is read as Latin-1, which older English sets are written in.
    Raises UsageError for a file that is not there.
    """
    from harness_simcse.protocol import STS_FILE, read

    if not file.is_file():
        raise UsageError(f"{file} is no file: give files with a sentence a line")
    if STS_FILE.fullmatch(file.name):
        return [
            text
            for pairs in read(file).sets.values()
            for column in (pairs.first, pairs.second)
            for text in column
        ]
    whole = file.read_bytes()
    try:
        text = whole.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = whole.decode("latin-1")
    return [" ".join(line.split()) for line in text.split("\n") if line.strip()]


def triplets(rows: Iterable[Mapping[str, Any]], skipped: Counter[str]) -> list[list[str]]:
    """Return rows of sent0, sent1 and, where the table has it, hard_neg; a row with an empty one is counted."""
    found = []
    for row in rows:
        names = [name for name in ("sent0", "sent1", "hard_neg") if name in row]
        texts = [" ".join(str(row[name] or "").split()) for name in names]
        if all(texts):
            found.append(texts)
        else:
            skipped["a row of data.triplets with an empty sentence"] += 1
    return found


class Batches(Shuffled):
    """An endless iterator of `{"input_ids", "attention_mask"}`, each (batch, views, longest) int64.

    Every row of `rows` has one text a view. Raises UsageError for a batch of one or more than there are rows.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        encoder: Encoder,
        batch_size: int,
        seed: int,
        max_length: int,
        augment: Callable[[str, np.random.Generator], str] | None = None,
    ) -> None:
        if batch_size < 2:
            raise UsageError(
                "a batch of 1 has no negatives: set task.batch_size (or triplet_batch_size) to 2 or more"
            )
        if len(rows) < batch_size:
            raise UsageError(
                f"a batch of {batch_size} needs as many sentences and there are {len(rows)}: "
                "give more, or a smaller task.batch_size (or triplet_batch_size)"
            )

        def tokens(drawn: list[Row]) -> dict[str, Tensor]:
            rows = [list(row) for row in drawn]
            if augment:
                draw = np.random.default_rng([seed, 1, self.drawn - 1])
                rows = [[*row[:-1], augment(row[-1], draw)] for row in rows]
            distinct = list(
                dict.fromkeys(text for row in rows for text in row)
            )  # views are often the same text
            known = dict(zip(distinct, encoder.ids(distinct, max_length), strict=True))
            flat = encoder.pad([known[text] for row in rows for text in row])
            return {name: tensor.unflatten(0, (len(rows), -1)) for name, tensor in flat.items()}

        super().__init__(rows, batch_size, (seed, 0), tokens, whole=True)


def augmentation(kind: Augmentation, strength: float) -> Callable[[str, np.random.Generator], str] | None:
    """Return what changes a second view, or None. `strength` is the share of words that goes."""
    if not 0 <= strength < 1:
        raise UsageError(f"method.strength={strength} is no share of the words: use 0 to below 1")
    if kind is Augmentation.crop:
        return lambda text, draw: crop(text, strength, draw)
    if kind is Augmentation.word_deletion:
        return lambda text, draw: delete_words(text, strength, draw)
    return None


def crop(text: str, share: float, draw: np.random.Generator) -> str:
    """Return a run of neighbouring words without `share` of them; one word at least stays."""
    words = text.split()
    kept = max(1, round(len(words) * (1 - share)))
    start = int(draw.integers(len(words) - kept + 1))
    return " ".join(words[start : start + kept])


def delete_words(text: str, share: float, draw: np.random.Generator) -> str:
    """Return the text without `share` of its words, wherever they stand; one word at least stays."""
    words = text.split()
    kept = max(1, round(len(words) * (1 - share)))
    places = np.sort(draw.choice(len(words), kept, replace=False))
    return " ".join(words[i] for i in places)
