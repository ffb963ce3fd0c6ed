"""What all samplers share (`Task`, `Data`), and what tells one from another (`Sampler`)."""

from dataclasses import dataclass

from harness import setting, source


@dataclass
class Data:
    problems: str = source(
        "", "solutions in GSM8K's notation (<<3+4=7>>) in `answer`; empty: sums", ("answer",)
    )


@dataclass
class Task:
    items: int = setting(200, "calculations that are asked, each after three solved ones")
    draws: int = setting(2, "answers drawn to each at each temperature")
    temperatures: list[float] = setting([1.0, 1.5, 2.0], "temperatures at which is answered")
    base_width: int = setting(64, "the small model's width, where `model=` names none")
    base_layers: int = setting(2, "its layers")
    base_heads: int = setting(4, "its heads")
    base_length: int = setting(48, "characters in a window of its training")
    base_batch_size: int = setting(16, "windows in a batch")
    base_steps: int = setting(1500, "its training steps")
    base_learning_rate: float = setting(3e-3, "its peak learning rate")


@dataclass
class Sampler:
    min_p: float = setting(0.0, "tokens below this share of the most probable one's probability are dropped")
    top_p: float = setting(1.0, "the most probable tokens are kept until they reach this probability")
    greedy: bool = setting(False, "nothing is drawn: always the most probable token")
