"""What is measured: a related context's worth, losses on both packings by place, and the order before any training."""

from harness import Metric

PACKINGS = ("related", "shuffled")
PLACES = ("first", "second", "later")
CONTEXTS = {"related": "its own neighbours", "unrelated": "another's neighbours", "no": "nothing"}
SHARE, COSINE = (0.0, 1.0), (-1.0, 1.0)

METRICS = {
    "context_gain": Metric(
        "higher", "loss of a held-out document after another's neighbours, minus after its own", "nats/token"
    ),
    "position_gain": Metric(
        "higher", "loss after nothing minus after another document's neighbours", "nats/token"
    ),
    "second_half_gain": Metric(
        "higher",
        "loss of a document's second half after another's first half, minus after its own",
        "nats/token",
    ),
    **{
        f"loss_after_{name}": Metric("lower", f"loss of a held-out document after {what}", "nats/token")
        for name, what in CONTEXTS.items()
    },
    **{
        f"loss_{packing}": Metric(
            "lower", f"loss on held-out documents in {packing} windows, as trained", "nats/token"
        )
        for packing in PACKINGS
    },
    **{
        f"loss_{packing}_{place}": Metric(
            "lower", f"the same of each {packing} window's {place} document", "nats/token"
        )
        for packing in PACKINGS
        for place in PLACES
    },
    "perplexity_shuffled": Metric(
        "lower", "perplexity on held-out documents in shuffled windows", reduce="exp_mean"
    ),
    "loss_own_packing": Metric(
        "lower",
        "loss on held-out windows packed as the method's own: easier text where related",
        "nats/token",
    ),
    "repetition": Metric(
        "lower", "share of sampled tokens that end a run of 4 already in their text", range=SHARE
    ),
    "adjacent_similarity": Metric("higher", "cosine of a training document with the next one", range=COSINE),
    "window_similarity": Metric("higher", "cosine of two training documents of one window", range=COSINE),
    "between_similarity": Metric(
        "lower", "cosine of training documents in windows that follow each other", range=COSINE
    ),
    "documents_cut": Metric("lower", "share of training documents in more than one window", range=SHARE),
    "documents_used": Metric("higher", "share of training documents in the order", range=SHARE),
    "classification_accuracy": Metric("higher", "mean accuracy on seven sets, 32 examples each", range=SHARE),
    "reading_accuracy": Metric("higher", "mean accuracy on RACE and BoolQ", range=SHARE),
    "train_tokens_per_second": Metric("higher", "training speed", unit="tokens/s"),
    "train_peak_memory": Metric("lower", "peak memory in training", unit="bytes"),
}
