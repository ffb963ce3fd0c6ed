"""Sentences of mixed length from the text every Python brings, and a BERT with random weights to encode them.

No weights are fetched: the encoder is built from a configuration, and its vocabulary is made from the text.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measuring import CACHE


@functools.cache
def words() -> list[str]:
    """Return the running words of Python's own documentation."""
    from harness.data.sources import resolve

    source = resolve("builtin:python", cache=CACHE / "sources")
    return [word for document in source.documents() for word in document.text.split()]


def sentences(count: int, least: int = 3, most: int = 120, seed: int = 0) -> list[str]:
    """Return `count` runs of words from anywhere in the text, their number log-uniform between least and most."""
    text, rng = words(), np.random.default_rng(seed)
    lengths = np.exp(rng.uniform(np.log(least), np.log(most), count)).astype(int)
    starts = rng.integers(len(text) - most, size=count)
    return [" ".join(text[s : s + n]) for s, n in zip(starts, lengths, strict=True)]


def encoder_folder(layers: int, width: int, vocabulary: int = 8000) -> Path:
    """Return a folder, made once, that `load_encoder` and `SentenceTransformer` read: BERT, mean pooling."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    from harness.nn.encoder import Encoder

    folder = CACHE / f"encoder-{layers}-{width}-{vocabulary}"
    if (folder / "modules.json").exists():
        return folder
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    inner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    inner.normalizer, inner.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=vocabulary, special_tokens=special, show_progress=False)
    inner.train_from_iterator(sentences(5000, seed=99), trainer)
    marks = [("[CLS]", 2), ("[SEP]", 3)]
    inner.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=marks)
    names = {
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    }
    tokenizer: Any = PreTrainedTokenizerFast(tokenizer_object=inner, model_max_length=512, **names)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=width, num_hidden_layers=layers, num_attention_heads=max(1, width // 64),
        intermediate_size=4 * width,
    )  # fmt: skip
    Encoder(BertModel(config), tokenizer, "mean", 512).save(folder)
    return folder
