"""What every method of this paper shares (`Task`, `Data`), and what tells one from another (`Packing`)."""

from dataclasses import dataclass
from enum import Enum

from harness import setting, source


class Order(Enum):
    """How documents follow each other; `path` is the paper's. Best fit packs whole ones by length alone."""

    path = "path"
    random = "random"
    nearest_neighbours = "nearest_neighbours"
    clusters = "clusters"
    best_fit = "best_fit"


class Restart(Enum):
    """Where the path goes on when no neighbour is left; the paper says minimum degree, not in which graph."""

    residual = "residual"
    static = "static"
    random = "random"


@dataclass
class Data:
    """The documents a language model is trained and judged on."""

    corpus: str = source(
        "builtin:python", "documents to train on: a table with text, or a csv of class, title, text", ()
    )
    test: str = source("", "documents to judge on, instead of an eighth of the corpus", ())


@dataclass
class Task:
    """The corpus, the model, the training and the judging. Lengths are in tokens."""

    documents: int = setting(0, "documents read from the corpus; 0: all", least=0)
    threshold: float = setting(
        0.0,
        "likeness to a kept document from which one is left out; 0: .95 (cosine) or .8 (shingles); 1: none is",
        least=0,
        most=1,
    )
    dimensions: int = setting(
        128, "width of the TF-IDF embeddings, where no encoder is given by model=", least=1
    )
    encoder_length: int = setting(512, "tokens of a document that the encoder reads", least=1)
    encoder_batch: int = setting(128, "documents the encoder reads at once", least=1)
    index: str = setting("auto", "faiss's name of the search index; auto: by the number of documents")
    probes: int = setting(0, "lists searched, where the index has lists; 0: 16, or 64 of 32,768", least=0)
    length: int = setting(256, "tokens in a window", least=1)
    vocabulary: int = setting(1024, "byte-level BPE tokens, learned from the training documents", least=1)
    base: str = setting("", "a causal LM of the hub or a folder to go on training, instead of a new decoder")
    width: int = setting(64, "model width", least=1)
    layers: int = setting(2, "transformer layers", least=1)
    heads: int = setting(4, "attention heads", least=1)
    feedforward: int = setting(256, "width of the feed-forward layer", least=1)
    learning_rate: float = setting(4e-3, "peak learning rate of a cosine", least=0)
    beta2: float = setting(0.95, "AdamW's second beta; the first is 0.9", least=0, most=1)
    weight_decay: float = setting(0.1, "decoupled weight decay", least=0)
    warmup: int = setting(50, "steps of linear warm-up", least=0)
    clip: float = setting(1.0, "gradients are clipped to this norm", least=0)
    batch_size: int = setting(8, "windows in a batch", least=1)
    steps: int = setting(1240, "training steps", least=1)
    targets: int = setting(800, "held-out documents whose loss is asked after three contexts", least=0)
    prompts: int = setting(48, "held-out documents continued to measure repetition", least=0)
    few_shot: bool = setting(False, "ask the paper's classification and reading sets of lm-eval (network)")
    few_shot_limit: int = setting(0, "documents of each of these sets; 0: all", least=0)


@dataclass
class Packing:
    """Which documents share a window, and whether they see each other. Only this differs between methods."""

    order: Order = setting(Order.path, "path (the paper's), random, nearest_neighbours, clusters or best_fit")
    masked: bool = setting(False, "let a document see only itself (intra-document attention mask)")
    restart: Restart = setting(Restart.residual, "residual, static or random; for order=path")
    neighbours: int = setting(10, "neighbours searched for each document", least=1)
    cluster_size: int = setting(20, "documents in a cluster, about; for order=clusters", least=1)
    shuffled: bool = setting(True, "shuffle the windows once they are cut")
    rate: float = setting(1.0, "times task.learning_rate", least=0)
