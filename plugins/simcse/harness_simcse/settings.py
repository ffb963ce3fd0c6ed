"""What every method of this paper shares (`Task`, `Data`), and what tells one from another (`SimCSE`)."""

from dataclasses import dataclass
from enum import Enum

from harness import setting, source


class Trained(Enum):
    """What learns: every weight of the encoder, or a linear layer over the frozen encoder."""

    encoder = "encoder"
    linear = "linear"


class Objective(Enum):
    """What a method does to the encoder; `library` is sentence-transformers' own trainer."""

    unsupervised = "unsupervised"
    supervised = "supervised"
    library = "library"
    whitening = "whitening"
    nothing = "nothing"


class Head(Enum):
    """The linear layer and tanh over the pooled vector: in training only, kept for use, or none."""

    train_only = "train_only"
    kept = "kept"
    none = "none"


class Augmentation(Enum):
    """What is done to the second view before it is encoded; words are split at white space. A stranger is another's."""

    none = "none"
    crop = "crop"
    word_deletion = "word_deletion"
    stranger = "stranger"


class WhitenOn(Enum):
    """Which sentences' mean and covariance are used: the training sentences, or those judged (no labels)."""

    sentences = "sentences"
    target = "target"


@dataclass
class Data:
    """The sentences and triplets to train on, and the pairs to judge on."""

    sentences: str = source("builtin:python", "sentences to train on, one a line, or a table's column text")
    triplets: str = source(
        "",
        "sentences with an entailed and a contradicted one, for the supervised methods",
        ("sent0", "sent1"),
    )
    sts: str = source(
        "", "judged pairs: a folder of SentEval sets, or a table of sentence1, sentence2, score", ()
    )
    more_sts: str = source("", "a second folder of SentEval sets, where they do not lie in one", ())
    validation: str = source(
        "", "pairs to choose the best step by, instead of STS-B dev or half of a table", ()
    )


@dataclass
class Task:
    """The encoder, the training and the judging, the same for every method."""

    layers: int | None = setting(
        0, "cut the model to its first layers; 0: word vectors alone; null: all of it"
    )
    trained: Trained = setting(
        Trained.linear, "encoder, or linear: a layer over the frozen encoder, starting at 1"
    )
    pooling: str = setting("mean", "cls, mean, max, lasttoken, weightedmean ..., joined by +, or pooler")
    prompt: str | None = setting(
        None, "put before every text, or the name of a prompt of the model's folder; null: its default"
    )
    max_length: int = setting(32, "tokens a training sentence is cut to; nothing is cut for judging", least=0)
    batch_size: int = setting(64, "sentences in a batch: all but one of them are negatives", least=1)
    learning_rate: float = setting(1e-3, "peak learning rate; falls linearly to 0, without warm-up", least=0)
    steps: int = setting(150, "training steps", least=1)
    triplet_batch_size: int = setting(
        64, "the same three for the supervised methods: triplets in a batch", least=0
    )
    triplet_learning_rate: float = setting(1e-3, "peak learning rate on triplets", least=0)
    triplet_steps: int = setting(150, "training steps on triplets", least=0)
    weight_decay: float = setting(0.0, "decoupled weight decay", least=0)
    clip: float = setting(1.0, "gradients are clipped to this norm", least=0)
    look_every: int = setting(
        30, "steps between two looks at the validation pairs, which choose `best`", least=0
    )
    positive_score: float = setting(4.0, "alignment is measured on pairs with a score above this", least=0)
    made_pairs: int = setting(
        0, "judge on this many pairs made by swapping words, with no data.sts: for tests only", least=0
    )


@dataclass
class SimCSE:
    """A way to make sentence vectors better. The paper's unsupervised method is the default."""

    objective: Objective = setting(
        Objective.unsupervised, "unsupervised, supervised, library, whitening, nothing"
    )
    temperature: float = setting(0.05, "cosines are divided by this", least=0)
    head: Head = setting(Head.train_only, "train_only, kept or none; with task.trained=encoder only")
    dropout: float | None = setting(None, "dropout everywhere in the encoder; null: as the model says (0.1)")
    same_mask: bool = setting(False, "use one dropout mask for both views: they are then equal")
    augmentation: Augmentation = setting(
        Augmentation.none, "none, crop or word_deletion on the second view, or a stranger in its place"
    )
    strength: float = setting(0.2, "share of the words that crop or word_deletion takes away", least=0)
    hard_negatives: bool = setting(True, "supervised: let contradicted sentences join the sum")
    hard_negative_weight: float = setting(
        0.0, "supervised: added to the logit of a row's own contradiction", least=0
    )
    whiten_on: WhitenOn = setting(WhitenOn.sentences, "whitening: sentences or target")
    whole: bool = setting(False, "judge the whole model as it is, whatever task.layers says")
    pooling: str = setting("", "pooling of this method alone; empty: task.pooling")
    rate: float = setting(1.0, "times task.learning_rate, or task.triplet_learning_rate", least=0)
