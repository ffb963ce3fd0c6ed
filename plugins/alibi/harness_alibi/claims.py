"""What the paper claims and measured, and what can be measured here to decide it.

Tables 2 to 5 are perplexities without overlap, tables 13 to 15 with a sliding window of stride 1.
The paper's prose says ALiBi wins at every length; its own tables 2 and 5 say that below about 2L
T5's bias, and for L of 64 and 128 sinusoids, are ahead. So nothing is claimed at L here. Table 1's
speeds are no claim either: the runs of a sweep are timed at different moments beside other runs, and
a ratio of such times judges the machine. Speed is shown, and compared side by side elsewhere.
"""

from harness import Claim, Figure, Metric, Reported, Seen, ratio

MULTIPLES = (1, 2, 4, 8, 16)
PROBES = ("0.5L", "1L", "2L", "4L")
EDGES = ("0.25L", "0.5L", "1L", "2L", "4L", "8L", "16L")

METRICS = {
    **{
        f"perplexity_{m}L": Metric(
            "lower", f"perplexity in windows of {m} x L, without overlap", reduce="exp_mean"
        )
        for m in MULTIPLES
    },
    **{
        f"sliding_perplexity_{m}L": Metric(
            "lower", f"perplexity with a window of {m} x L sliding by the stride", reduce="exp_mean"
        )
        for m in MULTIPLES
    },
    **{
        f"position_perplexity_{edge}": Metric(
            "lower",
            f"perplexity of tokens at positions up to {edge} of the longest window",
            reduce="exp_mean",
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

WIKITEXT = "WikiText-103 validation, 247 M parameters"


def _reported(value: float, setting: str, table: str, seen: Seen = Seen.PAPER) -> Reported:
    return Reported(value, f"{WIKITEXT}, {setting}", table, seen)


CLAIMS = [
    Claim(
        "Trained at L, ALiBi's perplexity does not rise at 8L",
        ratio("perplexity_8L", "alibi", over="perplexity_1L", at_most=1.01),
        "Table 2",
        _reported(18.40 / 19.73, "L = 512, at 3512 over at 512 (18.40 / 19.73)", "Table 2"),
    ),
    Claim(
        "ALiBi's perplexity does not rise at 16L either",
        ratio("perplexity_16L", "alibi", over="perplexity_1L", at_most=1.01),
        "Table 3",
        _reported(17.98 / 18.66, "L = 1024, at 16024 over at 1024 (17.98 / 18.66)", "Table 3"),
    ),
    Claim(
        "Sinusoidal positions break beyond L: perplexity at 8L",
        ratio("perplexity_8L", "sinusoidal", over="perplexity_1L", at_least=1.3),
        "Table 2",
        _reported(178.97 / 20.05, "L = 512, at 3512 over at 512 (178.97 / 20.05)", "Table 2"),
    ),
    Claim(
        "Sinusoidal positions have no use beyond L: already at 2L",
        ratio("perplexity_2L", "sinusoidal", over="perplexity_1L", at_least=1.1),
        "Table 2",
        _reported(43.54 / 20.05, "L = 512, at 1012 over at 512 (43.54 / 20.05)", "Table 2"),
    ),
    Claim(
        "At 8L ALiBi is far ahead of sinusoidal positions",
        ratio("perplexity_8L", "sinusoidal", than="alibi", at_least=1.4),
        "Table 2",
        _reported(178.97 / 18.40, "L = 512, at 3512 (178.97 / 18.40)", "Table 2"),
    ),
    Claim(
        "Rotary positions break too, later: perplexity at 8L",
        ratio("perplexity_8L", "rotary", over="perplexity_1L", at_least=1.3),
        "Table 2",
        _reported(35.54 / 20.07, "L = 512, at 3512 over at 512 (35.54 / 20.07)", "Table 2"),
    ),
    Claim(
        "T5's bias rises slowly: perplexity at 8L",
        ratio("perplexity_8L", "t5_bias", over="perplexity_1L", at_least=1.0),
        "Table 2",
        _reported(22.91 / 19.65, "L = 512, at 3512 over at 512 (22.91 / 19.65)", "Table 2"),
    ),
    Claim(
        "With a sliding window ALiBi stays flat at 8L: it neither breaks nor looks further back",
        ratio("sliding_perplexity_8L", "alibi", over="sliding_perplexity_1L", at_most=1.05),
        "Table 15, Appendix B",
        _reported(18.30 / 17.98, "L = 512, stride 1, at 3072 over at 512 (18.30 / 17.98)", "Table 15"),
    ),
    Claim(
        "With a sliding window ALiBi gains nothing at 8L: the fall without overlap is the protocol's",
        ratio("sliding_perplexity_8L", "alibi", over="sliding_perplexity_1L", at_least=0.99),
        "Table 15, Appendix B",
        _reported(18.30 / 17.98, "L = 512, stride 1, at 3072 over at 512 (18.30 / 17.98)", "Table 15"),
    ),
    Claim(
        "Sinusoidal positions break under a sliding window as well",
        ratio("sliding_perplexity_8L", "sinusoidal", over="sliding_perplexity_1L", at_least=1.3),
        "Table 13, Appendix B",
        _reported(360.12 / 18.35, "L = 512, stride 1, at 3072 over at 512 (360.12 / 18.35)", "Table 13"),
    ),
    Claim(
        "At L itself rotary positions are at least as good as ALiBi",
        ratio("perplexity_1L", "rotary", than="alibi", at_most=1.0),
        "against the prose of section 3; Table 5 has rotary behind at L = 512",
        _reported(20.07 / 19.73, "L = 512 (20.07 / 19.73)", "Table 5"),
        counter=True,
    ),
]

FIGURES = [
    Figure(
        "Perplexity beyond the training length, without overlap",
        "line",
        {f"perplexity_{m}L": float(m) for m in MULTIPLES},
        x="evaluation length, in multiples of L",
        y="perplexity",
        log_x=True,
        log_y=True,
    ),
    Figure(
        "The same with a sliding window: no early tokens without context",
        "line",
        {f"sliding_perplexity_{m}L": float(m) for m in MULTIPLES},
        x="evaluation length, in multiples of L",
        y="perplexity",
        log_x=True,
        log_y=True,
    ),
    Figure(
        "Perplexity by position in the longest window",
        "line",
        {f"position_perplexity_{edge}": float(edge[:-1]) for edge in EDGES},
        x="position, up to this multiple of L",
        y="perplexity",
        log_x=True,
        log_y=True,
    ),
    Figure(
        "Flat perplexity is not long memory: what a value seen before is worth",
        "line",
        {f"retrieval_gain_{d}": float(d[:-1]) for d in PROBES},
        x="distance back, in multiples of L",
        y="nats saved per token",
        log_x=True,
    ),
]
