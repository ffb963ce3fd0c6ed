"""The paper's classification and reading sets, in context, through lm-eval: for models large enough to try.

Seven sets with 32 examples (section 3.3.2), and of the reading sets (section 3.3.3) those of multiple choice, RACE
and BoolQ, as lm-eval asks them: without examples, where the paper shows 2. The label words are plain names
of the classes; the paper takes those of Min et al. 2022.
"""

from __future__ import annotations

from typing import Any

from harness import Items, Run

CLASSES: dict[str, tuple[str, str, str, str, tuple[str, ...]]] = {  # set: hub id, config, split, text, labels
    "sst2": ("stanfordnlp/sst2", "", "validation", "{{sentence}}", ("negative", "positive")),
    "amazon": ("fancyzhx/amazon_polarity", "", "test", "{{content}}", ("negative", "positive")),
    "yelp": ("fancyzhx/yelp_polarity", "", "test", "{{text}}", ("negative", "positive")),
    "ag_news": ("fancyzhx/ag_news", "", "test", "{{text}}", ("world", "sports", "business", "technology")),
    "dbpedia": (
        "fancyzhx/dbpedia_14",
        "",
        "test",
        "{{content}}",
        (
            "company", "school", "artist", "athlete", "politician", "transportation", "building",
            "nature", "village", "animal", "plant", "album", "film", "book",
        ),
    ),
    "hate": ("cardiffnlp/tweet_eval", "hate", "test", "{{text}}", ("neutral", "hate")),
    "offensive": ("cardiffnlp/tweet_eval", "offensive", "test", "{{text}}", ("neutral", "offensive")),
}  # fmt: skip
READING = ("race", "boolq")
REASON = "asked of large models only: task.few_shot=true"


def classification(name: str, shots: int = 32, **other: Any) -> dict[str, Any]:
    """Return one set as a task in lm-eval's own keys; `other` replaces or adds some."""
    hub, config, split, text, labels = CLASSES[name]
    return {
        "task": f"iclm_{name}",
        "dataset_path": hub,
        **({"dataset_name": config} if config else {}),
        "training_split": "train",
        "test_split": split,
        "fewshot_split": "train",
        "num_fewshot": shots,
        "output_type": "multiple_choice",
        "doc_to_text": text + "\nLabel:",
        "doc_to_target": "label",
        "doc_to_choice": list(labels),
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        **other,
    }


def scores(run: Run, model: Any) -> dict[str, float | Items]:
    """Return both accuracies, or say why they are absent."""
    if not run.task.few_shot:
        for metric in ("classification_accuracy", "reading_accuracy"):
            run.absent(metric, REASON)
        return {}
    from transformers import AutoTokenizer

    from harness.nn.evals import lm_eval_scores

    tasks: list[Any] = [*(classification(name) for name in CLASSES), *READING]
    tokenizer = AutoTokenizer.from_pretrained(run.output_dir)
    limit = run.task.few_shot_limit or None
    found, _ = lm_eval_scores(model, tokenizer, tasks, limit=limit, max_length=run.task.length)
    return means(found)


def means(found: dict[str, dict[str, float]]) -> dict[str, float | Items]:
    """Return the mean accuracy of the classification sets and of the reading sets."""
    sets = [found[f"iclm_{name}"]["acc"] for name in CLASSES]
    reading = [found[name]["acc"] for name in READING]
    return {
        "classification_accuracy": sum(sets) / len(sets),
        "reading_accuracy": sum(reading) / len(reading),
    }
