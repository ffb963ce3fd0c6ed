"""SCoRe: teach a model to correct itself, by reinforcement on its own two answers.

Kumar et al. (ICLR 2025). The model answers, is told that there might be an error, and answers again, with no
hint whether the first was right. Prompted so, models get worse. Stage I rewards only the second answer and
holds the first to the base, so that the two come apart; stage II rewards both, and progress from one to the
other. delta alone can be gamed by answering wrong first: turn 1 is guarded, and both accuracies are shown.
"""

from collections.abc import Mapping
from typing import Any

from harness import Method, Paper, hookimpl, lazy
from harness_score.claims import CLAIMS, FIGURES
from harness_score.metrics import METRICS
from harness_score.settings import Data, Score, Task, Trains

__getattr__ = lazy(
    __name__,
    {"shaped_rewards": "credit", "leave_one_out": "credit", "two_turn_metrics": "corrections"},
)

TUNE = {"rate": [0.5, 1.0, 2.0]}  # of every method alike
TRACES = "traces that end right are all there is to imitate"


def _arm(config: Score, text: str, baseline: bool = True, less: str = "") -> Method:
    return Method(config, text, baseline=baseline, less=less, tune=TUNE)


METHODS = {
    "score": _arm(Score(), "stage I, then stage II with the bonus (the paper's)", False),
    "score_no_stage_one": _arm(Score(stage_one=0.0), "stage II from the start", False),
    "score_no_bonus": _arm(Score(alpha=0.0), "stage I, then both rewards without the bonus", False),
    "base": _arm(Score(Trains.nothing), "the base, asked twice", less="it is what every other starts from"),
    "single_turn_rl": _arm(Score(turns=1), "reinforcement of the first answer alone"),
    "single_turn_rl_by_second": _arm(
        Score(turns=1, kept_by=2), "the same, its weights kept by the second answer as all others' are"
    ),
    "multi_turn_rl": _arm(Score(stage_one=0.0, alpha=0.0), "both rewards from the start"),
    "star": _arm(Score(Trains.star), "imitation of episodes that end right, three rounds", less=TRACES),
    "pair_sft": _arm(
        Score(Trains.pair_sft, keep_right=False),
        "imitation of a wrong and a right answer, glued",
        less=TRACES,
    ),
    "blank_first_answer": _arm(
        Score(blank=True, guarded=False), "control: as score, but turn 2 sees another problem's answer"
    ),
}

BUDGETS: Mapping[str, Mapping[str, Any]] = {
    "smoke": {
        "task": {
            "digits": 2, "train_problems": 48, "validation_problems": 16, "test_problems": 24, "prompts": 4,
            "samples": 2, "steps": 4, "sft_steps": 3, "sft_samples": 64, "sft_batch": 8, "validate_every": 2,
            "most_drop": 1.0, "base_width": 16, "base_layers": 1, "base_heads": 2, "base_batch": 64,
            "base_warmup": 2, "base_steps": 60, "base_learning_rate": 1e-2, "base_every": 50,
            "base_accuracy": 0.0, "chat_steps": 2,
        },
    },
    "small": {},  # the defaults of Task: additions, a small base, 300 problems used again and again
    "full": {  # Table 5, MATH; samples of a problem, answer length and warm-up are not published
        "task": {
            "train_problems": 12_000, "validation_problems": 500, "test_problems": 500, "prompt": "math",
            "verifier": "math", "answer_tokens": 1024, "length": 4096, "prompts": 128, "samples": 4,
            "steps": 3000, "learning_rate": 5e-6, "sft_steps": 3000, "sft_samples": 16, "sft_batch": 128,
            "validate_every": 100, "judge_batch": 64, "kl_batch": 4,
        },
        "data": {
            "train": "hub:nlile/hendrycks-MATH-benchmark#train",
            "test": "hub:HuggingFaceH4/MATH-500#test",
        },
        # at once: the logits of both models for one problem's episodes, and the activations of one block
        "fit": {"micro_batch": 1, "checkpoint_activations": True},
        "method": {"kl": "k1"},  # the sum over a large vocabulary needs the logits of both models at once
        "model": "Qwen/Qwen2.5-1.5B-Instruct",
    },
}  # fmt: skip


HOOKS = {
    "fits": "fitting", "prepare": "preparation", "train": "training", "evaluate": "evaluation", "plan": "pricing",
    "training_step": "training",
}  # fmt: skip


@hookimpl
def paper() -> Paper:
    return Paper(
        title="Training Language Models to Self-Correct via Reinforcement Learning",
        authors="Aviral Kumar, Vincent Zhuang, Rishabh Agarwal, Yi Su, John D. Co-Reyes, Avi Singh, Kate Baumli, "
        "Shariq Iqbal, Colton Bishop, Rebecca Roelofs, Lei M. Zhang, Kay McKinney, Disha Shrivastava, Cosmin "
        "Paduraru, George Tucker, Doina Precup, Feryal Behbahani, Aleksandra Faust",
        year=2024,
        url="https://arxiv.org/abs/2409.12917",
        task=Task,
        data=Data,
        methods=METHODS,
        metrics=METRICS,
        claims=CLAIMS,
        figures=FIGURES,
        tuned_by="accuracy_t2",
        budgets=BUDGETS,
        hooks=HOOKS,
    )
