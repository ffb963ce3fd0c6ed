"""What an adapted model is measured by, and how corpus BLEU comes of the sentences' counts."""

from collections.abc import Mapping
from typing import Any

from harness import Metric

SHARE, POINTS = (0.0, 1.0), (0.0, 100.0)


def bleu(columns: Mapping[str, Any]) -> float:
    """Return corpus BLEU of sentences' counts, as sacrebleu computes it."""
    from sacrebleu.metrics import BLEU

    matched = [int(columns[f"matched_{n}"].sum()) for n in range(1, 5)]
    possible = [int(columns[f"possible_{n}"].sum()) for n in range(1, 5)]
    lengths = int(columns["length"].sum()), int(columns["reference_length"].sum())
    return float(BLEU.compute_bleu(matched, possible, *lengths, smooth_method="exp").score)


METRICS = {
    "loss": Metric("lower", "loss on the task's test data", unit="nats"),
    "perplexity": Metric("lower", "perplexity on the task's test data", reduce="exp_mean"),
    "accuracy": Metric("higher", "accuracy of the labels", range=SHARE),
    "bleu": Metric("higher", "corpus BLEU against all references", reduce=bleu, range=POINTS),
    "rouge_l": Metric("higher", "ROUGE-L F, best of the references, times 100", range=POINTS),
    "general_perplexity": Metric("lower", "perplexity on the general text afterwards", reduce="exp_mean"),
    "forgetting": Metric("lower", "rise of the loss on the general text", unit="nats"),
    "lm_eval": Metric("higher", "accuracy of the merged model on an lm-eval task", range=SHARE),
    "trainable_parameters": Metric("lower", "parameters that are trained", exact=True),
    "head_parameters": Metric("lower", "of these, in a classifier's head", exact=True),
    "total_parameters": Metric("lower", "parameters in all while training", exact=True),
    "optimizer_bytes": Metric("lower", "Adam's state", unit="bytes", exact=True),
    "adapter_bytes": Metric("lower", "file with what was trained", unit="bytes", exact=True),
    "merged_bytes": Metric("lower", "file of the merged model", unit="bytes", exact=True),
    "checkpoint_bytes": Metric("lower", "file of base, A and B, unmerged", unit="bytes", exact=True),
    "merge_error": Metric("lower", "largest difference of merged from unmerged logits"),
    "merged_latency": Metric("lower", "time of a forward pass once merged, over the base's"),
    "unmerged_latency": Metric("lower", "time of a forward pass with A and B beside, over the base's"),
    "latency": Metric("lower", "time of a forward pass, merged where that can be, over the base's"),
    "train_peak_memory": Metric("lower", "peak memory in training", unit="bytes"),
    "train_tokens_per_second": Metric("higher", "training speed", unit="tokens/s"),
}
