"""What every method of this paper shares (`Task`, `Data`), and what tells one from another (`Score`)."""

from dataclasses import dataclass
from enum import Enum

from harness import setting, source
from harness.errors import UsageError


class Trains(Enum):
    """How the base is trained: not at all, by reinforcement, or on filtered traces of its own."""

    nothing = "nothing"
    policy = "policy"
    star = "star"
    pair_sft = "pair_sft"


class Baseline(Enum):
    """What is subtracted from a turn's reward: the other samples' mean, without or with y1 taken as given."""

    leave_one_out = "leave_one_out"
    conditioned = "conditioned"


class Estimator(Enum):
    """KL(policy || base) of a turn: the sum over the vocabulary, or from the sampled tokens alone."""

    exact = "exact"
    k1 = "k1"
    k3 = "k3"


class Per(Enum):
    """What beta weighs: the nats of a whole answer, or their mean a token."""

    sequence = "sequence"
    token = "token"


class Verifier(Enum):
    """How an answer is judged: see `harness_score.verifiers`."""

    exact = "exact"
    number = "number"
    math = "math"
    code = "code"
    command = "command"


class Prompt(Enum):
    """The words of both turns: of addition (none), of MATH (the paper's), of word problems, or of code."""

    addition = "addition"
    math = "math"
    number = "number"
    code = "code"


@dataclass
class Data:
    """Problems with answers; without any, 4-digit additions are made here."""

    train: str = source("", "problems to train on: a table with problem or question, and answer", columns=())
    validation: str = source("", "what is watched in training; by default held out of train", columns=())
    test: str = source("", "what is judged; by default held out of train", columns=())


@dataclass
class Task:
    """The problems, the sampling, the optimisation and the guards. Lengths are in tokens."""

    digits: int = setting(4, "addition: digits of each number", least=1)
    draw: int = setting(
        1,
        "addition: seed of the sums drawn for every part; the small bases differ by it and by the run's seed",
        least=0,
    )
    train_problems: int = setting(300, "problems trained on, again and again", least=1)
    validation_problems: int = setting(
        1000, "problems that stop the base, choose weights and are guarded by", least=1
    )
    test_problems: int = setting(1500, "problems judged on", least=1)
    prompt: Prompt = setting(Prompt.addition, "words of both turns: addition, math, number or code")
    verifier: Verifier = setting(
        Verifier.exact, "exact, number, math, code, or command (see verifier_command)"
    )
    verifier_command: str = setting("", "your own verifier: a command that reads and writes jsonl")
    verifier_seconds: float = setting(60.0, "seconds a verifier may take for a batch", least=0)
    verifier_strict: bool = setting(False, "refuse a line of verifier_command that is no reward, or skip it")
    code_seconds: float = setting(5.0, "code: seconds a program may compute", least=0)
    answer_tokens: int = setting(512, "most tokens of an answer; addition has its own number", least=1)
    length: int = setting(2048, "most tokens of a whole two-turn episode", least=1)
    prompts: int = setting(64, "problems in a step", least=1)
    samples: int = setting(4, "two-turn samples of each problem in a step", least=1)
    steps: int = setting(400, "steps of reinforcement, both stages together", least=1)
    learning_rate: float = setting(3e-4, "Adam's rate, constant", least=0)
    warmup: int = setting(0, "steps of linear warm-up", least=0)
    clip: float = setting(1.0, "gradients are clipped to this norm", least=0)
    temperature: float = setting(
        1.0, "sampling temperature, in training and for the sampled metrics", least=0
    )
    engine: str = setting(
        "",
        "what samples from the base: transformers; or vllm, or a server's http://host:8000[#its-model], of which the "
        "model counts and not where it is (base and pair_sft alone)",
    )
    lora_rank: int = setting(0, "train a LoRA adapter of this rank instead of every weight", least=0)
    sft_steps: int = setting(300, "updates of pair_sft, and of star's three rounds together", least=0)
    sft_samples: int = setting(64, "two-turn samples of each problem that traces are chosen from", least=1)
    sft_batch: int = setting(256, "traces in an update", least=1)
    validate_every: int = setting(25, "steps between two looks at the validation problems", least=1)
    judge_batch: int = setting(512, "problems answered at once when judging", least=1)
    kl_batch: int = setting(250, "problems whose KL to the base is measured at once", least=1)
    most_drop: float = setting(
        0.2, "guard: how far turn-1 accuracy may fall below the base's (a share)", least=0, most=1
    )
    most_kl: float = setting(100.0, "guard: nats an answer may lie from the base", least=0)
    most_idle: int = setting(50, "guard: steps in a row in which no group has an advantage", least=0)
    most_truncated: float = setting(
        0.5, "guard: share of a step's answers that may be cut off", least=0, most=1
    )
    lm_eval: list[str] = setting([], "tasks of lm-eval the policy answers, for side effects")
    lm_eval_limit: int = setting(200, "most documents of each lm-eval task", least=0)
    base_width: int = setting(64, "the small base: model width", least=1)
    base_layers: int = setting(2, "the small base: layers", least=1)
    base_heads: int = setting(4, "the small base: attention heads", least=1)
    base_batch: int = setting(256, "the small base: problems in a step", least=1)
    base_learning_rate: float = setting(1.5e-3, "the small base: AdamW's rate after warm-up", least=0)
    base_warmup: int = setting(100, "the small base: steps of linear warm-up", least=0)
    base_accuracy: float = setting(
        0.65, "the small base stops adding when validation accuracy passes this share", least=0, most=1
    )
    base_every: int = setting(10, "the small base: steps between two looks at its accuracy", least=1)
    base_steps: int = setting(3000, "the small base: most steps", least=0)
    chat_steps: int = setting(
        150, "the small base: most steps that teach it to answer twice, without labels", least=0
    )
    chat_copies: float = setting(
        0.7, "the small base: share of copies among the second answers it is taught", least=0, most=1
    )
    chat_same: float = setting(
        0.7, "the small base: not taught longer than until as many second answers are copies", least=0
    )
    chat_learning_rate: float = setting(3e-4, "the small base: AdamW's rate in them", least=0)

    def __post_init__(self) -> None:
        """Refuse what cannot work with any problems or model."""
        for part in ("train", "validation", "test"):
            if (count := getattr(self, f"{part}_problems")) < 1:
                raise UsageError(
                    f"task.{part}_problems={count} leaves no problem in {part}: ask for 1 or more"
                )
        if self.lora_rank < 0:
            raise UsageError(
                f"task.lora_rank={self.lora_rank}: give a rank above 0, or 0 to train every weight"
            )
        if self.samples < 2:
            raise UsageError(
                f"task.samples={self.samples} leaves nothing to compare a sample with: use 2 or more"
            )
        for name in ("verifier_seconds", "code_seconds"):
            if not getattr(self, name) > 0:
                raise UsageError(f"task.{name}={getattr(self, name)}: give a number above 0")
        if self.verifier is Verifier.command and not self.verifier_command.strip():
            raise UsageError("task.verifier=command needs task.verifier_command: name the program to ask")
        if self.prompt is not Prompt.addition and 2 * self.answer_tokens >= self.length:
            raise UsageError(
                f"two answers of task.answer_tokens={self.answer_tokens} leave task.length={self.length} no room for a "
                "problem: lower the one or raise the other"
            )


@dataclass
class Score:
    """How the two turns are rewarded and held back. Table 5: alpha = 10, beta1 = 0.01, beta2 = 0.1 (MATH)."""

    trains: Trains = setting(Trains.policy, "nothing, policy, star or pair_sft")
    turns: int = setting(2, "turns that are trained: 2, or 1 for single-turn reinforcement", least=0)
    stage_one: float = setting(0.5, "share of the steps in stage I; the paper does not say", least=0)
    alpha: float = setting(10.0, "weight of the bonus on progress, in stage II")
    beta1: float = setting(0.01, "weight of the KL of both turns", least=0, most=1)
    beta2: float = setting(0.1, "weight of turn 1's KL in stage I, on top of beta1", least=0, most=1)
    gamma: float = setting(0.0, "share of turn 2's shaped reward that turn 1 is credited with", least=0)
    baseline: Baseline = setting(Baseline.leave_one_out, "leave_one_out, or conditioned (on y1)")
    kl: Estimator = setting(Estimator.exact, "exact, k1 or k3")
    kl_per: Per = setting(Per.sequence, "sequence or token")
    blank: bool = setting(False, "control: turn 2 sees another problem's first answer")
    guarded: bool = setting(True, "stop when turn-1 accuracy falls (off for a control, which must end)")
    keep_right: bool = setting(True, "star and pair_sft: right-to-right traces too (D+)")
    kept_by: int = setting(
        0, "turn whose validation accuracy chooses the weights; 0: the last that is trained", least=0, most=2
    )
    rate: float = setting(1.0, "times task.learning_rate", least=0)
