"""What every method shares (`Task`, `Data`), and what tells one from another (`Mixup`)."""

from dataclasses import dataclass

from harness import setting, source


@dataclass
class Data:
    """The labelled images."""

    images: str = source(
        "", "a table: the column label, all others are pixels; empty: scikit-learn's digits", ("label",)
    )


@dataclass
class Task:
    """The share of labels that are wrong, and a small network's training."""

    wrong: float = setting(0.4, "share of training labels that are replaced by another class")
    examples: int = setting(1000, "training images; of the others a quarter is for validation")
    test: int = setting(1000, "test images at most")
    hidden: int = setting(256, "width of the two hidden layers")
    batch_size: int = setting(64, "images in a batch")
    steps: int = setting(2000, "training steps")
    learning_rate: float = setting(1e-3, "peak learning rate of AdamW")


@dataclass
class Mixup:
    """Plain training is a mixup that never mixes."""

    alpha: float = setting(0.0, "weights are drawn from Beta(alpha, alpha); 0 does not mix")
    dropout: float = setting(0.0, "share of hidden units that a step leaves out")
