"""What a run would cost: the generator's and the student's shapes from the meta device, the rest by formula."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from harness import Plan
from harness.nn.bases import config_of
from harness.nn.pricing import SHAPES, plan_of, shaped, size_of
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
SMALL = "HuggingFaceTB/SmolLM2-135M"
BY_BUDGET = {"full": "meta-llama/Meta-Llama-3-70B-Instruct", "small": SMALL, "smoke": "tiny"}

TINY = {
    "model_type": "llama", "vocab_size": 54, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3,
    "num_attention_heads": 2, "num_key_value_heads": 2, "tie_word_embeddings": False,
}  # fmt: skip


def plan(run: Any) -> Plan:
    """Price the student's training, and in a note the GPU-hours of the generation before it."""
    task = run.task
    name = run.model.name.removeprefix("hub:").partition("@")[0] if run.model else BY_BUDGET[run.budget]
    writer = shape_of(name, run.model)
    learner = SHAPES.get(task.student, writer)
    kept = kept_count(task, learner)
    size = size_of(shaped({**learner, "num_hidden_layers": kept}))
    body = size.parameters - size.embeddings
    if task.own_vocabulary and not task.student:
        size = replace(size, parameters=body, embeddings=0)
    tuned = body * (kept - task.frozen_layers) // kept
    return plan_of(
        replace(size, vocabulary=0),  # logits are not counted
        [(task.steps if run.method.student else 0, task.batch_size, tokens_a_pair(task))],
        trained=tuned,
        flops=2 * body + 4 * tuned if task.frozen_layers else 6 * body,
        rows=run.micro_batch or 8,
        formula=FORMULA,
        notes=generation_notes(run, writer),
    )


def generation_notes(run: Any, writer: dict[str, Any]) -> list[str]:
    """Say what the instructions and the answers of the run's set cost, and that the answers are most of it."""
    task = run.task
    if run.method.prompt is Prompt.human:
        return ["no instruction is generated; held-out pairs are, as for every method"]
    size = size_of(shaped(writer))
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


def kept_count(task: Any, shape: dict[str, Any]) -> int:
    """Return how many layers the student has."""
    from harness_magpie.student import kept_layers

    layers = int(shape["num_hidden_layers"])
    return layers if task.student else len(kept_layers(task.keep_layers, layers))


def shape_of(name: str, model: Any) -> dict[str, Any]:
    """Return the shape of the generator: a known one's by its name, else what its folder's config says."""
    if name == "tiny":
        return TINY
    if name in SHAPES or "SmolLM2-135M" in name:
        return SHAPES.get(name) or SHAPES[SMALL]
    found = config_of(model).to_dict()
    return {key: found[key] for key in TINY}
