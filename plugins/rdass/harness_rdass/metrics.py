"""What a scorer is measured by: agreement with people, blind spots, constructed edits, and how each is reduced.

The edits' kinds and their made-up order, the dimensions that people judged, and the rivals of Williams' test are
here too: what is measured on decides the number, so it counts as the code that made a run.
"""

from collections.abc import Mapping
from typing import Any, Literal

from harness import Metric

MEAN_OF = ("relevance", "consistency", "fluency")  # Human Avg
DIMENSIONS = (*MEAN_OF, "coherence")
TARGETS = ("mean", *DIMENSIONS)
STATISTICS = ("pearson", "spearman", "kendall")
LEVELS = {
    "": "over all judged summaries",
    "abstractive_": "over the summaries of systems that do not copy",
    "system_": "over systems, each the mean of its summaries",
}
KINDS = {
    "para": "only particles changed: the meaning is kept",
    "swap": "a fifth of the words and all numbers replaced",
    "same": "other sentences of the same article",
    "other": "another article's summary",
    "negation": "every sentence negated",
    "number": "all numbers changed",
    "entity": "one name replaced everywhere",
    "half": "the first half of the words",
    "lead": "the article's beginning, copied",
}
GOLD = {"para": 4.0, "swap": 2.0, "same": 1.5, "other": 0.0}  # our order, made up: not judged by people
BROKEN = ("swap", "negation", "number", "entity")
WILLIAMS: tuple[tuple[str, Literal["higher", "lower"], str], ...] = (
    ("t", "higher", "t"),
    ("p", "lower", "two-sided p"),
)
RIVALS = {"rouge": "the ROUGE that correlates best", "reference": "s(p, r)"}


def drop(columns: Mapping[str, Any]) -> float:
    """Return how much of the fall to an unrelated summary an edit causes: 0 is unseen, 1 is as bad."""
    before, edited, other = (columns[name] for name in ("score", "edited", "other"))
    fall = (before - other).mean()
    return float((before - edited).mean() / fall) if fall else float("nan")


def copy_bias(columns: Mapping[str, Any]) -> float:
    """Return how far copied summaries stand above the others, in deviations, beyond where people put them."""
    copied = columns["copied"] > 0.5
    if copied.all() or not copied.any():
        return float("nan")

    def lead(scores: Any) -> float:
        return float((scores[copied].mean() - scores[~copied].mean()) / scores.std())

    return lead(columns["score"]) - lead(columns["human"])


def _correlation(statistic: str, text: str) -> Metric:
    said = f"{statistic.capitalize()} correlation with {text}"
    return Metric("higher", said, reduce=statistic, range=(-1.0, 1.0))


def _share(text: str, better: Literal["higher", "lower"] = "higher") -> Metric:
    return Metric(better, f"share of {text}", range=(0.0, 1.0))


TABLES = {  # which of the tables that `prepare` leaves each metric is measured on
    "judgments": {
        **{
            f"{where}{statistic}_{target}": _correlation(statistic, f"human {target} {text}")
            for where, text in LEVELS.items()
            for target in TARGETS
            for statistic in STATISTICS
        },
        **{
            f"{where}williams_{name}_{rival}": Metric(
                better,
                f"Williams' test of Pearson with the human mean against {text}: {what} {LEVELS[where]}",
                range=(0.0, 1.0) if name == "p" else None,
            )
            for where in ("", "abstractive_")
            for rival, text in RIVALS.items()
            for name, better, what in WILLIAMS
        },
        "copy_bias": Metric(
            "lower",
            "how much more copied summaries are rewarded than by people",
            unit="deviations",
            reduce=copy_bias,
        ),
        "truncated_judgments": _share("judged documents longer than the encoder reads", "lower"),
    },
    "speakers": {
        "speakers_drop": Metric(
            "higher",
            "fall when two speakers are exchanged, as a share of the fall to an unrelated summary",
            reduce=drop,
        ),
    },
    "candidates": {
        **{f"score_{kind}": Metric("higher", f"mean score of {text}") for kind, text in KINDS.items()},
        **{
            f"para_over_{kind}": _share(f"articles where `para` is above `{kind}`; a tie is half")
            for kind in KINDS
            if kind != "para"
        },
        "same_over_other": _share("articles where `same` is above `other`; a tie is half"),
        **{
            f"constructed_{statistic}": _correlation(statistic, "the made-up order 4/2/1.5/0")
            for statistic in STATISTICS
        },
        **{
            f"sentence_para_over_{kind}": _share(
                f"summary sentences where `para` is above `{kind}`; a tie is half"
            )
            for kind in BROKEN
        },
        **{
            f"{kind}_drop": Metric(
                "higher",
                f"fall of a summary sentence by `{kind}`, as a share of the fall to an unrelated sentence",
                reduce=drop,
            )
            for kind in (*BROKEN, "para")
        },
        "truncated_articles": _share("articles longer than the encoder reads", "lower"),
    },
    "sts": {
        f"sts_{statistic}": _correlation(statistic, "scored sentence pairs")
        for statistic in ("spearman", "pearson")
    },
}

METRICS = {name: metric for metrics in TABLES.values() for name, metric in metrics.items()}
