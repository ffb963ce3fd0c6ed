"""What the paper claims, what its table says, and what public data can decide of it.

The paper's human scores (200 Korean news summaries) were never released. So its claims are tested on DialSummEval's
judged English summaries and on constructed edits of Korean articles. The numbers are those of the paper's table 1 as
it is printed in the authors' own post; ROUGE's are read off the post's figure 4. Beside the paper's claims stand
those against it: what syllables alone repair, what copying earns, and what no cosine sees.
"""

from collections.abc import Mapping
from typing import Any, Literal

from harness import Claim, Figure, Metric, Reported, Seen, difference, level, ratio

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


METRICS = {
    **{
        f"{where}{statistic}_{target}": Metric(
            "higher",
            f"{statistic.capitalize()} correlation with human {target} {text}",
            reduce=statistic,
        )
        for where, text in LEVELS.items()
        for target in TARGETS
        for statistic in STATISTICS
    },
    **{
        f"{where}williams_{name}_{rival}": Metric(
            better,
            f"Williams' test of Pearson with the human mean against {text}: {what} {LEVELS[where]}",
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
    "speakers_drop": Metric(
        "higher",
        "fall when two speakers are exchanged, as a share of the fall to an unrelated summary",
        reduce=drop,
    ),
    **{f"score_{kind}": Metric("higher", f"mean score of {text}") for kind, text in KINDS.items()},
    **{
        f"para_over_{kind}": Metric("higher", f"share of articles where `para` is above `{kind}`; a tie is half")
        for kind in KINDS
        if kind != "para"
    },
    "same_over_other": Metric("higher", "share of articles where `same` is above `other`; a tie is half"),
    **{
        f"constructed_{statistic}": Metric(
            "higher", f"{statistic.capitalize()} correlation with the made-up order 4/2/1.5/0", reduce=statistic
        )
        for statistic in STATISTICS
    },
    **{
        f"sentence_para_over_{kind}": Metric(
            "higher", f"share of summary sentences where `para` is above `{kind}`; a tie is half"
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
    **{
        f"sts_{statistic}": Metric(
            "higher", f"{statistic.capitalize()} correlation with scored sentence pairs", reduce=statistic
        )
        for statistic in ("spearman", "pearson")
    },
    "truncated_judgments": Metric("lower", "share of judged documents longer than the encoder reads"),
    "truncated_articles": Metric("lower", "share of articles longer than the encoder reads"),
}  # fmt: skip


def _reported(value: float, setting: str, seen: Seen = Seen.TRANSCRIPTION) -> Reported:
    where = "table 1 as printed in the authors' post"
    if "ROUGE" in setting:
        where += "; ROUGE from its figure 4"
    return Reported(value, f"200 Korean news summaries, P-SBERT, {setting}", where, seen)


CLAIMS = [
    Claim(
        "RDASS agrees with people better than the best ROUGE, by .15 here",
        difference("pearson_mean", "rdass", "rouge_2_syllable", by=0.15),
        "Table 1",
        _reported(0.37 - 0.19, "Pearson with Human Avg above ROUGE-2 (.37 - .19)"),
    ),
    Claim(
        "RDASS agrees with people better than ROUGE-L, by .1",
        difference("pearson_mean", "rdass", "rouge_l_syllable", by=0.1),
        "Table 1",
        _reported(0.37 - 0.25, "Pearson with Human Avg above ROUGE-L (.37 - .25)"),
    ),
    Claim(
        "The same by Kendall's tau",
        difference("kendall_mean", "rdass", "rouge_2_syllable"),
        "Table 1",
        _reported(0.21 - 0.13, "Kendall with Human Avg above ROUGE-2 (.21 - .13)"),
    ),
    Claim(
        "A cosine with the reference alone already beats ROUGE-1",
        difference("pearson_mean", "reference_only", "rouge_1_syllable"),
        "Table 1",
        _reported(0.32 - 0.25, "Pearson with Human Avg above ROUGE-1 (.32 - .25)"),
    ),
    Claim(
        "The document adds to the reference",
        difference("pearson_mean", "rdass", "reference_only"),
        "Table 1",
        _reported(0.37 - 0.32, "Pearson with Human Avg (.37 - .32)"),
    ),
    Claim(
        "The document adds to consistency",
        difference("pearson_consistency", "rdass", "reference_only"),
        "Table 1",
        _reported(0.34 - 0.27, "Pearson with consistency (.34 - .27)"),
    ),
    Claim(
        "Both halves together are better than the document alone",
        difference("pearson_mean", "rdass", "document_only"),
        "Table 1",
        _reported(0.37 - 0.27, "Pearson with Human Avg (.37 - .27)"),
    ),
    Claim(
        "RDASS is more than length",
        difference("pearson_mean", "rdass", "length"),
        "a control, not in the paper",
    ),
    Claim(
        "RDASS is more than overlap with the document's beginning",
        difference("pearson_mean", "rdass", "lead_overlap"),
        "a control, not in the paper",
    ),
    Claim(
        "Constructed Korean edits: RDASS sees a broken fact where eojeol ROUGE-1 prefers it to other particles",
        difference("sentence_para_over_swap", "rdass", "rouge_1_eojeol", by=0.3),
        "the paper's motivation, section 1",
    ),
    Claim(
        "Constructed Korean edits: RDASS follows the made-up order better than eojeol ROUGE-1",
        difference("constructed_pearson", "rdass", "rouge_1_eojeol"),
        "the paper's motivation, section 1",
    ),
    Claim(
        "Constructed Korean edits: RDASS follows it better than syllable ROUGE-1 too",
        difference("constructed_pearson", "rdass", "rouge_1_syllable"),
        "against a ROUGE that knows Korean; not in the paper",
    ),
    Claim(
        "Counting syllables alone gives ROUGE-1 most of what RDASS is praised for",
        ratio("sentence_para_over_swap", "rouge_1_syllable", than="rdass", at_least=0.9),
        "against the baseline of the paper, whose ROUGE fits whitespace tokens",
        counter=True,
    ),
    Claim(
        "Among abstractive systems the document adds nothing, or less than a fiftieth",
        ratio("abstractive_pearson_mean", "rdass", than="reference_only", at_most=1.02),
        "against section 1; its 200 summaries come from one abstractive system",
        counter=True,
    ),
    Claim(
        "ROUGE-L is at least as good on coherence, which the paper did not ask about",
        difference("pearson_coherence", "rouge_l_syllable", "rdass"),
        "against the scope of table 1",
        counter=True,
    ),
    Claim(
        "s(p, d) rewards copying the document more than people do",
        level("copy_bias", "document_only", at_least=0.1),
        "against s(p, d), which is 1 for the document itself",
        counter=True,
    ),
    Claim(
        "RDASS rewards copying the document more than people do",
        level("copy_bias", "rdass", at_least=0.1),
        "against s(p, d), which is 1 for the document itself",
        counter=True,
    ),
    Claim(
        "Constructed Korean edits: RDASS puts a negated sentence above one with other particles, nearly always",
        level("sentence_para_over_negation", "rdass", at_most=0.25),
        "against any cosine of sentence vectors; here over shared character n-grams",
        counter=True,
    ),
    Claim(
        "RDASS hardly sees who did what: exchanged speakers cost a tenth of an unrelated summary at most",
        level("speakers_drop", "rdass", at_most=0.1),
        "against any cosine of sentence vectors",
        counter=True,
    ),
]  # fmt: skip

FIGURES = [
    Figure(
        "Agreement with people",
        "bar",
        {f"pearson_{target}": target for target in TARGETS},
        x="human judgment",
        y="Pearson correlation",
    ),
    Figure(
        "Agreement with people, without the systems that copy",
        "bar",
        {f"abstractive_pearson_{target}": target for target in TARGETS},
        x="human judgment",
        y="Pearson correlation",
    ),
    Figure(
        "Constructed Korean edits: how often changed particles are above",
        "bar",
        {f"para_over_{kind}": kind for kind in KINDS if kind != "para"},
        x="edit",
        y="share of articles",
    ),
]
