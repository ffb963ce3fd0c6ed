"""What the paper claims, what its table says, and what public data can decide of it.

The paper's human scores (200 Korean news summaries) were never released. So its claims are tested on DialSummEval's
judged English summaries and on constructed edits of Korean articles. The numbers are those of the paper's table 1 as
it is printed in the authors' own post; ROUGE's are read off the post's figure 4. Beside the paper's claims stand
those against it: what syllables alone repair, what copying earns, and what no cosine sees.
"""

from harness import Bound, Claim, Contrast, Figure, Origin, Reported, Seen, difference, level, order, ratio
from harness_rdass.metrics import KINDS, TARGETS

PEOPLE, EDITS = "DialSummEval, human_judgment.jsonl", "sci-news-sum-kr-50"
EYE = "where the first measurement of this kind left room"


def _seen(data: str) -> Bound:
    return Bound(Origin.PROTOTYPE, EYE, data)


def _reported(value: float, setting: str, same: bool = True) -> Reported:
    where = "table 1 as printed in the authors' post"
    if "ROUGE" in setting:
        where += "; ROUGE from its figure 4"
    return Reported(value, f"200 Korean news summaries, P-SBERT, {setting}", where, Seen.TRANSCRIPTION, same)


def _agrees(metric: str, method: str = "rouge_1_syllable") -> Contrast:
    """Return that ROUGE agrees with people at all: where even it does not, no metric can be told to agree more."""
    return level(metric, method, at_least=0.0)


# Overlap must follow the made-up order, which ends in another article's summary; copies must be seen where they are
# looked for, and exchanged speakers by word pairs.
ORDERED = level("constructed_pearson", "rouge_1_syllable", at_least=0.0)
COPIED = level("copy_bias", "lead_overlap", at_least=0.0)
EXCHANGED = level("speakers_drop", "rouge_2_syllable", at_least=0.0)

CLAIMS = [
    Claim(
        "RDASS agrees with people better than ROUGE-2, the best ROUGE here",
        difference("pearson_mean", "rdass", "rouge_2_syllable"),
        "Table 1",
        _reported(0.37 - 0.25, "Pearson with Human Avg above its best ROUGE (.37 - .25)"),
        control=_agrees("pearson_mean"),
    ),
    Claim(
        "RDASS agrees with people better than ROUGE-L, by .1",
        difference("pearson_mean", "rdass", "rouge_l_syllable", by=0.1),
        "Table 1",
        _reported(0.37 - 0.25, "Pearson with Human Avg above ROUGE-L (.37 - .25)"),
        bound=_seen(PEOPLE),
        control=_agrees("pearson_mean"),
    ),
    Claim(
        "People agree with RDASS most, then with the reference's half alone, then with ROUGE-1",
        order("pearson_mean", ("rdass", "reference_only", "rouge_1_syllable")),
        "Table 1",
        _reported(0.37 - 0.32, "Pearson with Human Avg, the smaller of the steps .37 > .32 > .25"),
        control=_agrees("pearson_mean"),
    ),
    Claim(
        "By Kendall's tau too RDASS agrees with people better than ROUGE-2, the best ROUGE here",
        difference("kendall_mean", "rdass", "rouge_2_syllable"),
        "Table 1",
        _reported(0.21 - 0.17, "Kendall with Human Avg above the best ROUGE (.21 - .17)"),
        control=_agrees("kendall_mean"),
    ),
    Claim(
        "A cosine with the reference alone already beats ROUGE-1",
        difference("pearson_mean", "reference_only", "rouge_1_syllable"),
        "Table 1",
        _reported(0.32 - 0.25, "Pearson with Human Avg above ROUGE-1 (.32 - .25)"),
        control=_agrees("pearson_mean"),
    ),
    Claim(
        "The document adds to the reference",
        difference("pearson_mean", "rdass", "reference_only"),
        "Table 1",
        _reported(0.37 - 0.32, "Pearson with Human Avg (.37 - .32)"),
        control=_agrees("pearson_mean"),
    ),
    Claim(
        "The document adds to consistency",
        difference("pearson_consistency", "rdass", "reference_only"),
        "Table 1",
        _reported(0.34 - 0.27, "Pearson with consistency (.34 - .27)"),
        control=_agrees("pearson_consistency"),
    ),
    Claim(
        "Both halves together are better than the document alone",
        difference("pearson_mean", "rdass", "document_only"),
        "Table 1",
        _reported(0.37 - 0.27, "Pearson with Human Avg (.37 - .27)"),
        control=_agrees("pearson_mean"),
    ),
    Claim(
        "The encoder matters: RDASS with all-MiniLM agrees with people better than with character n-grams",
        difference("pearson_mean", "rdass", "rdass_ngrams"),
        "Table 1, where it matters most: .09 from MUSE to P-SBERT, .05 by the document",
        _reported(0.37 - 0.28, "Pearson with Human Avg above RDASS with MUSE (.37 - .28)", same=False),
        control=_agrees("pearson_mean"),
    ),
    Claim(
        "RDASS is more than length",
        difference("pearson_mean", "rdass", "length"),
        "a control, not in the paper",
        is_control=True,
    ),
    Claim(
        "RDASS is more than overlap with the document's beginning",
        difference("pearson_mean", "rdass", "lead_overlap"),
        "a control, not in the paper",
        is_control=True,
    ),
    Claim(
        "Constructed Korean edits: RDASS sees a broken fact where eojeol ROUGE-1 prefers it to other particles",
        difference("sentence_para_over_swap", "rdass", "rouge_1_eojeol", by=0.3),
        "the paper's motivation, section 1",
        bound=_seen(EDITS),
        control=ORDERED,
    ),
    Claim(
        "Constructed Korean edits: RDASS follows the made-up order better than eojeol ROUGE-1",
        difference("constructed_pearson", "rdass", "rouge_1_eojeol"),
        "the paper's motivation, section 1",
        control=ORDERED,
    ),
    Claim(
        "Constructed Korean edits: RDASS follows it better than syllable ROUGE-1 too",
        difference("constructed_pearson", "rdass", "rouge_1_syllable"),
        "against a ROUGE that knows Korean; not in the paper",
        control=ORDERED,
    ),
    Claim(
        "Counting syllables alone gives ROUGE-1 most of what RDASS is praised for",
        ratio("sentence_para_over_swap", "rouge_1_syllable", than="rdass", at_least=0.9),
        "against the baseline of the paper, whose ROUGE fits whitespace tokens",
        counter=True,
        bound=_seen(EDITS),
        control=ORDERED,
    ),
    Claim(
        "Among abstractive systems the document adds nothing, or less than a fiftieth",
        ratio("abstractive_pearson_mean", "rdass", than="reference_only", at_most=1.02),
        "against section 1; its 200 summaries come from one abstractive system",
        counter=True,
        bound=Bound(Origin.INTEREST, "a fiftieth of a correlation is next to nothing"),
        control=_agrees("abstractive_pearson_mean"),
    ),
    Claim(
        "ROUGE-L is at least as good on coherence, which the paper did not ask about",
        difference("pearson_coherence", "rouge_l_syllable", "rdass"),
        "against the scope of table 1",
        counter=True,
        control=_agrees("pearson_coherence", "rouge_l_syllable"),
    ),
    Claim(
        "s(p, d) rewards copying the document more than people do",
        level("copy_bias", "document_only", at_least=0.1),
        "against s(p, d), which is 1 for the document itself",
        counter=True,
        bound=Bound(Origin.INTEREST, "a tenth of a deviation: less would not change a ranking"),
        control=COPIED,
    ),
    Claim(
        "RDASS rewards copying the document more than people do",
        level("copy_bias", "rdass", at_least=0.1),
        "against s(p, d), which is 1 for the document itself",
        counter=True,
        bound=Bound(Origin.INTEREST, "a tenth of a deviation: less would not change a ranking"),
        control=COPIED,
    ),
    Claim(
        "Constructed Korean edits: RDASS puts a negated sentence above one with other particles, nearly always",
        level("sentence_para_over_negation", "rdass", at_most=0.25),
        "against any cosine of sentence vectors; here over shared character n-grams",
        counter=True,
        bound=_seen(EDITS),
        control=ORDERED,
    ),
    Claim(
        "RDASS hardly sees who did what: exchanged speakers cost a tenth of an unrelated summary at most",
        level("speakers_drop", "rdass", at_most=0.1),
        "against any cosine of sentence vectors",
        counter=True,
        bound=Bound(Origin.INTEREST, "a tenth of what an unrelated summary loses"),
        control=EXCHANGED,
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
