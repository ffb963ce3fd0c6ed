"""What is measured: perplexity at multiples of L in two protocols, by position, and what memory is worth."""

from harness import Metric

MULTIPLES = (1, 2, 4, 8, 16)
PROBES = ("0.5L", "1L", "2L", "4L")
EDGES = ("0.25L", "0.5L", "1L", "2L", "4L", "8L", "16L")


def _perplexity(text: str) -> Metric:
    return Metric("lower", f"perplexity {text}", reduce="exp_mean")


METRICS = {
    **{f"perplexity_{m}L": _perplexity(f"in windows of {m} x L, without overlap") for m in MULTIPLES},
    **{
        f"sliding_perplexity_{m}L": _perplexity(f"with a window of {m} x L sliding by the stride")
        for m in MULTIPLES
    },
    **{
        f"position_perplexity_{edge}": _perplexity(
            f"of tokens at positions up to {edge} of the longest window"
        )
        for edge in EDGES
    },
    **{
        f"retrieval_gain_{d}": Metric(
            "higher", f"nats saved on a key's value seen {d} tokens ago", unit="nats"
        )
        for d in PROBES
    },
    "train_tokens_per_second": Metric("higher", "training speed", unit="tokens/s"),
    "train_peak_memory": Metric("lower", "peak memory in training", unit="bytes"),
    "evaluation_tokens_per_second": Metric("higher", "scoring speed at the longest length", unit="tokens/s"),
    "evaluation_peak_memory": Metric("lower", "peak memory in scoring", unit="bytes"),
}
