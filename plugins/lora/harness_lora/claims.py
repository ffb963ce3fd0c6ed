"""What the paper claims and measured, and what can be measured here to decide it.

"LoRA matches full fine-tuning" is asked as the share of full fine-tuning's gain over the untouched base,
each method at its own best rate. Two claims that others made against the paper stand beside its own:
that adapting all linear layers beats its choice of q and v, and that tuned variants end close together.
"""

from harness import Bound, Claim, Figure, Origin, Reported, Seen, difference, level, ratio, share

GPT3 = "GPT-3 175B"


PROTOTYPE_DATA = "tiny-shakespeare, with a base of WikiText-2"


def _paper(value: float, setting: str, table: str, same: bool = False) -> Reported:
    return Reported(value, setting, table, Seen.PAPER, same)


def _worth(why: str) -> Bound:
    return Bound(Origin.INTEREST, why)


# Trained whole the model must get better on the new text and forget of the old, or there is nothing to compare.
LEARNS = difference("loss", "full", "base")
FORGETS = difference("forgetting", "base", "full")
ADAPTED = difference("loss", "lora_r8", "base")

CLAIMS = [
    Claim(
        "LoRA of rank 8 on all linear layers gets at least 93 % of full fine-tuning's gain",
        share("loss", "lora_r8", of=("base", "full"), at_least=0.93),
        "section 5; the paper: on par or better (Tables 2 to 4)",
        _paper(87.2 / 86.4, "GLUE average, RoBERTa base, over full fine-tuning's (87.2 / 86.4)", "Table 2"),
        bound=Bound(Origin.PROTOTYPE, "98 % was seen", PROTOTYPE_DATA),
        control=LEARNS,
    ),
    Claim(
        "LoRA performs on par or better: its loss is at most 1 % above full fine-tuning's",
        ratio("loss", "lora_r8", than="full", at_most=1.01),
        "abstract",
        _paper(70.4 / 68.2, "E2E BLEU, GPT-2 M, over full fine-tuning's (70.4 / 68.2)", "Table 3"),
        bound=_worth("on par: a hundredth of the loss"),
        control=LEARNS,
    ),
    Claim(
        "Rank 8 is better than rank 4 on all linear layers",
        difference("loss", "lora_r8", "lora_r4"),
        "section 7.2",
        _paper(1.18 - 1.17, "E2E validation loss, GPT-2 M, r = 4 less r = 8", "Table 18", same=True),
        control=LEARNS,
    ),
    Claim(
        "Rank 4 is better than rank 1 on all linear layers",
        difference("loss", "lora_r4", "lora_r1"),
        "section 7.2",
        _paper(1.23 - 1.18, "E2E validation loss, GPT-2 M, r = 1 less r = 4", "Table 18", same=True),
        control=LEARNS,
    ),
    Claim(
        "A very small rank suffices: rank 1 on all linear layers is within 3 % of rank 8",
        ratio("loss", "lora_r1", than="lora_r8", at_most=1.03),
        "section 7.2",
        _paper(
            74.0 / 74.1, f"WikiSQL accuracy, {GPT3}, q, k, v, o, r = 8 over r = 1 (74.0 / 74.1)", "Table 6"
        ),
        bound=_worth("next to nothing: three hundredths of the loss"),
        control=LEARNS,
    ),
    Claim(
        "LoRA is better than training the biases alone (BitFit)",
        difference("loss", "lora_r8", "bitfit"),
        "section 5",
        _paper(87.2 - 85.2, "GLUE average, RoBERTa base (87.2 - 85.2)", "Table 2"),
        control=LEARNS,
    ),
    Claim(
        "LoRA is better than training the output layer alone",
        difference("loss", "lora_r8", "head_only"),
        "section 5; the paper trains the top two layers (FT-Top2)",
        _paper(70.4 - 68.1, "E2E BLEU, GPT-2 M, over the top two layers (70.4 - 68.1)", "Table 3"),
        control=LEARNS,
    ),
    Claim(
        "What is kept for a task is at most a tenth of the model",
        ratio("adapter_bytes", "lora_r8", than="full", at_most=0.1),
        "section 4.2",
        _paper(35 / 350_000, f"{GPT3}, r = 4 on q and v (35 MB / 350 GB)", "section 4.2", same=True),
        bound=Bound(Origin.PROTOTYPE, "rank 8 at width 128 fixes it; the paper has far less", PROTOTYPE_DATA),
    ),
    Claim(
        "Training takes at most 50 % of the memory of full fine-tuning",
        ratio("train_peak_memory", "lora_r8", than="full", at_most=0.5),
        "section 4.2",
        _paper(350 / 1200, f"{GPT3} (350 GB / 1.2 TB)", "section 4.2", same=True),
        # Whatever is trained, the process holds torch and the activations: one layer alone shows how low it can go.
        control=ratio("train_peak_memory", "head_only", than="full", at_most=0.5),
        bound=Bound(Origin.PAPER, "section 4.2 saves up to two thirds; half is asked here"),
    ),
    Claim(
        "Training is a quarter faster than full fine-tuning",
        ratio("train_tokens_per_second", "lora_r8", than="full", at_least=1.25),
        "section 4.2",
        _paper(43.1 / 32.5, f"{GPT3}, tokens/s per V100 (43.1 / 32.5)", "section 4.2", same=True),
        control=ratio("train_tokens_per_second", "head_only", than="full", at_least=1.25),
        bound=Bound(Origin.PAPER, "a speed-up of 25 % during training"),
    ),
    Claim(
        "Merging changes nothing: logits differ by at most 1e-4",
        level("merge_error", "lora_r8", at_most=1e-4),
        "section 4.1",
        bound=_worth("what float32 may round"),
        control=ADAPTED,
    ),
    Claim(
        "Merged, a model answers as fast as its base: within a twentieth",
        level("merged_latency", "lora_r8", at_most=1.05),
        "section 4.1, no additional latency; Table 1",
        _paper(1.0, "latency of the merged model over full fine-tuning's, GPT-2 M", "Table 1", same=True),
        # Products that are not merged take time: where that is not seen, no difference in time would be.
        control=level("unmerged_latency", "lora_r8", at_least=1.05),
        bound=_worth("a twentieth: the least that Table 1 tells of adapters in batches of 16 is 5 %"),
    ),
    Claim(
        "An adapter slows the model down, and merged LoRA does not: by a twentieth",
        ratio("latency", "adapters", than="lora_r8", at_least=1.05),
        "section 3; Table 1",
        _paper(
            1.303,
            "latency with Adapter-H over the merged model's, GPT-2 M, batch 1 of 128 tokens (+30.3 %)",
            "Table 1",
            same=True,
        ),
        # Products beside the base take time here too, or no added ones would be seen.
        control=level("unmerged_latency", "lora_r8", at_least=1.05),
        bound=_worth("a twentieth: the least that Table 1 tells of adapters in batches of 16 is 5 %"),
    ),
    Claim(
        "LoRA is better than adapters with as many parameters",
        difference("loss", "lora_r8", "adapters"),
        "section 5; Tables 2 to 4",
        _paper(70.4 - 66.3, "E2E BLEU, GPT-2 M, 0.35 M against 0.37 M of Adapter-L (70.4 - 66.3)", "Table 3"),
        # Adapters must learn something, or it is their training that fails.
        control=difference("loss", "adapters", "base"),
    ),
    Claim(
        "LoRA on q and v is better than prefixes with as many parameters",
        difference("loss", "lora_attention", "prefix"),
        "section 5; Tables 3 and 4",
        _paper(
            70.4 - 69.7, "E2E BLEU, GPT-2 M, 0.35 M each, over prefix-layer tuning (70.4 - 69.7)", "Table 3"
        ),
        control=difference("loss", "prefix", "base"),
    ),
    Claim(
        "At equal parameters q and v at rank 8 are better than q alone at rank 16",
        difference("loss", "lora_attention", "lora_q"),
        "Table 5",
        _paper(
            73.7 - 70.4, f"WikiSQL accuracy, {GPT3}, q, v at r = 4 less q at r = 8 (73.7 - 70.4)", "Table 5"
        ),
        control=LEARNS,
    ),
    Claim(
        "At equal parameters q, k, v and o at rank 4 are as good as q and v at rank 8: within a hundredth",
        ratio("loss", "lora_qkvo", than="lora_attention", at_most=1.01),
        "Table 5",
        _paper(73.7 / 73.7, f"WikiSQL accuracy, {GPT3}, q, v at r = 4 over q, k, v, o at r = 2", "Table 5"),
        control=LEARNS,
        bound=_worth("on par: a hundredth of the loss"),
    ),
    Claim(
        "With few data LoRA is better than full fine-tuning: of a twentieth of the text",
        difference("loss", "lora_few", "full_few"),
        "Table 16",
        _paper(63.8 - 60.2, f"MNLI accuracy with 100 examples, {GPT3} (63.8 - 60.2)", "Table 16"),
        control=difference("loss", "full", "full_few"),
    ),
    Claim(
        "Adapting all linear layers beats the paper's q and v, at fewer parameters",
        difference("loss", "lora_r1", "lora_attention"),
        "against section 7.1 (LoRA Without Regret, Thinking Machines 2025)",
        counter=True,
        control=LEARNS,
    ),
    Claim(
        "Once the rate is tuned, rsLoRA ends within 2 % of LoRA",
        ratio("loss", "rslora", than="lora_r8", at_least=0.98),
        "against later variants (arXiv 2602.04998)",
        counter=True,
        bound=_worth("close together: a fiftieth of the loss"),
        control=LEARNS,
    ),
    Claim(
        "LoRA forgets less than full fine-tuning",
        difference("forgetting", "lora_r8", "full"),
        "not in the paper; PEFT's method comparison measures it",
        counter=True,
        control=FORGETS,
    ),
]

FIGURES = [
    Figure(
        "The task and what it costs elsewhere",
        "bar",
        {"perplexity": "the task", "general_perplexity": "the general text"},
        x="perplexity on",
        y="perplexity",
        log_y=True,
    ),
    Figure(
        "What is stored",
        "bar",
        {
            "adapter_bytes": "what was trained",
            "merged_bytes": "merged",
            "checkpoint_bytes": "checkpoint",
        },
        x="storage form",
        y="bytes",
        log_y=True,
    ),
]
