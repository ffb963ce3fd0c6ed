"""What the paper claims and measured, and what can be measured here to decide it.

Correlations are fractions here: the paper's 76.25 is 0.7625. Table 5 is on the seven test sets, tables 1 to 4,
6 and 7 on STS-B dev with BERT-base. Every verdict here is on STS-B test, or on your own table: its judged half,
or all of it beside `data.validation`. So a claim speaks of the judged pairs, whichever they are.
"""

from harness import Bound, Claim, Figure, Origin, Reported, Seen, difference, ratio
from harness_simcse.metrics import DIRECTIONS, SETS

# Views that mean nothing to each other must teach less than views of one sentence, or training changes nothing here.
TAUGHT = difference("test@last", "unsupervised", "strangers")
DEV = "BERT-base, STS-B dev"
SEEN = Bound(Origin.PROTOTYPE, "twelve points and 1.7 were seen", "STS-B test and dev (senteval-stsb)")


def _reported(value: float, setting: str, table: str) -> Reported:
    return Reported(value, setting, table, Seen.PAPER, same=True)


CLAIMS = [
    Claim(
        "With dropout as the only change between views, training lifts the correlation by five points and more",
        difference("test@best", "unsupervised", "untuned", by=0.05),
        "Table 5",
        _reported(
            0.7685 - 0.5387, "BERT-base, STS-B test, over first-last average (.7685 - .5387)", "Table 5"
        ),
        bound=SEEN,
        control=TAUGHT,
    ),
    Claim(
        "So it does with the last weights, chosen by no label",
        difference("test@last", "unsupervised", "untuned", by=0.05),
        "Table 5, whose weights were chosen on STS-B dev",
        bound=SEEN,
        control=TAUGHT,
    ),
    Claim(
        "It spreads the sentences: uniformity falls by 1.0 and more",
        difference("uniformity", "unsupervised", "untuned", by=1.0),
        "Figures 2 and 3, no number printed",
        bound=SEEN,
        control=TAUGHT,
    ),
    Claim(
        "It does so without losing alignment: pairs that mean the same stay as near, within a tenth",
        ratio("alignment", "unsupervised", than="untuned", at_most=1.1),
        "Figures 2 and 3, no number printed",
        control=TAUGHT,
        bound=Bound(Origin.INTEREST, "a tenth of a squared distance: less could not be seen in the figures"),
    ),
    Claim(
        "On the average of the seven sets too training lifts the correlation",
        difference("average@best", "unsupervised", "untuned"),
        "Table 5: the abstract's 76.25",
        _reported(0.7625 - 0.5670, "BERT-base, average, over first-last average (.7625 - .5670)", "Table 5"),
        control=TAUGHT,
        needs="SICK_test_annotated.txt beside the six other sets in data.sts; its training part alone is not enough",
    ),
    Claim(
        "It flattens the spectrum: the first singular value's share falls",
        difference("singular_value_1", "unsupervised", "untuned"),
        "Section 5",
        control=TAUGHT,
    ),
    Claim(
        "Dropout matters: without it the pairs are equal and the correlation is lower",
        difference("test@best", "unsupervised", "no_dropout"),
        "Table 3",
        _reported(0.825 - 0.711, f"{DEV} (.825 - .711)", "Table 3"),
        control=TAUGHT,
    ),
    Claim(
        "Two masks matter: one mask for both views is worse",
        difference("test@best", "unsupervised", "same_dropout_mask"),
        "Table 3",
        _reported(0.825 - 0.436, f"{DEV} (.825 - .436)", "Table 3"),
        control=TAUGHT,
    ),
    Claim(
        "Dropout alone beats cropping a fifth of the words",
        difference("test@best", "unsupervised", "crop"),
        "Table 1",
        _reported(0.825 - 0.714, f"{DEV} (.825 - .714)", "Table 1"),
        control=TAUGHT,
    ),
    Claim(
        "Dropout alone beats deleting a fifth of the words",
        difference("test@best", "unsupervised", "word_deletion"),
        "Table 1",
        _reported(0.825 - 0.722, f"{DEV} (.825 - .722)", "Table 1"),
        control=TAUGHT,
    ),
    Claim(
        "It beats whitening, which needs no training",
        difference("test@best", "unsupervised", "whitening"),
        "Table 5",
        _reported(0.7685 - 0.6824, "BERT-base, STS-B test (.7685 - .6824)", "Table 5"),
        control=TAUGHT,
    ),
    Claim(
        "Entailment pairs and contradictions are worth more than dropout alone",
        difference("test@best", "supervised", "unsupervised"),
        "Table 5",
        _reported(0.8425 - 0.7685, "BERT-base, STS-B test (.8425 - .7685)", "Table 5"),
        control=TAUGHT,
    ),
    Claim(
        "Contradictions as hard negatives help",
        difference("test@best", "supervised", "supervised_no_hard_negatives"),
        "Table 4",
        _reported(0.862 - 0.849, f"{DEV} (.862 - .849)", "Table 4"),
        control=TAUGHT,
    ),
    Claim(
        "sentence-transformers with its own loss gets as far, within half a point",
        difference("test@last", "sentence_transformers", "unsupervised", by=-0.005),
        "common practice: MultipleNegativesRankingLoss on each sentence with itself",
        counter=True,
        bound=Bound(Origin.INTEREST, "half a point is what other seeds of one recipe differ by"),
        control=TAUGHT,
    ),
    Claim(
        "Choosing the step on judged pairs is supervision that the unsupervised score profits from",
        ratio("test@best", "unsupervised", over="test@last", at_least=1.005),
        "against the word unsupervised; the released code keeps the best step on STS-B dev",
        counter=True,
        bound=Bound(Origin.INTEREST, "half a hundredth of the score: less would not change a table"),
        control=TAUGHT,
    ),
]

FIGURES = [
    Figure(
        "The spectrum before and after: a steep line is a narrow cone",
        "line",
        {f"singular_value_{k}": float(k) for k in DIRECTIONS},
        x="singular value, from the largest",
        y="share of the sum",
        log_x=True,
        log_y=True,
    ),
    Figure(
        "The STS sets, at the weights chosen on the validation pairs",
        "bar",
        {f"{name}@best": name for name in SETS},
        x="set",
        y="Spearman's correlation",
    ),
]
