"""What can be decided here of LongSkywork's claims, and what others and we hold against them.

The paper's own tables were not seen, so no claim carries a number of it. Claims marked as counter say what a
reader of "CIP wins" should ask: whether a document mask does as much, whether raising the RoPE base alone does,
what CIP forgets, and what the copying warm-up alone does for needles. All four were seen in an earlier prototype
that cut every document at its half, and may fall here, where cuts are random.
"""

from harness import Claim, Figure, Metric, difference, level

REACHES = (0, 1, 2, 3)  # documents between a chunk and its partner
LENGTHS = {"0.5L": 0.5, "1L": 1.0, "2L": 2.0}  # of the needle's prose, in training lengths
DEPTHS = (0, 25, 50, 75, 100)  # of the needle, in percent

METRICS = {
    "partner_accuracy": Metric("higher", "returning numbers right, first half n - 1 chunks back"),
    "partner_loss": Metric("lower", "loss on returning numbers, first half n - 1 chunks back", unit="nats"),
    "partner_gain": Metric("higher", "loss saved by the right first half n - 1 chunks back", unit="nats"),
    "single_accuracy": Metric("higher", "returning numbers right in a single document"),
    **{
        f"gain_after_{n}": Metric(
            "higher", f"loss saved by the right first half, {n} chunks between", unit="nats"
        )
        for n in REACHES
    },
    "prose_loss": Metric("lower", "loss on plain prose", unit="nats"),
    "table_exact": Metric("higher", "exact match on tables of four columns, as cells, of the trained size"),
    "table_exact_half_rows": Metric("higher", "the same with half of the rows"),
    "table_exact_double_rows": Metric("higher", "the same with twice the rows"),
    "table_exact_records": Metric("higher", "exact match on tables of four columns, as records"),
    **{
        f"table_depth_{q}": Metric("higher", f"exact match where the row is in quarter {q + 1}")
        for q in range(4)
    },
    "needle_start": Metric("higher", "exact match on needles before any training on them"),
    "needle_steps": Metric(
        "lower", "steps on needles to an exact match of 0.9; the last look + 10 where never"
    ),
    "needle_exact": Metric("higher", "exact match on needles after training on them (several keys)"),
    "needle_multi_value": Metric("higher", "both values of a key right"),
    "needle_multi_query": Metric("higher", "both of two keys' values right"),
    **{
        f"needle_{length}_{depth}": Metric(
            "higher", f"needles in {length} of prose at {depth} % of its depth"
        )
        for length in LENGTHS
        for depth in DEPTHS
    },
    "train_tokens_per_second": Metric("higher", "training speed of the last stage made", unit="tokens/s"),
}

CIP, SYNL, OURS = "Abstract (CIP)", "Abstract (SynL)", "an earlier prototype of ours"

CLAIMS = [
    Claim(
        "CIP teaches to continue a chunk from afar better than random concatenation: accuracy",
        difference("partner_accuracy", "cip", than="concatenate"),
        CIP,
    ),
    Claim(
        "CIP teaches to continue a chunk from afar better than random concatenation: nats gained",
        difference("partner_gain", "cip", than="concatenate"),
        CIP,
    ),
    Claim(
        "The copying warm-up and SynL make tables of the trained size answerable",
        level("table_exact", "synl", at_least=0.9),
        SYNL,
    ),
    Claim(
        "SynL needs fewer steps to find needles in prose than the copying warm-up alone",
        difference("needle_steps", "synl", than="copy_warm_up"),
        SYNL,
    ),
    Claim(
        "The whole recipe needs fewer steps to find needles than its long pretraining alone",
        difference("needle_steps", "cip_synl", than="cip"),
        SYNL,
    ),
    Claim(
        "An intra-document mask gains more than plain CIP at the same distance",
        difference("partner_gain", "cip_masked", than="cip"),
        OURS,
        counter=True,
    ),
    Claim(
        "Raising the RoPE base alone, with no long pretraining, already gains a nat",
        level("partner_gain", "base_scaled_only", at_least=1.0),
        OURS,
        counter=True,
    ),
    Claim(
        "CIP forgets copying inside a single document that concatenation keeps, a tenth of the numbers or more",
        difference("single_accuracy", "concatenate", than="cip", by=0.1),
        OURS,
        counter=True,
    ),
    Claim(
        "The copying warm-up alone, without SynL, comes to find needles",
        level("needle_exact", "copy_warm_up", at_least=0.9),
        OURS,
        counter=True,
    ),
]

FIGURES = [
    Figure(
        "Nats gained by the right first half",
        "line",
        {f"gain_after_{n}": float(n) for n in REACHES},
        x="documents between",
        y="nats",
    ),
    Figure(
        "Exact match on tables by the answer's row",
        "line",
        {f"table_depth_{q}": float(q + 1) for q in range(4)},
        x="quarter of the table",
        y="exact match",
    ),
]
