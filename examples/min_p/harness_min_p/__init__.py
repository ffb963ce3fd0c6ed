"""min-p: drop tokens far below the most probable one, and a model stays coherent at high temperatures.

Nguyen, Baker, Neo, Roush, Kirsch and Shwartz-Ziv (2024). Nothing is trained: a sampler is a method. Of the paper's
claims this plugin judges those on accuracy by temperature, on single calculations, which small models can do.
"""

from harness import Bound, Claim, Figure, Method, Metric, Origin, Paper, difference, hookimpl
from harness_min_p.settings import Data, Sampler, Task

METHODS = {
    "min_p": Method(Sampler(min_p=0.1), "tokens of at least a tenth of the most probable one's probability"),
    "top_p": Method(Sampler(top_p=0.9), "the most probable tokens, nine tenths together", baseline=True),
    "pure": Method(Sampler(), "every token as the model has it", baseline=True),
    "greedy": Method(Sampler(greedy=True), "the most probable token", baseline=True, deterministic=True),
}

ACCURACY = Metric("higher", "share of right answers", range=(0, 1), over="task.temperatures")
POINTS = {"accuracy@1": 1.0, "accuracy@1.5": 1.5, "accuracy@2": 2.0}
WORTH = Bound(Origin.INTEREST, "five answers of a hundred are what a reader would miss")
TABLE = "table of GSM8K by temperature (from memory)"
KEEPS = difference("accuracy@1", "min_p", "top_p", by=-0.05)
CLAIMS = [
    Claim("At 2 min-p is right more often than top-p", difference("accuracy@2", "min_p", "top_p"), TABLE),
    Claim("And at 1.5", difference("accuracy@1.5", "min_p", "top_p"), TABLE),
    Claim("At 1 it loses less than .05 to it", KEEPS, TABLE, bound=WORTH),
    Claim(
        "Where one answer is right, greedy is better than min-p at 1",
        difference("accuracy@1", "greedy", "min_p"),
        "asked by this plugin",
        counter=True,
    ),
    Claim(
        "Cutting the tail helps a hot model: min-p is right more often than pure sampling at 2",
        difference("accuracy@2", "min_p", "pure"),
        "asked by this plugin",
        is_control=True,
    ),
]


@hookimpl
def paper() -> Paper:
    return Paper(
        title="Turning Up the Heat: Min-p Sampling for Creative and Coherent LLM Outputs",
        authors="Minh Nhat Nguyen, Andrew Baker, Clement Neo, Allen Roush, Andreas Kirsch, Ravid Shwartz-Ziv",
        year=2024,
        url="https://arxiv.org/abs/2407.01082",
        task=Task,
        data=Data,
        methods=METHODS,
        metrics={"accuracy": ACCURACY},
        claims=CLAIMS,
        figures=[Figure("By temperature", "line", POINTS, x="temperature", y="accuracy")],
        budgets={
            "smoke": {"task": {"draws": 4, "base_width": 32, "base_steps": 150}},
            "small": {},
            "full": {"task": {"items": 1000}},
        },
        chance=dict.fromkeys(POINTS, (0.0, 0.3)),
        no_validation="nothing is chosen: the samplers' values are the paper's",
        hooks={"prepare": "problems", "scramble": "problems", "evaluate": "evaluation"},
    )
