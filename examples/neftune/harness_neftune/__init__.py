"""NEFTune: uniform noise on the embeddings, in tuning alone, and a model's answers get better.

Jain, Chiang, Wen, Kirchenbauer and others (2023). A given model (`model=`), or a small one trained here, is tuned on
instructions and their responses. Of its claims this plugin judges those that need no judge of answers: held-out loss,
how closely the training responses are fitted, and how long answers get.
"""

from harness import Claim, Figure, Method, Metric, Paper, Reported, Seen, difference, hookimpl, lazy, ratio
from harness_neftune.settings import Data, Neftune, Task

__getattr__ = lazy(__name__, {"noisy": "noise"})

METHODS = {
    "neftune": Method(Neftune(alpha=5.0), "tuned with noise of alpha 5 on the embeddings (the paper's)"),
    "plain": Method(Neftune(), "tuned without noise", baseline=True),
    "base": Method(Neftune(tunes=False), "the model as it was given", baseline=True, deterministic=True),
}

METRICS = {
    "loss": Metric("lower", "mean loss of held-out responses", unit="nats/token"),
    "train_loss": Metric("lower", "mean loss of training responses, without noise", unit="nats/token"),
    "length": Metric("higher", "tokens of a greedy answer to a held-out instruction", unit="tokens"),
    "train_tokens_per_second": Metric("higher", "training speed", unit="tokens/s"),
    "train_peak_memory": Metric("lower", "peak memory in training", unit="bytes"),
}

ANALYSIS = "section 5, analysis of overfitting and of length (from memory)"
CLAIMS = [
    Claim(
        "Noise in tuning lowers the loss of held-out responses",
        difference("loss", "neftune", than="plain"),
        ANALYSIS,
        reported=Reported(
            64.69,
            "AlpacaEval's win rate of LLaMA-2-7B tuned on Alpaca, 29.79 without noise",
            "abstract",
            Seen.MEMORY,
        ),
    ),
    Claim(
        "It fits the training responses less closely",
        ratio("train_loss", "neftune", than="plain", at_least=1.0),
        ANALYSIS,
    ),
    Claim(
        "It makes answers longer",
        ratio("length", "neftune", than="plain", at_least=1.0),
        ANALYSIS,
    ),
    Claim(
        "Tuning helps at all: the model tuned without noise is better on held-out responses than the given one",
        difference("loss", "plain", than="base"),
        "asked by this plugin",
        is_control=True,
    ),
]

FIGURES = [
    Figure("Fit", "bar", {"train_loss": "training", "loss": "held out"}, x="responses", y="loss"),
]


@hookimpl
def paper() -> Paper:
    return Paper(
        title="NEFTune: Noisy Embeddings Improve Instruction Finetuning",
        authors="Neel Jain, Ping-yeh Chiang, Yuxin Wen, John Kirchenbauer and others",
        year=2023,
        url="https://arxiv.org/abs/2310.05914",
        task=Task,
        data=Data,
        methods=METHODS,
        metrics=METRICS,
        claims=CLAIMS,
        figures=FIGURES,
        budgets={
            "smoke": {"task": {"steps": 8, "base_width": 16, "base_steps": 20, "test": 24, "prompts": 4}},
            "small": {},
            "full": {"task": {"steps": 1200, "batch_size": 128, "length": 512, "test": 500, "prompts": 200}},
        },
        no_validation="nothing is chosen: alpha is the paper's",
        no_chance="a loss has no value that chance gives",
        hooks={"prepare": "data", "train": "training", "evaluate": "evaluation", "training_step": "training"},
    )
