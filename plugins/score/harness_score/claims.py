"""What the paper claims and measured, as far as runs can decide it here.

delta alone can be gamed: a policy that always answers wrong first has the best one. So it stands beside the
accuracy of both turns. What the small task cannot show is said in the card, not claimed.
"""

from harness import Bound, Claim, Figure, Origin, Reported, Seen, difference, level
from harness_score.metrics import EDITS

MATH = "MATH-500, Gemini 1.5 Flash"
SUMS = "4-digit additions of a prototype's own draw"


def _paper(value: float, told: str, table: str = "the MATH table", same: bool = True) -> Reported:
    return Reported(value, f"{MATH} ({told})", table, Seen.PAPER, same)


def _seen(why: str) -> Bound:
    return Bound(Origin.PROTOTYPE, why, SUMS)


# Reinforcement of the very answer that is judged must raise it, or nothing is learned here at all.
SECOND = difference("accuracy_t2", "multi_turn_rl", "base")
FIRST = difference("accuracy_t1", "single_turn_rl", "base")
IMITATED = difference("accuracy_t2", "pair_sft", "base")

# Tables and numbers are those of the later arXiv text; the camera-ready prints the same.
CLAIMS = [
    Claim(
        "Asked to correct itself, the base gets worse: by more than 3 points",
        level("delta", "base", at_most=-3.0),
        "introduction and results",
        _paper(-11.2, "41.4 - 52.6"),
        is_control=True,  # the small base was made so
        bound=_seen("its base lost 9.5"),
    ),
    Claim(
        "SCoRe's second answer is right at least 20 points more often than the base's",
        difference("accuracy_t2", "score", "base", by=20.0),
        "results",
        _paper(23.0, "64.4 - 41.4"),
        bound=_seen("it asked 25 and saw 27 with 300 problems; lowered before the first run here"),
        control=SECOND,
    ),
    Claim(
        "SCoRe does not pay with the first answer: at most 8 points below the base's",
        difference("accuracy_t1", "score", "base", by=-8.0),
        "the method: stage I",
        _paper(7.4, "60.0 - 52.6"),
        bound=_seen("stage I let it fall by 7"),
        control=SECOND,
    ),
    Claim(
        "SCoRe seldom spoils a right answer: at most 7 % of all problems",
        level("right_to_wrong", "score", at_most=7.0),
        "results",
        _paper(1.4, "of all problems"),
        bound=_seen("it asked 5 and saw 4; loosened before the first run here"),
        control=SECOND,
    ),
    Claim(
        "SCoRe gains more at turn 2 than reinforcement of both turns without its stages and bonus",
        difference("delta", "score", "multi_turn_rl"),
        "the analysis of collapse",
        control=SECOND,
    ),
    Claim(
        "SCoRe's first answer is right more often than Pair-SFT's",
        difference("accuracy_t1", "score", "pair_sft"),
        "the analysis of fine-tuning",
        _paper(60.0 - 52.4, "60.0 - 52.4"),
        control=IMITATED,
    ),
    Claim(
        "Single-turn reinforcement does not teach correction: SCoRe's delta is above its",
        difference("delta", "score", "single_turn_rl"),
        "ablations",
        _paper(4.4 + 2.4, "4.4 + 2.4", "the ablation table"),
        control=FIRST,
    ),
    Claim(
        "The same with its weights kept by the second answer, as SCoRe's are",
        difference("delta", "score", "single_turn_rl_by_second"),
        "ablations; not in the paper, which keeps by training reward",
        control=SECOND,
    ),
    Claim(
        "Self-correction is learned: SCoRe's delta is above the base's",
        difference("delta", "score", "base"),
        "abstract: 15.6 points",
        _paper(4.4 + 11.2, "4.4 + 11.2"),
        control=SECOND,
    ),
    Claim(
        "Without its stages and bonus a policy learns to leave its answer as it is: SCoRe changes more of them",
        difference("answer_changed", "score", "multi_turn_rl"),
        "the analysis of collapse: edit distances, drawn and not printed",
        control=SECOND,
    ),
    Claim(
        "Single-turn reinforcement makes the second answer relatively worse than the base's: delta falls",
        difference("delta", "base", "single_turn_rl"),
        "not in the paper, where its delta rises (-2.4 against -11.2); seen in a small prototype",
        counter=True,
        control=FIRST,
    ),
    Claim(
        "SCoRe's gain is from reading its own first answer, not from a second try",
        difference("delta", "score", "blank_first_answer"),
        "not in the paper: turn 2 sees another problem's answer",
        counter=True,
        control=SECOND,
    ),
    Claim(
        "Stage I is needed: without it delta is smaller",
        difference("delta", "score", "score_no_stage_one"),
        "ablations",
        _paper(4.4 - 2.2, "4.4 - 2.2", "the ablation table"),
        control=SECOND,
    ),
    Claim(
        "The bonus is needed: without it delta is smaller",
        difference("delta", "score", "score_no_bonus"),
        "ablations",
        _paper(4.4 - 2.6, "4.4 - 2.6", "the ablation table"),
        control=SECOND,
    ),
    Claim(
        "SCoRe's delta is above STaR's",
        difference("delta", "score", "star"),
        "results",
        _paper(4.4 - 0.4, "4.4 - 0.4, with right-to-right traces"),
        control=SECOND,
    ),
    Claim(
        "The second answer is better than the first: SCoRe's delta is above 0",
        level("delta", "score", at_least=0.0),
        "results",
        _paper(4.4, "64.4 - 60.0"),
        control=SECOND,
        bound=Bound(Origin.PAPER, "its delta is above 0; nothing but the sign is asked"),
    ),
]

FIGURES = [
    Figure(
        "Accuracy by turn",
        "bar",
        {"accuracy_t1": "turn 1", "accuracy_t2": "turn 2"},
        x="answer",
        y="accuracy, %",
    ),
    Figure(
        "How far the second answer is from the first",
        "bar",
        {name: f"{high:g}" for name, (_, high) in EDITS.items()},
        x="edit distance over both lengths, up to",
        y="answers, %",
    ),
]
