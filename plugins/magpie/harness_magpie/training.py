"""Make the method's set and tune the student on it; the set and what was tuned are left in the run's folder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from harness.data.batches import Shuffled
from harness.data.jsonl import write_jsonl
from harness.fit import recipe, seed_everything, trial_step
from harness.nn.weights import load_trained, save_trained
from harness_magpie.packing import ByTokens, Encoded, answer_loss, as_rows, own_mask
from harness_magpie.preparation import tiny_config
from harness_magpie.sets import Pair, full_size, held_out, people, sampled, training_pairs, unseen
from harness_magpie.student import (
    format_of,
    load_student,
    prune,
    renamed,
    set_trained,
    student_folder,
    vocabulary_of,
)

PAIRS, TUNED, ADAPTER = "pairs.jsonl", "tuned.safetensors", "adapter"


def train(run: Any) -> None:
    """Make the set; where the method has a student, tune it and save what was tuned in `run.output_dir`."""
    if not run.method.student:
        rows = sampled(run, run.method)
        write_jsonl(run.output_dir / "instructions.jsonl", rows)
        for name in ("train_peak_memory", "train_tokens_per_second"):
            run.absent(name, NO_STUDENT)
        return
    size = sizes(run)
    pairs = training_pairs(run, size)
    write_jsonl(run.output_dir / PAIRS, [as_messages(pair) for pair in pairs])
    encoded, known = encodings(run, pairs)
    vocabulary = vocabulary_of([*known, *encoded]) if cut_vocabulary(run) else None
    seed_everything(run.seed)
    model = load_student(run, vocabulary)
    task = run.task

    def adamw(parameters: Any, lr: float, weight_decay: float) -> torch.optim.Optimizer:
        betas = (0.9, task.beta_2)
        return torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay, betas=betas, fused=True)

    ours = renamed(encoded, vocabulary)
    if task.equal_tokens:
        tokens = full_size(run, size) * task.batch_size / task.train_pairs
        batches: Any = ByTokens(ours, tokens, run.seed, task.length)
    else:
        batches = Shuffled(ours, task.batch_size, run.seed, lambda pairs: as_rows(pairs, task.length))
    run.fit(
        model,
        batches,
        answer_loss,
        **recipe(task),
        optimizer=adamw,
        log_every=min(10, max(1, task.steps // 8)),
    )
    save(model, run)


NO_STUDENT = "this method only writes instructions: method.student=true answers them and tunes a student"


def cut_vocabulary(run: Any) -> bool:
    """Return whether the student's vocabulary is cut."""
    return bool(run.task.own_vocabulary and not run.task.student)


def sizes(run: Any) -> Callable[[Pair], int]:
    """Return what says how large a pair is by which sets are made equal; one that fits no row is nothing."""
    form, task = format_of(student_folder(run)), run.task

    def size(pair: Pair) -> int:
        encoded = form.encode(pair, task.answer_tokens)
        if len(encoded.ids) - 1 > task.length:
            return 0
        return len(encoded.ids) - encoded.given if task.equal_tokens else 1

    return size


def encodings(run: Any, pairs: list[Pair]) -> tuple[list[Encoded], list[Encoded]]:
    """Return the pairs as tokens, and all pairs that every method of this seed is judged with or could be."""
    form, most = format_of(student_folder(run)), run.task.answer_tokens
    own = [form.encode(pair, most) for pair in pairs]
    ours = held_out(run)
    everyone = [*ours["rest"], *ours["validation"], *ours["test"], *unseen(run), *people(run)]
    kept = [pair for pair in own if len(pair.ids) - 1 <= run.task.length]
    return kept, [form.encode(pair, most) for pair in everyone]


def save(model: Any, run: Any) -> None:
    """Write what was tuned: an adapter of peft, a pruned student's layers, or the whole student."""
    if run.task.lora_rank:
        model.save_pretrained(run.output_dir / ADAPTER)
    else:
        save_trained(model, run.output_dir / TUNED)


def load(run: Any, vocabulary: list[int] | None) -> Any:
    """Return the tuned student over `vocabulary`, in eval mode on the run's device."""
    model = load_student(run, vocabulary)
    if run.task.lora_rank:
        model.load_adapter(run.output_dir / ADAPTER, "default")
    else:
        load_trained(model, run.output_dir / TUNED)
    return model.to(run.device).eval()


def as_messages(pair: Pair) -> dict[str, Any]:
    """Return a pair in the form that trainers read."""
    return {
        "messages": [
            {"role": "user", "content": pair.question},
            {"role": "assistant", "content": pair.answer},
        ]
    }


def training_step(run: Any, device: str) -> None:
    """Do one whole step of a small student on packed rows (for the contract kit)."""
    from transformers import LlamaForCausalLM

    if not run.method.student:
        return
    rows = as_rows([Encoded([1, 2, 3, 4, 5], 2), Encoded([6, 7, 8], 1)], 16)
    batch = {name: tensor.to(device) for name, tensor in rows.items()}
    # transformers looks at the positions to make this mask, and nothing can be looked at on the meta device.
    batch["attention_mask"] = own_mask(batch["position_ids"])

    def build(vocabulary: int) -> Any:
        model = prune(LlamaForCausalLM(tiny_config(vocabulary)), [0, 2], list(range(32)))
        return set_trained(model, run.task, True)

    trial_step(build, answer_loss, (2, 16), device, **batch)
