"""Judge what was tuned: the loss of held-out responses and of trained ones, and how long answers are."""

from __future__ import annotations

from collections.abc import Mapping

from transformers import AutoTokenizer

from harness import Items, Run
from harness.data.batches import in_order
from harness.data.jsonl import read_jsonl
from harness.data.pairs import padded
from harness.nn.losses import losses
from harness_neftune.settings import Neftune, Task
from harness_neftune.training import encoded, tuned

ROWS = 16  # that are judged at once


def evaluate(run: Run[Task, Neftune], split: str) -> Mapping[str, Items]:
    """Return the losses and the answers' lengths; an item is a pair or an instruction."""
    model, tokenizer = tuned(run), AutoTokenizer.from_pretrained(run.base())
    held, seen = encoded(run, "test"), encoded(run, "train")[: run.task.test]
    asked = [row["instruction"] for row in read_jsonl(run.data_dir / "test.jsonl")]
    answers = run.generate(
        model,
        [pair.ids[: pair.given] for pair in held[: run.task.prompts]],
        max_new_tokens=run.task.new_tokens,
        temperature=0.0,
        eos_ids=[tokenizer.eos_token_id],
    )
    nats, trained = (losses(model, in_order(some, ROWS, padded), run.device) for some in (held, seen))
    return {
        "loss": Items({"nats": nats}, [f"test-{i}" for i in range(len(held))], inputs=asked),
        "train_loss": Items({"nats": trained}, [f"train-{i}" for i in range(len(seen))]),
        "length": Items({"tokens": [*map(len, answers)]}, [f"test-{i}" for i in range(len(answers))]),
    }
