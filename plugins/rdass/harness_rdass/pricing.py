"""What a run would cost: P-SBERT's training, and for every method the encoder that reads the texts."""

from __future__ import annotations

from typing import Any

import torch
from transformers import BertConfig

from harness import Plan
from harness.nn.bases import config_of
from harness.nn.pricing import Size, copies, halved, plan_of

NLI, STS = 942_854, 5_749  # KorNLI's training pairs (SNLI and MultiNLI translated) and KorSTS's
LENGTH = 32  # tokens of a sentence of theirs, about; two sentences a pair
FORMULA = (
    "tokens = steps x pairs x 2 x 32 (about what a sentence of KorNLI and KorSTS has); FLOPs = 6 x parameters without "
    "embeddings x tokens; memory = 16 bytes a trained parameter (weight, gradient, AdamW), 4 where none is trained, + "
    "activations at the peak of a batch, counted on tensors without content"
)


def plan(run: Any) -> Plan:
    """Price a run: of the encoder that it starts from or builds; the tables count as KorNLI's and KorSTS's."""
    task, method = run.task, run.method
    if run.model is not None and not method.scratch:
        config = config_of(run.model)
    else:
        width = method.width
        config = BertConfig(
            vocab_size=8000, hidden_size=width, num_hidden_layers=method.layers, intermediate_size=4 * width,
            num_attention_heads=max(1, width // 32), max_position_embeddings=128,
        )  # fmt: skip
    model = copies(config, "AutoModel")
    total, embeddings = (
        sum(p.numel() for p in model.parameters()),
        model.get_input_embeddings().weight.numel(),
    )
    size = Size(total, embeddings, config.num_hidden_layers, config.hidden_size, vocabulary=0)
    rows, length = 2 * method.train_batch, min(task.max_length or LENGTH, LENGTH)
    epochs = ((method.nli_epochs, NLI), (method.sts_epochs, STS))
    parts = [(max(1, round(e * pairs / method.train_batch)), rows, length) for e, pairs in epochs]

    def drawn(rows: int, length: int) -> dict[str, Any]:
        return {"input_ids": torch.randint(config.vocab_size, (rows, length))}

    return plan_of(
        model,
        parts if method.trained else [],
        size=size,
        trained=total if method.trained else 0,
        flops=6 * (total - embeddings),
        step=cosines,
        batch=drawn,
        precision=run.precision,
        levers={"method.train_batch": halved(method.train_batch)},
        formula=FORMULA,
        notes=() if method.trained else ("nothing is trained: the encoder reads each text once",),
    )


def cosines(model: Any, batch: dict[str, Any]) -> Any:
    """Return the mean cosine of the pairs' mean vectors, which is what a step on STS is made of."""
    vectors = model(input_ids=batch["input_ids"]).last_hidden_state.float().mean(dim=1)
    one, other = vectors.chunk(2) if len(vectors) > 1 else (vectors, vectors)
    return torch.nn.functional.cosine_similarity(one, other).mean()
