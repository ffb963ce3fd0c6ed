"""Judge an adapted model: how well it does the task, what was forgotten, and what it costs to keep.

The three storage forms are really written and the merged one is read back: its logits against the
unmerged model's are the merge error. What a method has not (a score of generated text without prompts,
an adapter without LoRA) is absent, with the reason.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness import Items
from harness.data.jsonl import read_jsonl
from harness.data.tokens import starts, together
from harness.nn.evals import lm_eval_accuracy, nll, token_nll
from harness.nn.generate import generate
from harness.nn.overlap import rouge_l, words
from harness_lora.adapter import WEIGHTS
from harness_lora.bases import load_base, run_base
from harness_lora.forms import MODEL, write
from harness_lora.injection import parameter_counts
from harness_lora.preparation import Form, form_of
from harness_lora.settings import Trains
from harness_lora.training import TRAINED, load, padded

PASSES = 25  # of each model, to tell their times by the median
BESIDE = (Trains.adapters, Trains.prefix)  # what is added stays beside the base for good
ROWS = 32  # examples or windows that are scored at once


def evaluate(run: Any, split: str) -> dict[str, float | Items]:
    """Return the task's metrics on `split` with their items, forgetting, counts, sizes and merge error."""
    form = form_of(run.data_dir)
    model = load(run)
    run.progress(0, 3, note="scoring")
    found = SCORES[form.kind](run, model, split)
    for name, kinds in NEEDS.items():
        if form.kind not in kinds:
            run.absent(name, f"{' or '.join(kinds)} data are needed, these are {form.kind}")
    run.progress(1, 3, note="forgetting")
    found |= forgetting(run, model, form)
    found |= counts(model)
    run.progress(2, 3, note="storage forms")
    return found | storage(run, model, form, split)


def score_text(run: Any, model: Any, split: str) -> dict[str, float | Items]:
    """Return loss and perplexity of every token of the split; an item is a window."""
    losses = windows(run, model, run.data_dir / f"{split}.npy")
    return {"loss": losses, "perplexity": losses}


def windows(run: Any, model: Any, path: Path, most: int | None = None) -> Items:
    """Return the mean loss of each window of the task's length, of `most` tokens; windows of one text are not alone."""
    length = run.task.length
    tokens = np.load(path, mmap_mode="r")
    targets = len(tokens) - 1 if most is None else min(most, len(tokens) - 1)
    targets -= targets % length
    losses = nll(model, tokens, length, targets=targets, batch_size=ROWS, device=run.device)
    means = losses.reshape(-1, length).mean(axis=1)
    ids = [f"window-{i}" for i in range(len(means))]
    return Items({"nll": means}, ids, **together(starts(path), np.arange(len(means)) * length))


def score_pairs(run: Any, model: Any, split: str) -> dict[str, float | Items]:
    """Return loss and perplexity of the completions, and BLEU and ROUGE-L of generated answers."""
    from transformers import AutoTokenizer

    examples = read_jsonl(run.data_dir / f"{split}.jsonl")
    losses: list[float] = []
    for batch in in_batches(examples, run.device):
        with torch.inference_mode():
            masked = partial(model, attention_mask=batch["attention_mask"], use_cache=False)
            each = token_nll(masked, batch["input_ids"], batch["labels"].clamp(min=0), run.device)
        scored = batch["labels"].cpu() != -100
        losses += ((each * scored).sum(1) / scored.sum(1).clamp(min=1)).tolist()
    prompts = {example["text"]: example for example in examples}
    number = {text: i for i, text in enumerate(prompts)}
    ids = [f"example-{i}" for i in range(len(examples))]
    items = Items({"nll": losses}, ids, {"prompt": [number[example["text"]] for example in examples]})
    asked = list(prompts.values())[: run.task.prompts]
    tokenizer = AutoTokenizer.from_pretrained(run.data_dir / "tokenizer")
    answers = generate(
        model,
        [example["ids"][: example["prompt"]] for example in asked],
        max_new_tokens=run.task.new_tokens,
        temperature=0.0,
        eos_ids=[tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else (),
        batch_size=ROWS,
    )
    texts = [text.strip() for text in tokenizer.batch_decode(answers, skip_special_tokens=True)]
    references = [example["references"] for example in asked]
    ids = [f"prompt-{i}" for i in range(len(asked))]
    return {
        "loss": items,
        "perplexity": items,
        "bleu": Items(bleu_counts(texts, references), ids),
        "rouge_l": Items({"f": best_rouge_l(texts, references)}, ids),
    }


def score_labels(run: Any, model: Any, split: str) -> dict[str, float | Items]:
    """Return accuracy and loss of the labels."""
    examples = read_jsonl(run.data_dir / f"{split}.jsonl")
    right: list[float] = []
    losses: list[float] = []
    for batch in in_batches(examples, run.device):
        with torch.inference_mode():
            logits = model(
                input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
            ).logits.float()
        losses += torch.nn.functional.cross_entropy(logits, batch["labels"], reduction="none").tolist()
        right += (logits.argmax(-1) == batch["labels"]).float().tolist()
    ids = [f"example-{i}" for i in range(len(examples))]
    return {"accuracy": Items({"right": right}, ids), "loss": Items({"nll": losses}, ids)}


SCORES = {"text": score_text, "pairs": score_pairs, "labels": score_labels}
NEEDS = {
    "perplexity": ("text", "pairs"), "bleu": ("pairs",), "rouge_l": ("pairs",), "accuracy": ("labels",),
    "general_perplexity": ("text", "pairs"), "forgetting": ("text", "pairs"), "lm_eval": ("text", "pairs"),
}  # fmt: skip


def in_batches(examples: list[dict[str, Any]], device: str) -> Iterator[dict[str, Tensor]]:
    """Yield the examples in order, padded, on the device."""
    for start in range(0, len(examples), ROWS):
        yield {n: t.to(device) for n, t in padded(examples[start : start + ROWS]).items()}


def bleu_counts(texts: list[str], references: list[list[str]]) -> dict[str, list[float]]:
    """Return what corpus BLEU is made of, for each text against all its references (sacrebleu's counts)."""
    from sacrebleu.metrics import BLEU

    scores = [BLEU(effective_order=True).sentence_score(t, r) for t, r in zip(texts, references, strict=True)]
    columns: dict[str, list[float]] = {}
    for n in range(4):
        columns[f"matched_{n + 1}"] = [score.counts[n] for score in scores]
        columns[f"possible_{n + 1}"] = [score.totals[n] for score in scores]
    columns["length"] = [score.sys_len for score in scores]
    columns["reference_length"] = [score.ref_len for score in scores]
    return columns


def best_rouge_l(texts: list[str], references: list[list[str]]) -> list[float]:
    """Return the best ROUGE-L F of each text over its references, times 100."""
    return [
        100 * max(rouge_l(words(reference), words(text)) for reference in own)
        for text, own in zip(texts, references, strict=True)
    ]


def forgetting(run: Any, model: Any, form: Form) -> dict[str, float | Items]:
    """Return perplexity on the general text now, and the rise of its loss over the base's."""
    if form.kind == "labels":
        return {}
    general = run.data_dir / "general.npy"
    after, before = (
        windows(run, one, general, run.task.general_targets) for one in (model, run_base(run).to(run.device))
    )
    rise = np.asarray(after.columns["nll"]) - np.asarray(before.columns["nll"])
    return {"general_perplexity": after, "forgetting": replace(after, columns={"rise": rise})}


def counts(model: Any) -> dict[str, float | Items]:
    """Return the parameter counts, and the bytes of Adam's state: two numbers a weight, a step a tensor."""
    found = parameter_counts(model)
    tensors = sum(p.requires_grad for p in model.parameters())
    return {
        "trainable_parameters": float(found["trainable"]),
        "head_parameters": float(found["head"]),
        "total_parameters": float(found["total"]),
        "optimizer_bytes": float(8 * found["trainable"] + 4 * tensors),
    }


def storage(run: Any, model: Any, form: Form, split: str) -> dict[str, float | Items]:
    """Write the three forms to a temporary folder; return their bytes, the merge error, lm-eval's score.

    What is kept for a task counts as `adapter_bytes` for every method. Merging takes `model` apart.
    """
    from transformers import AutoTokenizer

    adapted = run.method.trains is Trains.lora
    kept = run.output_dir / (WEIGHTS if adapted else TRAINED)
    found: dict[str, float | Items] = {"adapter_bytes": float(kept.stat().st_size)}
    with tempfile.TemporaryDirectory(dir=run.folder) as room:
        ids = probe(run, form, split)
        with torch.inference_mode():
            unmerged = model(**ids).logits.float().cpu()
        if adapted:
            found["checkpoint_bytes"] = size_of(write(model, Path(room) / "checkpoint", "checkpoint"))
        else:
            run.absent("checkpoint_bytes", "without A and B a checkpoint is the model itself")
            for name in ("merge_error", "merged_latency", "unmerged_latency"):
                run.absent(name, "there is nothing to merge")
        if run.method.trains in BESIDE:
            run.absent("merged_bytes", "what was added cannot be merged")
            run.measure("latency", latencies(run, {"added": model}, ids)["added"])
            merged = model
        else:
            folder = write(model, Path(room) / "merged", "merged")
            found["merged_bytes"] = size_of(folder)
            del model
            merged = load_base(folder, form).to(run.device)
        if adapted:
            told = latencies(run, {"merged": merged.eval(), "unmerged": load(run)}, ids)
            for name, taken in told.items():
                run.measure(f"{name}_latency", taken)
            run.measure("latency", told["merged"])
            with torch.inference_mode():
                found["merge_error"] = float((merged(**ids).logits.float().cpu() - unmerged).abs().max())
        elif run.method.trains not in BESIDE:
            run.absent("latency", "the model is as large as its base")
        if form.kind != "labels" and run.task.lm_eval:
            found["lm_eval"] = lm_eval_accuracy(
                merged,
                AutoTokenizer.from_pretrained(run.data_dir / "tokenizer"),
                run.task.lm_eval,
                limit=run.task.lm_eval_limit,
                max_length=None if run.model else run.task.length,
                task_folder=run.task.lm_eval_folder or None,
            )
        elif not run.task.lm_eval:
            run.absent("lm_eval", "task.lm_eval names no task")
    return found


def latencies(run: Any, models: dict[str, Any], ids: dict[str, Tensor]) -> dict[str, float]:
    """Return the time of a forward pass of each model over the base's, in turn, so that all wait alike."""
    models = {"base": run_base(run).to(run.device).eval(), **models}
    clock = time.process_time if run.device == "cpu" else time.perf_counter
    taken: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(PASSES):
        for name, model in models.items():
            begun = clock()
            with torch.inference_mode():
                model(**ids).logits.sum().item()  # waits for the device
            taken[name].append(clock() - begun)
    base = float(np.median(taken.pop("base")))
    return {name: float(np.median(some)) / base for name, some in taken.items()}


def probe(run: Any, form: Form, split: str) -> dict[str, Tensor]:
    """Return the first inputs of a split, to compare logits on."""
    if form.kind == "text":
        length = run.task.length
        tokens = np.load(run.data_dir / f"{split}.npy", mmap_mode="r")[: 4 * length]
        rows = torch.from_numpy(tokens[: len(tokens) // length * length].astype(np.int64)).view(-1, length)
        return {"input_ids": rows.to(run.device)}
    batch = padded(read_jsonl(run.data_dir / f"{split}.jsonl")[:4])
    return {name: batch[name].to(run.device) for name in ("input_ids", "attention_mask")}


def size_of(folder: Path) -> float:
    """Return the bytes of a folder's weights."""
    return float(sum(p.stat().st_size for p in folder.glob(f"{Path(MODEL).stem}*.safetensors")))
