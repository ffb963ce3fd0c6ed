"""What all methods share (`Task`, `Data`), and what tells one from another (`LongSkywork`).

The paper gives no learning rate, batch, RoPE base or table form; each of these is a setting here, with a
value of our choice.
"""

from dataclasses import dataclass
from enum import Enum

from harness import setting, source
from harness.errors import UsageError


class Order(Enum):
    """How documents fill the windows of long pretraining; `none` leaves that stage out."""

    none = "none"
    concatenate = "concatenate"
    interleave = "interleave"


class Scaling(Enum):
    """How the RoPE base grows before long pretraining: by the NTK-aware rule, by hand (ABF), or not."""

    none = "none"
    ntk = "ntk"
    abf = "abf"


@dataclass
class Data:
    """Text that prose is taken from."""

    corpus: str = source("builtin:python", "text, best several books; a tenth of it is held out for judging")
    windows: str = source(
        "", "a file of `interleave` for long pretraining, with model=", ("input_ids", "documents")
    )
    conversations: str = source("", "a file of `tables` for the last tuning, with model=", ("messages",))


@dataclass
class Task:
    """Sizes, steps and rates. Lengths are in tokens."""

    width: int = setting(64, "model width, where no model= is given", least=1)
    layers: int = setting(2, "transformer layers, where no model= is given", least=1)
    heads: int = setting(4, "attention heads, where no model= is given", least=1)
    feedforward: int = setting(128, "width of the feed-forward layer, where no model= is given", least=1)
    rope_base: float = setting(1000.0, "RoPE base before scaling, where no model= is given", least=0)
    vocabulary: int = setting(
        200,
        "words that make the prose: the most frequent of the corpus, and one that stands for all others",
        least=1,
    )
    gradient_checkpointing: bool = setting(
        False, "recompute activations in the backward pass, to save memory"
    )
    clip: float = setting(1.0, "gradients are clipped to this norm", least=0)
    weight_decay: float = setting(0.0, "decoupled weight decay", least=0)
    warmup: int = setting(40, "steps of linear warm-up in each stage", least=0)
    copy_steps: int = setting(900, "steps of the copying warm-up; a pretrained model needs none", least=0)
    copy_rate: float = setting(3e-3, "learning rate of the copying warm-up", least=0)
    copy_length: int = setting(40, "tokens a row of the copying warm-up", least=1)
    document: int = setting(
        120, "tokens a document: facts, then the same facts again (a multiple of 24)", least=1
    )
    trained_length: int = setting(
        0,
        "tokens the model was trained at, which scaling starts from; 0: what its config says",
        least=0,
    )
    base_steps: int = setting(300, "steps on single documents, the short pretraining", least=0)
    base_rate: float = setting(3e-3, "learning rate of the short pretraining", least=0)
    copy_share: float = setting(
        0.25,
        "share of the short pretraining's rows that go on repeating; none where there was no copying warm-up",
        least=0,
        most=1,
    )
    batch_size: int = setting(32, "rows a step, in all stages but long pretraining", least=1)
    window: int = setting(480, "window of long pretraining", least=1)
    windows: int = setting(8, "windows a step of long pretraining", least=1)
    long_steps: int = setting(200, "steps of long pretraining", least=0)
    long_rate: float = setting(1e-3, "peak learning rate of long pretraining", least=0)
    short_steps: int = setting(
        0, "steps of short tuning between long pretraining and tables, on short needles", least=0
    )
    rows: int = setting(8, "rows of a training table", least=1)
    questions: int = setting(16, "questions on each training table", least=1)
    synl_steps: list[int] = setting(
        [80, 150, 120, 200, 200],
        "steps on tables: cells with 1, 2, 4 columns, records with 2, then both kinds with 4",
        least=0,
    )
    synl_rate: float = setting(1.5e-3, "learning rate on tables, double with one column", least=0)
    prose: int = setting(128, "words of prose a needle is hidden in", least=1)
    needle_steps: int = setting(
        250, "steps on needles at the end, the short task that SynL should help", least=0
    )
    needle_rate: float = setting(1e-3, "learning rate on needles", least=0)
    items: int = setting(
        200, "documents, tables or needles a judgement; a cell of the needle grid has a fifth", least=1
    )


@dataclass
class LongSkywork:
    """Which stages a method has. One field tells the paper's method from its parts and its baselines."""

    base: bool = setting(True, "pretrain on single documents after the copying warm-up")
    order: Order = setting(Order.interleave, "none, concatenate or interleave")
    chunks: int = setting(2, "chunks a document is cut into (2 in CIP-2)", least=1)
    masked: bool = setting(False, "attention stays inside a document; positions run over the window")
    scaling: Scaling = setting(Scaling.ntk, "none, ntk or abf")
    abf_base: float = setting(0.0, "the RoPE base with scaling=abf", least=0)
    synl_share: float = setting(
        1.0, "share of tables in the last tuning, the rest short needles; 0: no such stage", least=0, most=1
    )

    def __post_init__(self) -> None:
        """Refuse a base that is set by hand and is not set."""
        if self.scaling is Scaling.abf and not self.abf_base > 0:
            raise UsageError("method.scaling=abf takes its base by hand: set method.abf_base, such as 5e6")
