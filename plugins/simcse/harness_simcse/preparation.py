"""Read the sentences, the triplets and the judged pairs once, and count the rows that were left out.

Without `model=` a tiny random BERT with a vocabulary of the sentences is made, and with `task.made_pairs` pairs
and triplets are made from the sentences by swapping words: enough to test every path, never evidence (from
random initialisation SimCSE does not work, say its authors).
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.jsonl import read_json
from harness.errors import UsageError
from harness.tools import write_json
from harness_simcse.protocol import Judged, Pairs, read_source
from harness_simcse.sentences import lines, triplets
from harness_simcse.settings import Task

HALVES = {"own-dev": "0", "own": "1"}


def prepare(task: Task, data: Mapping[str, Any], model: Any, data_dir: Path) -> None:
    """Leave `sentences.json`, `triplets.json`, `sts.json`, `skipped.json` and perhaps `model/` in `data_dir`."""
    if "sentences" not in data:
        raise UsageError(
            "data.sentences is empty: give a text file with a sentence a line, data.sentences=wiki1m_for_simcse.txt"
        )
    skipped: Counter[str] = Counter()
    sentences = lines(data["sentences"].documents(), skipped)
    rows = triplets(data["triplets"].rows(), skipped) if "triplets" in data else []
    if task.made_pairs and "sts" not in data:
        sets = {"own": made_pairs(sentences, 2 * task.made_pairs)}
        rows = rows or made_triplets(sentences, task.made_pairs)
    else:
        sets = judged_sets(data, skipped)
        sentences, rows = apart(sentences, rows, sets, skipped)
    if "own" in sets and "own-dev" not in sets:
        sets |= {name: half(sets["own"], digit) for name, digit in HALVES.items()}
    if model is None:
        tiny_bert(sentences, data_dir / "model")
    write_json(data_dir / "sentences.json", sentences)
    write_json(data_dir / "triplets.json", rows)
    write_json(data_dir / "sts.json", {name: asdict(pairs) for name, pairs in sets.items()})
    write_json(data_dir / "skipped.json", skipped)


def apart(
    sentences: list[str], rows: list[list[str]], sets: Mapping[str, Pairs], skipped: Counter[str]
) -> tuple[list[str], list[list[str]]]:
    """Return what is trained on without the sentences of the judged pairs, told by their words; those are counted."""
    judged = {
        _plain(text) for pairs in sets.values() for column in (pairs.first, pairs.second) for text in column
    }
    own = [text for text in sentences if _plain(text) not in judged]
    free = [row for row in rows if not any(_plain(text) in judged for text in row)]
    skipped["a sentence of data.sentences that is judged"] += len(sentences) - len(own)
    skipped["a row of data.triplets with a judged sentence"] += len(rows) - len(free)
    if sentences and not own:
        raise UsageError(
            "every sentence of data.sentences is one of the judged pairs: give other text to train on"
        )
    return own, free


def _plain(text: str) -> str:
    """Return a text's words in small letters; of one without any, the text."""
    return " ".join(re.findall(r"\w+", text.casefold())) or text


def judged_sets(data: Mapping[str, Any], skipped: Counter[str]) -> dict[str, Pairs]:
    """Return all sets of `data.sts` and `data.more_sts`, and those of `data.validation` as `-dev`."""
    if "sts" not in data:
        raise UsageError(
            "data.sts is empty and there is nothing to judge on: give a folder of SentEval sets, "
            "data.sts=SentEval/data/downstream/STS, or a table of sentence1, sentence2, score"
        )
    judged = Judged(skipped=skipped)
    for name in ("more_sts", "sts"):
        if name in data:
            judged.sets |= _sets(data[name], judged)
    if not any(name in judged.sets for name in ("STSB", "own")):
        raise UsageError(
            f"{data['sts'].name} has no STS-B test set, which verdicts are made on: give sts-test.csv, or a table"
        )
    if "validation" in data:
        found = _sets(data["validation"], judged)
        if len(found) != 1:
            raise UsageError(
                f"{data['validation'].name} holds {', '.join(found)}: give data.validation one set"
            )
        [judged.sets["STSB-dev" if "STSB" in judged.sets else "own-dev"]] = found.values()
    return judged.sets


def _sets(source: Any, judged: Judged) -> dict[str, Pairs]:
    found = read_source(source)
    judged.skipped.update(found.skipped)
    return found.sets


def half(pairs: Pairs, digit: str) -> Pairs:
    """Return one half of a set, told by the text of each pair: "0" for choosing, "1" for judging."""

    def side(i: int) -> str:
        text = f"{pairs.first[i]}\t{pairs.second[i]}".encode()
        return str(hashlib.sha256(text).digest()[0] % 2)

    found = pairs.only(lambda i: side(i) == digit)
    if len(found) < 2:
        raise UsageError(
            f"{len(pairs)} pairs are too few to choose and to judge by: give data.validation, or more pairs"
        )
    return found


def load_sets(data_dir: Path) -> dict[str, Pairs]:
    """Read back the judged sets."""
    return {name: Pairs(**columns) for name, columns in read_json(data_dir / "sts.json").items()}


def validation_set(sets: Mapping[str, Pairs]) -> Pairs | None:
    """Return what the best step may be chosen by: STS-B dev, or half of an own table."""
    return sets.get("STSB-dev") or sets.get("own-dev")


def test_set(sets: Mapping[str, Pairs]) -> Pairs:
    """Return what verdicts are made on: STS-B test, or the other half of an own table."""
    return sets["STSB"] if "STSB" in sets else sets["own"]


def made_pairs(sentences: list[str], number: int) -> Pairs:
    """Return pairs of a sentence and itself with some words of another: the score is the share that stayed."""
    draw = np.random.default_rng(0)
    pairs = Pairs()
    for i in range(number):
        one, other = (sentences[int(draw.integers(len(sentences)))].split() for _ in range(2))
        kept = draw.random(len(one)) < i % 6 / 5
        mixed = [
            word if keep else other[n % len(other)]
            for n, (word, keep) in enumerate(zip(one, kept, strict=True))
        ]
        pairs.add(" ".join(one), " ".join(mixed), 5 * float(kept.mean()), "", f"made-{i}")
    return pairs


def made_triplets(sentences: list[str], number: int) -> list[list[str]]:
    """Return a sentence, its first two thirds, and the other third with another sentence."""
    found = []
    for one, other in itertools.pairwise(sentences[: number + 1]):
        words = one.split()
        edge = max(1, len(words) * 2 // 3)
        found.append([one, " ".join(words[:edge]), " ".join([*words[edge:], *other.split()])])
    return found


def tiny_bert(sentences: list[str], folder: Path) -> None:
    """Write a random BERT of two narrow layers whose vocabulary is the sentences' words."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import BertModel, PreTrainedTokenizerFast

    from harness.fit import seed_everything

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    inner = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    inner.normalizer = normalizers.BertNormalizer()
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordLevelTrainer(vocab_size=1000, special_tokens=special, show_progress=False)
    inner.train_from_iterator(sentences[:5000], trainer)
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, model_max_length=128, **names)
    seed_everything(0)
    BertModel(tiny_config()).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def tiny_config() -> Any:
    """Return the size of the tiny BERT."""
    from transformers import BertConfig

    return BertConfig(
        vocab_size=1000,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=128,
    )
