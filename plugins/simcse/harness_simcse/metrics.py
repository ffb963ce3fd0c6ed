"""What an encoder is measured by: the seven STS sets at two sets of weights, and the shape of the space."""

from harness import Metric

SHARE, CORRELATION = (0.0, 1.0), (-1.0, 1.0)
SETS = ("STS12", "STS13", "STS14", "STS15", "STS16", "STSB", "SICKR")  # the seven of the paper's average
DIRECTIONS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
WHICH = {"best": "weights chosen on the validation pairs", "last": "weights after the last step"}

METRICS = {
    **{
        f"test@{w}": Metric(
            "higher", f"Spearman on the pairs judged by, {text}", reduce="spearman", range=CORRELATION
        )
        for w, text in WHICH.items()
    },
    **{
        f"{name}@{w}": Metric(
            "higher", f"Spearman on {name}, all pairs at once, {text}", reduce="spearman", range=CORRELATION
        )
        for w, text in WHICH.items()
        for name in SETS
    },
    **{
        f"average@{w}": Metric("higher", f"mean of the seven sets' correlations, {text}", range=CORRELATION)
        for w, text in WHICH.items()
    },
    "alignment": Metric("lower", "mean squared distance of pairs that mean the same"),
    "uniformity": Metric("lower", "log of the mean of exp(-2 squared distance) over all pairs of sentences"),
    **{
        f"singular_value_{k}": Metric(
            "lower", f"singular value {k} of the unit vectors, share of the sum of all", range=SHARE
        )
        for k in DIRECTIONS
    },
    "skipped_rows": Metric(
        "lower", "rows of all data left out: not judged, empty, or trained on and judged", unit="rows"
    ),
    "train_tokens_per_second": Metric("higher", "training speed", unit="tokens/s"),
    "train_peak_memory": Metric("lower", "peak memory in training", unit="bytes"),
}
