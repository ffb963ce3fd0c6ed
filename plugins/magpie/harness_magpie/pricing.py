"""What a run would cost: the generator's and the student's shapes from the meta device, the rest by formula."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig

from harness import Plan
from harness.errors import UsageError
from harness.nn.bases import config_of
from harness.nn.pricing import copies, halved, known, plan_of, recomputes, shaped, size_of
from harness_magpie.packing import answer_loss
from harness_magpie.settings import Prompt
from harness_magpie.student import kept_layers, prune, set_trained

FORMULA = (
    "training: tokens = steps x pairs in a batch x tokens of a pair (a question of at most 30, an answer of at most "
    "430: the paper's averages), FLOPs = 2 x all + 4 x tuned parameters of the body x tokens, memory = 4 bytes a "
    "parameter + 12 a tuned one + activations and logits of packed rows, counted on tensors without content; "
    "generating: 2 x the generator's parameters x tokens read and written, at 9 % of the peak"
)
A100 = 312e12
BUSY = 0.09  # of the peak: at this share the paper's answers take the 600 GPU-hours it tells
MEAN_QUESTION, MEAN_ANSWER = 30, 430  # tokens: section 3, Table 4 (478 a turn)
YIELD = 0.76  # share of the samples that the valid filter keeps, seen with the small generator

TINY = {
    "model_type": "llama", "vocab_size": 54, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3,
    "num_attention_heads": 2, "num_key_value_heads": 2, "tie_word_embeddings": False,
}  # fmt: skip


def plan(run: Any) -> Plan:
    """Price the student's training, and in a note the GPU-hours of the generation before it."""
    task = run.task
    writer = shaped(TINY) if run.model is None else copies(config_of(run.model))
    learner, vocabulary = student_of(run, writer)
    size = size_of(learner)
    body = size.parameters - size.embeddings
    cut = task.own_vocabulary and not task.student
    learner = set_trained(learner, task, cut)
    tuned = sum(p.numel() for p in learner.parameters() if p.requires_grad)
    rows = run.micro_batch or packed_rows(task)
    pairs = task.batch_size if run.method.student else 0
    found = plan_of(
        learner,
        [(task.steps if pairs else 0, packed_rows(task), row_length(task))],
        size=replace(size, parameters=sum(p.numel() for p in learner.parameters())),
        trained=tuned,
        step=answer_loss,
        batch=functools.partial(packed, vocabulary),
        precision=run.precision,
        rows=rows,
        formula=FORMULA,
        notes=generation_notes(run, writer),
        levers={
            "fit.micro_batch": halved(rows),
            "task.lora_rank": [] if task.lora_rank else [64, 16],
            "task.generation_batch": halved(task.generation_batch),
        },
    )
    tokens = (task.steps if pairs else 0) * pairs * tokens_a_pair(task)
    forward = 2 * (body if tuned < body else size.parameters - size.looked_up)
    flops = forward + 4 * min(tuned, body) if tuned < body else 3 * forward
    flops += forward * recomputes(learner)
    memory = {**found.memory, **({} if task.engine else {"generating": generating(task, writer)})}
    return replace(
        found,
        tokens=tokens,
        flops=float(flops * tokens),
        memory=memory,
        memory_bytes=max(sum(parts.values()) for parts in memory.values()),
        gathered=max(found.gathered, 2 * 2 * size_of(writer).block),
    )


def student_of(run: Any, writer: Any) -> tuple[Any, int]:
    """Return the student on the meta device, and its vocabulary: a known or present base, or the writer pruned."""
    task = run.task
    if task.student:
        path = Path(task.student.removeprefix("file:")).expanduser()
        shape = known(task.student)
        if not path.exists() and shape is None:
            raise UsageError(
                f"task.student={task.student} is not here, and a plan fetches nothing: give its folder"
            )
        learner = copies(AutoConfig.from_pretrained(path)) if path.exists() else shaped(shape or {})
        return learner, learner.config.get_text_config().vocab_size
    learner = copies(writer.config)
    layers = kept_layers(task.keep_layers, learner.config.num_hidden_layers)
    vocabulary = list(range(min(OWN, learner.config.vocab_size))) if task.own_vocabulary else None
    learner = prune(learner, layers, vocabulary)
    return learner, len(vocabulary) if vocabulary else learner.config.vocab_size


OWN = 6000  # tokens that a small set meets, about


def packed_rows(task: Any) -> int:
    """Return how many packed rows a batch of average pairs fills."""
    return max(1, -(-task.batch_size * tokens_a_pair(task) // task.length))


def row_length(task: Any) -> int:
    """Return the tokens of a packed row."""
    return int(min(task.length, task.batch_size * tokens_a_pair(task)))


def packed(vocabulary: int, rows: int, length: int) -> dict[str, Any]:
    """Return packed rows; as the loss reads them, without a mask of whose pair a token is."""
    ids = torch.randint(vocabulary, (rows, length))
    places = torch.arange(length).expand(rows, -1)
    return {"input_ids": ids, "labels": ids.clone(), "position_ids": places, "share": torch.ones(rows)}


def generating(task: Any, writer: Any) -> dict[str, int]:
    """Return what the generator takes by part, its rows as long as they may become."""
    config, size = writer.config.get_text_config(), size_of(writer)
    each = 4 if task.generator_precision.name == "float32" else 2
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    tokens = task.generation_batch * (task.instruction_tokens + task.answer_tokens)
    return {
        "weights": each * size.parameters,
        "cache for generation": 2 * each * config.num_hidden_layers * heads * width * tokens,
        "logits": 4 * task.generation_batch * size.vocabulary,
    }


def generation_notes(run: Any, writer: Any) -> list[str]:
    """Say what the instructions and the answers of the run's set cost, and that the answers are most of it."""
    task = run.task
    if run.method.prompt is Prompt.human:
        return ["no instruction is generated; held-out pairs are, as for every method"]
    size = size_of(writer)
    body = size.parameters - size.embeddings
    question = min(task.instruction_tokens, MEAN_QUESTION)
    answer = min(task.answer_tokens, MEAN_ANSWER)
    steps = {
        "instructions": task.samples * question,
        "answers to all": task.samples * (question + answer),
        f"answers to the filtered {YIELD:.0%}": YIELD * task.samples * (question + answer),
    }
    hours = {name: 2 * body * n / (BUSY * A100) / 3600 for name, n in steps.items()}
    told = ", ".join(f"{name} {value:,.2f}" for name, value in hours.items())
    notes = [f"generating before that, in hours of one A100: {told}"]
    if run.budget == "full":
        notes.append(
            "the paper tells 3.5 and 150 hours of 4 A100-80G for the instructions and answers of Magpie-Pro's 1M "
            "(14 and 600 GPU-hours): filter before answering where the filter allows it"
        )
    return notes


def tokens_a_pair(task: Any) -> int:
    """Return the tokens of an average pair under the task's limits."""
    return min(task.instruction_tokens, MEAN_QUESTION) + min(task.answer_tokens, MEAN_ANSWER)
