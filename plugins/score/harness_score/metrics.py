"""What is measured of two answers: accuracy of both, what the second changed, and how far both lie from the base."""

from typing import Literal

from harness import Metric

EDITS = {  # (above, up to): ratio of the edit distance to both lengths
    "edits_none": (-1.0, 0.0),
    "edits_to_10": (0.0, 0.1),
    "edits_to_20": (0.1, 0.2),
    "edits_to_30": (0.2, 0.3),
    "edits_to_50": (0.3, 0.5),
    "edits_more": (0.5, 1.0),
}


def _percent(text: str, better: Literal["higher", "lower"] = "higher") -> Metric:
    return Metric(better, text, unit="%", range=(0.0, 100.0))


def _points(text: str) -> Metric:
    return Metric("higher", text, unit="points", range=(-100.0, 100.0))


METRICS = {
    "accuracy_t1": _percent("accuracy of the first answer"),
    "accuracy_t2": _percent("accuracy of the second answer"),
    "delta": _points("accuracy gained from the first answer to the second"),
    "wrong_to_right": _percent("first wrong, then right, of all problems"),
    "right_to_wrong": _percent("first right, then wrong, of all problems", "lower"),
    "mcnemar_p": Metric(
        "lower", "McNemar's exact p-value: gains and losses are equally likely", range=(0.0, 1.0)
    ),
    "answer_changed": _percent("second answers that differ from the first"),
    "edit_ratio": Metric("higher", "edit distance over both answers' lengths", range=(0.0, 1.0)),
    **{
        name: _percent(f"edit ratio above {max(low, 0):g} up to {high:g}" if high else "copies")
        for name, (low, high) in EDITS.items()
    },
    "sampled_accuracy_t1": _percent("accuracy of the first answer, sampled"),
    "sampled_accuracy_t2": _percent("accuracy of the second answer, sampled"),
    "sampled_delta": _points("accuracy gained, sampled"),
    "kl_t1": Metric("lower", "KL of first answers to the base", unit="nats"),
    "kl_t2": Metric("lower", "KL of second answers to the base", unit="nats"),
    "answers_cut_off": _percent("answers that did not end", "lower"),
    "lm_eval": _percent("accuracy on lm-eval's tasks"),
    "engine_gap_mean": Metric("lower", "log-probabilities, engine less trainer: mean size", unit="nats"),
    "engine_gap_largest": Metric("lower", "log-probabilities, engine less trainer: largest", unit="nats"),
    "train_tokens_per_second": Metric("higher", "training speed, in problems or traces", unit="rows/s"),
    "train_peak_memory": Metric("lower", "peak memory in training", unit="bytes"),
}
