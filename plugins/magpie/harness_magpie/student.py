"""The model that learns from a set: a base model, or here the generator with a third of its layers cut out.

A pruned student keeps its first and last layers (a block in the middle is what hurts least), and its
vocabulary is cut to the tokens it will meet, with the embedding frozen. It still links answer to question,
so what can be seen is whether a set keeps that link, not whether a fresh model learns to follow instructions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from harness.errors import UsageError
from harness.nn.turns import answer_end, render
from harness_magpie.packing import Encoded
from harness_magpie.preparation import read
from harness_magpie.sets import Pair, generator_folder
from harness_magpie.template import SENTINEL, bare_template

PLAIN = ("### Instruction:\n", "\n\n### Response:\n")  # for students without a chat template


@dataclass(frozen=True)
class Format:
    """How a student reads a pair: what stands before and after a question, and the tokens of both."""

    tokenizer: Any
    before: str
    after: str
    end: int | None

    def encode(self, pair: Pair, answer_tokens: int) -> Encoded:
        """Return a pair's tokens; an answer is cut at `answer_tokens` and ends only if it is whole."""
        given = self.tokenizer(self.before + pair.question + self.after, add_special_tokens=False)[
            "input_ids"
        ]
        answer = self.tokenizer(pair.answer, add_special_tokens=False)["input_ids"]
        whole = pair.finished and len(answer) <= answer_tokens
        end = [self.end] if whole and self.end is not None else []
        return Encoded([*given, *answer[:answer_tokens], *end], len(given))


def student_folder(run: Any) -> Path:
    """Return the folder of the student's weights before pruning and training."""
    return Path(read(run.data_dir, "student")["path"]) if run.task.student else generator_folder(run)


def format_of(folder: Path) -> Format:
    """Return a student's chat format: its own template without system message, or a plain one."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    if not tokenizer.chat_template:
        bos = tokenizer.bos_token or ""
        return Format(tokenizer, bos + PLAIN[0], PLAIN[1], tokenizer.eos_token_id)
    text = render(tokenizer, [{"role": "user", "content": SENTINEL}], answer=True)
    return Format(tokenizer, bare_template(tokenizer), text.partition(SENTINEL)[2], answer_end(tokenizer))


def kept_layers(words: str, layers: int) -> list[int]:
    """Return the layers that "0-9,20-29" names; all of them for "". Raises UsageError."""
    found: list[int] = []
    for part in filter(None, words.replace(" ", "").split(",")):
        first, _, last = part.partition("-")
        if not first.isdigit() or not (last or first).isdigit() or int(last or first) < int(first):
            raise UsageError(f"task.keep_layers={words} is no list of layers: write 0-9,20-29")
        found += range(int(first), int(last or first) + 1)
    found = found or list(range(layers))
    if sorted(set(found)) != found or found[-1] >= layers:
        raise UsageError(
            f"task.keep_layers={words} is out of range: "
            f"give numbers that rise and lie within the model's {layers} layers"
        )
    return found


def load_student(run: Any, vocabulary: Sequence[int] | None) -> Any:
    """Return the untrained student, what is not tuned frozen; `vocabulary` are the tokens it keeps (None: all)."""
    from transformers import AutoModelForCausalLM

    task = run.task
    model = AutoModelForCausalLM.from_pretrained(student_folder(run), dtype=torch.float32)
    if not task.student:
        prune(model, kept_layers(task.keep_layers, model.config.num_hidden_layers), vocabulary)
    return set_trained(model, task, vocabulary is not None)


def set_trained(model: Any, task: Any, fixed_embedding: bool) -> Any:
    """Freeze the first layers and the embedding, or everything but a LoRA."""
    if task.lora_rank:
        from peft import LoraConfig, get_peft_model

        wanted: Any = "all-linear"
        return get_peft_model(
            model, LoraConfig(r=task.lora_rank, lora_alpha=2 * task.lora_rank, target_modules=wanted)
        )
    layers = _layers(model)
    if task.frozen_layers >= len(layers):
        raise UsageError(
            f"task.frozen_layers={task.frozen_layers} leaves none of {len(layers)} layers to tune: freeze fewer"
        )
    for layer in layers[: task.frozen_layers]:
        layer.requires_grad_(False)
    if fixed_embedding:
        model.get_input_embeddings().weight.requires_grad_(False)
        model.get_output_embeddings().weight.requires_grad_(False)
    return model


def prune(model: Any, layers: Sequence[int], vocabulary: Sequence[int] | None) -> Any:
    """Keep these layers and tokens of a model of Llama's kind, in place; token i becomes vocabulary[i]."""
    body = model.model
    body.layers = nn.ModuleList([_layers(model)[i] for i in layers])
    for place, layer in enumerate(body.layers):
        layer.self_attn.layer_idx = place
    model.config.num_hidden_layers = len(layers)
    if getattr(model.config, "layer_types", None):
        model.config.layer_types = [model.config.layer_types[i] for i in layers]
    if vocabulary is not None:
        rows = torch.tensor(list(vocabulary), device=model.device)
        inner, outer = model.get_input_embeddings(), model.get_output_embeddings()
        tied = inner.weight is outer.weight
        inner.weight = nn.Parameter(inner.weight.detach()[rows])
        outer.weight = inner.weight if tied else nn.Parameter(outer.weight.detach()[rows])
        inner.num_embeddings = outer.out_features = len(rows)
        inner.padding_idx = None
        model.config.vocab_size = len(rows)
        model.config.pad_token_id = None
    return model


def vocabulary_of(pairs: Iterable[Encoded]) -> list[int]:
    """Return the tokens that occur, in order."""
    return sorted({token for pair in pairs for token in pair.ids})


def renamed(pairs: Iterable[Encoded], vocabulary: Sequence[int] | None) -> list[Encoded]:
    """Return the pairs in the numbers of a cut vocabulary."""
    if vocabulary is None:
        return list(pairs)
    number = {token: i for i, token in enumerate(vocabulary)}
    return [Encoded([number[token] for token in pair.ids], pair.given) for pair in pairs]


def _layers(model: Any) -> Any:
    layers = getattr(getattr(model, "model", None), "layers", None)
    if layers is None:
        raise UsageError(
            f"a {type(model).__name__} has no model.layers to prune or freeze: give task.student and "
            "task.frozen_layers=0, or a model of Llama's kind"
        )
    return layers
