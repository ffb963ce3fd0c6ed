"""What every method shares (`Task`, `Data`), and what tells one from another (`Neftune`)."""

from dataclasses import dataclass
from importlib.resources import files

from harness import setting, source


@dataclass
class Data:
    """Instructions with their responses."""

    instructions: str = source(
        str(files(__package__) / "pairs.jsonl"),
        "rows of instruction, input (or none), and response, output or Self-Instruct's instances",
        ("instruction",),
    )


@dataclass
class Task:
    """How a model is tuned and judged, and the small one that is tuned where `model=` names none."""

    length: int = setting(96, "tokens of a pair at most; longer ones are left out")
    test: int = setting(40, "held-out pairs that are judged, and as many trained ones")
    prompts: int = setting(16, "held-out instructions that are answered")
    new_tokens: int = setting(48, "tokens of an answer at most")
    steps: int = setting(150, "training steps")
    batch_size: int = setting(8, "pairs in a batch")
    learning_rate: float = setting(1e-3, "peak learning rate; a given model needs 1e-5 to 5e-5")
    warmup: int = setting(4, "steps of warm-up")
    layers: int = setting(0, "how many of the last layers are tuned; 0: the whole model")
    base_width: int = setting(64, "the small model's width")
    base_layers: int = setting(2, "its layers")
    base_heads: int = setting(4, "its heads")
    base_length: int = setting(96, "characters in a window of its training")
    base_batch_size: int = setting(8, "windows in a batch")
    base_steps: int = setting(200, "its training steps")
    base_learning_rate: float = setting(3e-3, "its peak learning rate")


@dataclass
class Neftune:
    """Plain tuning is NEFTune without noise."""

    alpha: float = setting(0.0, "noise lies within alpha / sqrt(tokens * width); 0 is none")
    tunes: bool = setting(True, "whether the model is tuned at all")
