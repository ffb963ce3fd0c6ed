"""What a set of instructions and its student are measured by."""

from collections.abc import Mapping
from typing import Any

from harness import Metric

SHARE = (0.0, 1.0)


def over_valid(columns: Mapping[str, Any]) -> float:
    """Return the mean of a column over the valid rows; NaN where none is."""
    value, valid = columns["value"], columns["valid"]
    return float((value * valid).sum() / valid.sum()) if valid.sum() else float("nan")


METRICS = {
    "valid": Metric("higher", "share of the samples that are usable requests", range=SHARE),
    "ended": Metric("higher", "share of the samples that ended within the token limit", range=SHARE),
    "words": Metric("higher", "words of a valid instruction", reduce=over_valid),
    "distinct_2": Metric(
        "higher", "share of different word pairs among all of the valid instructions", range=SHARE
    ),
    "neighbour_distance": Metric(
        "higher",
        "squared distance of a valid instruction to its nearest neighbour",
        reduce=over_valid,
        range=(0.0, 4.0),
    ),
    "seed_similarity": Metric(
        "lower",
        "ROUGE-L of a valid instruction with the seed task it is most like",
        reduce=over_valid,
        range=SHARE,
    ),
    "kept": Metric("higher", "share of the samples that the filter keeps", range=SHARE),
    "held_out_loss": Metric("lower", "the student's loss on the answers of unseen Magpie pairs", unit="nats"),
    "own_question_gain": Metric(
        "higher", "what the own question saves on the answers of unseen Magpie pairs", unit="nats"
    ),
    "question_loss": Metric(
        "lower", "the student's loss on the generator's answers to data.questions", unit="nats"
    ),
    "question_gain": Metric("higher", "what the own question saves there", unit="nats"),
    "people_loss": Metric(
        "lower", "the student's loss on people's answers to seed tasks that no method has seen", unit="nats"
    ),
    "nearer_answers": Metric(
        "higher",
        "data.questions that a student answers more like the generator than the other does (ROUGE-L)",
        range=SHARE,
        versus=True,
    ),
    "lm_eval": Metric("higher", "accuracy of the student on lm-eval's tasks", range=SHARE),
    "train_tokens_per_second": Metric("higher", "the student's training speed", unit="tokens/s"),
    "train_peak_memory": Metric("lower", "peak memory in training", unit="bytes"),
}
