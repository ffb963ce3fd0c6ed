"""What every method of this paper shares (`Task`, `Data`), and what tells one from another (`Alibi`)."""

from dataclasses import dataclass
from enum import Enum

from harness import setting, source
from harness.errors import UsageError, nearest


class Optimizer(Enum):
    """`nag` is Nesterov's accelerated gradient, which the paper's WikiText-103 runs used."""

    adamw = "adamw"
    nag = "nag"


@dataclass
class Data:
    """The text a language model is trained and judged on."""

    corpus: str = source("builtin:python", "text to train on; a tenth of it is held out for judging")
    validation: str = source("", "text to choose by, instead of half of what is held out of the corpus")
    test: str = source("", "text to judge on, instead of half of what is held out of the corpus")


@dataclass
class Task:
    """The model's size, the training, and how extrapolation is measured. Lengths are in tokens."""

    length: int = setting(64, "training length L: how many tokens a training window holds", least=1)
    width: int = setting(96, "model width", least=1)
    layers: int = setting(3, "transformer layers", least=1)
    heads: int = setting(4, "attention heads", least=1)
    feedforward: int = setting(384, "width of the feed-forward layer", least=1)
    activation: str = setting("gelu", "activation of the feed-forward layer, by transformers' name")
    dropout: float = setting(0.0, "dropout on embeddings and residual branches", least=0, most=1)
    attention_dropout: float = setting(0.0, "dropout on attention weights", least=0, most=1)
    activation_dropout: float = setting(0.0, "dropout inside the feed-forward layer", least=0, most=1)
    biases: bool = setting(True, "biases in all layers; an MPT has none")
    tokenizer: str = setting("characters", "characters, words, or a tokenizer of the hub or a folder")
    vocabulary: int = setting(267_735, "most frequent words kept, with tokenizer=words", least=1)
    optimizer: Optimizer = setting(Optimizer.adamw, "adamw or nag")
    learning_rate: float = setting(3e-3, "peak learning rate", least=0)
    weight_decay: float = setting(0.01, "decoupled weight decay", least=0)
    warmup: int = setting(50, "steps of linear warm-up", least=0)
    clip: float = setting(1.0, "gradients are clipped to this norm", least=0)
    batch_size: int = setting(32, "windows in a batch", least=1)
    steps: int = setting(300, "training steps", least=1)
    schedule_steps: int = setting(600, "steps the cosine is planned for; training stops at `steps`", least=1)
    targets: int = setting(32_768, "scored tokens, the same ones at every length", least=0)
    stride: int = setting(32, "tokens a sliding window moves by, and scores", least=1)
    sliding_targets: int = setting(4_096, "scored tokens with the sliding window", least=0)
    probes: int = setting(200, "items of the retrieval probe", least=0)


@dataclass
class Alibi:
    """How a model knows positions. One field tells the paper's method from its baselines."""

    position: str = setting("alibi", "alibi, sinusoidal, rotary, t5_bias, learned or none")
    learned_slopes: bool = setting(False, "train the slopes instead of fixing them")
    half_heads: bool = setting(False, "give a bias to half of the heads only")
    interpolated: bool = setting(False, "scale the slopes by L / length beyond the training length")
    window: int = setting(1, "times L that a training window holds; a step's tokens stay as many", least=1)

    def __post_init__(self) -> None:
        """Refuse positions that the decoder does not know."""
        kinds = ("alibi", "sinusoidal", "rotary", "t5_bias", "learned", "none")
        if self.position not in kinds:
            raise UsageError(
                f"method.position={self.position} is no way to know positions: {nearest(self.position, kinds)}"
            )


@dataclass
class Retrofit:
    """How a trained rotary model's positions are changed before it is trained on."""

    position: str = setting("alibi", "alibi, rotary (unchanged), rotary_base (raised) or interpolated")
    factor: float = setting(8.0, "times the length that a raised base or interpolation is to reach", least=0)
    window: int = setting(
        1, "times L that a training window holds, at most a step's tokens, which stay as many", least=1
    )
    learning_rate: float = setting(1e-3, "peak learning rate of the training that follows", least=0)

    def __post_init__(self) -> None:
        """Refuse positions that are no retrofit, and a factor that would shorten."""
        kinds = ("alibi", "rotary", "rotary_base", "interpolated")
        if self.position not in kinds:
            raise UsageError(
                f"method.position={self.position} is no retrofit: {nearest(self.position, kinds)}"
            )
        if not self.factor >= 1:
            raise UsageError(f"method.factor={self.factor:g} lengthens nothing: give 1 or more")
