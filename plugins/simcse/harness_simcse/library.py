"""The tool a user would take instead: sentence-transformers' trainer with MultipleNegativesRankingLoss.

The same encoder, sentences, rate, schedule, batch size and temperature; every sentence is paired with itself,
as its documentation advises for SimCSE. Its sampler draws other batches, and it has no head in training and no
choice of a best step. Word vectors have no dropout there, so its own Dropout module is put after them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from harness.data.jsonl import read_json
from harness.errors import UsageError
from harness.nn.encoder import Encoder, StaticEmbedding, load_encoder
from harness_simcse.patient import set_dropout
from harness_simcse.settings import Trained


def train_with_library(run: Any, encoder: Encoder) -> Encoder:
    """Return `encoder` after training by the library, on this run's device. Raises UsageError in several processes."""
    if run.processes > 1:
        raise UsageError(
            "simcse/sentence_transformers is trained by the library in one process: leave processes= out"
        )
    import torch
    from datasets import Dataset
    from sentence_transformers import (  # type: ignore[attr-defined]
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
        losses,
    )
    from sentence_transformers.sentence_transformer.modules import Dropout

    method, task = run.method, run.task
    sentences = read_json(run.data_dir / "sentences.json")
    words = encoder.model if isinstance(encoder.model, StaticEmbedding) else None
    with tempfile.TemporaryDirectory(dir=run.output_dir) as room:
        encoder.save(Path(room) / "before")
        model = SentenceTransformer(str(Path(room) / "before"), device=run.device, local_files_only=True)
        parts = list(model)
        if words is not None:
            noise = Dropout(words.dropout.p)
            model = SentenceTransformer(
                modules=[parts[0], noise, *parts[1:]], device=run.device, local_files_only=True
            )
        elif method.dropout is not None:
            set_dropout(model, method.dropout)
        if task.trained is Trained.linear:
            parts[0].requires_grad_(False)
        if words is None:
            model.max_seq_length = task.max_length
        arguments = SentenceTransformerTrainingArguments(
            output_dir=str(Path(room) / "trainer"),
            max_steps=task.steps,
            per_device_train_batch_size=task.batch_size,
            learning_rate=task.learning_rate * method.rate,
            weight_decay=task.weight_decay,
            max_grad_norm=task.clip,
            lr_scheduler_type="linear",
            seed=run.seed,
            dataloader_drop_last=True,
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=run.device == "cpu",
            bf16=run.precision == "bfloat16",
        )
        SentenceTransformerTrainer(
            model=model,
            args=arguments,
            train_dataset=Dataset.from_dict({"anchor": sentences, "positive": sentences}),
            loss=losses.MultipleNegativesRankingLoss(model, scale=1 / method.temperature),
        ).train()
        whole = [part for part in model if not isinstance(part, Dropout)]
        for part in whole:
            part.cpu()
        SentenceTransformer(modules=whole, device="cpu").save_pretrained(
            str(Path(room) / "after"), create_model_card=False
        )
        trained = load_encoder(Path(room) / "after")
    with torch.no_grad():
        encoder.load_state_dict(trained.state_dict(), strict=True)
    return encoder.to(run.device).eval()
