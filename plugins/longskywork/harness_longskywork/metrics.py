"""What is measured: chunks continued from afar, tables, needles by length and depth, and plain prose."""

from harness import Metric

REACHES = (0, 1, 2, 3)  # documents between a chunk and its partner
LENGTHS = {"0.5L": 0.5, "1L": 1.0, "2L": 2.0}  # of the needle's prose, in training lengths
DEPTHS = (0, 25, 50, 75, 100)  # of the needle, in percent


def _share(text: str) -> Metric:
    return Metric("higher", text, range=(0.0, 1.0))


METRICS = {
    "partner_accuracy": _share("returning numbers right, first half n - 1 chunks back"),
    "partner_loss": Metric("lower", "loss on returning numbers, first half n - 1 chunks back", unit="nats"),
    "partner_gain": Metric("higher", "loss saved by the right first half n - 1 chunks back", unit="nats"),
    "single_accuracy": _share("returning numbers right in a single document"),
    **{
        f"gain_after_{n}": Metric(
            "higher", f"loss saved by the right first half, {n} chunks between", unit="nats"
        )
        for n in REACHES
    },
    "prose_loss": Metric("lower", "loss on plain prose", unit="nats"),
    "table_exact": _share("exact match on tables of four columns, as cells, of the trained size"),
    "table_exact_half_rows": _share("the same with half of the rows"),
    "table_exact_double_rows": _share("the same with twice the rows"),
    "table_exact_records": _share("exact match on tables of four columns, as records"),
    **{f"table_depth_{q}": _share(f"exact match where the row is in quarter {q + 1}") for q in range(4)},
    "needle_start": _share("exact match on needles before any training on them"),
    "needle_steps": Metric(
        "lower", "steps on needles to an exact match of 0.9; the last look + 10 where never"
    ),
    "needle_exact": _share("exact match on needles after training on them (several keys)"),
    "needle_multi_value": _share("both values of a key right"),
    "needle_multi_query": _share("both of two keys' values right"),
    **{
        f"needle_{length}_{depth}": _share(f"needles in {length} of prose at {depth} % of its depth")
        for length in LENGTHS
        for depth in DEPTHS
    },
    "train_tokens_per_second": Metric("higher", "training speed of the last stage made", unit="tokens/s"),
}
