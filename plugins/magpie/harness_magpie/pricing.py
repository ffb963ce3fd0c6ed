"""What a run would cost: the generator's and the student's shapes from the meta device, the rest by formula."""

from __future__ import annotations

from typing import Any

import torch

from harness import Plan
from harness_magpie.settings import Prompt

FORMULA = (
    "training: tokens = steps x pairs in a batch x tokens of a pair (a question of at most 30, an answer of at most "
    "430: the paper's averages), FLOPs = 2 x all + 4 x tuned parameters of the body x tokens, memory = 4 bytes a "
    "parameter + 12 a tuned one + activations of 34 x layers x width bytes a token of 8 pairs; generating: 2 x the "
    "generator's parameters x tokens read and written, at 9 % of the peak"
)
A100 = 312e12
BUSY = 0.09  # of the peak: at this share the paper's answers take the 600 GPU-hours it tells
MEAN_QUESTION, MEAN_ANSWER = 30, 430  # tokens: section 3, Table 4 (478 a turn)
YIELD = 0.76  # share of the samples that the valid filter keeps, seen with the small generator
BY_BUDGET = {"full": "meta-llama/Meta-Llama-3-70B-Instruct", "small": "smollm2", "smoke": "tiny"}

SHAPES: dict[str, dict[str, Any]] = {  # of models that may not be at hand: the meta device needs no weights
    "meta-llama/Meta-Llama-3-70B-Instruct": {
        "vocab_size": 128_256, "hidden_size": 8192, "intermediate_size": 28_672, "num_hidden_layers": 80,
        "num_attention_heads": 64, "num_key_value_heads": 8, "tie_word_embeddings": False,
    },
    "meta-llama/Meta-Llama-3-8B": {
        "vocab_size": 128_256, "hidden_size": 4096, "intermediate_size": 14_336, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "tie_word_embeddings": False,
    },
    "tiny": {
        "vocab_size": 54, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3,
        "num_attention_heads": 2, "num_key_value_heads": 2, "tie_word_embeddings": False,
    },
    "smollm2": {
        "vocab_size": 49_152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
        "num_attention_heads": 9, "num_key_value_heads": 3, "tie_word_embeddings": True,
    },
}  # fmt: skip


def plan(run: Any) -> Plan:
    """Price the student's training, and in a note the GPU-hours of the generation before it."""
    task = run.task
    name = run.model.name.removeprefix("hub:").partition("@")[0] if run.model else BY_BUDGET[run.budget]
    writer = SHAPES.get(name) or (SHAPES["smollm2"] if "SmolLM2-135M" in name else shape_of(run.model.path))
    learner = SHAPES.get(task.student, writer)
    kept = kept_count(task, learner)
    total, body = parameters({**learner, "num_hidden_layers": kept})
    if task.own_vocabulary and not task.student:
        total = body
    tokens = task.steps * task.batch_size * tokens_a_pair(task) if run.method.student else 0
    tuned = body * (kept - task.frozen_layers) // kept
    return Plan(
        parameters=total,
        parameters_without_embeddings=body,
        tokens=tokens,
        flops=float((2 * body + 4 * tuned) * tokens) if task.frozen_layers else float(6 * body * tokens),
        memory_bytes=4 * total
        + 12 * tuned
        + 34
        * kept
        * learner["hidden_size"]
        * min(task.batch_size, run.micro_batch or 8)
        * tokens_a_pair(task),
        formula=FORMULA,
        notes=generation_notes(run, writer),
    )


def generation_notes(run: Any, writer: dict[str, Any]) -> list[str]:
    """Say what the instructions and the answers of the run's set cost, and that the answers are most of it."""
    task = run.task
    if run.method.prompt is Prompt.human:
        return ["no instruction is generated; held-out pairs are, as for every method"]
    _, body = parameters(writer)
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


def kept_count(task: Any, shape: dict[str, Any]) -> int:
    """Return how many layers the student has."""
    from harness_magpie.student import kept_layers

    layers = int(shape["num_hidden_layers"])
    return layers if task.student else len(kept_layers(task.keep_layers, layers))


def shape_of(folder: Any) -> dict[str, Any]:
    """Return a model's shape from its config."""
    from transformers import AutoConfig

    return dict(AutoConfig.from_pretrained(folder).to_dict())


def parameters(shape: dict[str, Any]) -> tuple[int, int]:
    """Return a Llama's parameters, all and without embeddings, from the meta device."""
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.device("meta"):
        model: Any = LlamaForCausalLM(LlamaConfig(**{name: shape[name] for name in SHAPES["smollm2"]}))
    total = sum(p.numel() for p in model.parameters())
    outer = {
        id(e.weight): e.weight.numel() for e in (model.get_input_embeddings(), model.get_output_embeddings())
    }
    return total, total - sum(outer.values())
