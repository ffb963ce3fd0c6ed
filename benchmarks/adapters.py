"""A LoRA step beside peft's: SmolLM2-135M's architecture with random weights, rank 8 on all linear layers.

Both adapters start from the same A, so the losses are the same to the last digits. Memory is each side's peak in a
process of its own that has imported both libraries, so that imports are not counted for one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.measuring import (
    Measured,
    Pairs,
    Side,
    Target,
    agree,
    apart,
    forget_peak,
    interleaved,
    one_thread,
    peak,
    tell,
)

RANK, ALPHA = 8, 16


def smollm2(toy: bool) -> Any:
    """Return SmolLM2-135M's architecture (a small one for tests) with random weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
        "num_key_value_heads": 3, "vocab_size": 49152, "tie_word_embeddings": True,
        "max_position_embeddings": 8192,
    }  # fmt: skip
    if toy:
        sizes |= {"hidden_size": 36, "intermediate_size": 48, "num_hidden_layers": 2, "vocab_size": 512}
    return LlamaForCausalLM(LlamaConfig(**sizes)).train()


def ours(toy: bool) -> Any:
    """Return the model with our LoRA layers."""
    import torch
    from harness_lora.injection import LoraConfig, inject

    model = smollm2(toy)
    torch.manual_seed(1)
    return inject(model, LoraConfig(rank=RANK, alpha=ALPHA)).train()


def theirs(toy: bool) -> Any:
    """Return the model with peft's LoRA layers."""
    import peft
    import torch

    model = smollm2(toy)
    torch.manual_seed(1)
    config = peft.LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear", task_type="CAUSAL_LM")
    return peft.get_peft_model(model, config).train()


def copy_adapter(source: Any, target: Any) -> None:
    """Give peft's layers the A that ours drew."""
    import torch

    wanted = {name: p for name, p in target.named_parameters() if ".lora_A." in name}
    with torch.no_grad():
        for name, p in source.named_parameters():
            if ".lora_A." in name:
                wanted.pop(f"base_model.model.{name.replace('lora_A.', 'lora_A.default.')}").copy_(p)
    if wanted:
        raise RuntimeError(f"peft has {len(wanted)} adapters that ours lacks, as {next(iter(wanted))}")


def steps(model: Any, toy: bool, losses: list[float]) -> Side:
    """Return a side that does one training step on 256 tokens."""
    import torch

    ids = torch.randint(512, (2, 8 if toy else 128), generator=torch.Generator().manual_seed(2))
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3, fused=True)

    def run() -> None:
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())

    return run


def used(side: str, toy: bool) -> dict[str, Any]:
    """Return the most bytes resident while one side loads its model and steps three times."""
    import harness_lora.injection  # noqa: F401
    import peft  # noqa: F401
    from transformers import LlamaForCausalLM  # noqa: F401

    one_thread()
    before = forget_peak()
    model = {"ours": ours, "theirs": theirs}[side](toy)
    run = steps(model, toy, [])
    for _ in range(3):
        run()
    return {"bytes": peak() - before}


def measure(toy: bool) -> Iterator[Measured]:
    """Time steps in one process, and weigh each side in processes of its own."""
    one_thread()
    models = ours(toy), theirs(toy)
    copy_adapter(*models)
    losses: tuple[list[float], list[float]] = [], []
    a, b = (steps(model, toy, kept) for model, kept in zip(models, losses, strict=True))
    pairs = interleaved(a, b, rounds=1 if toy else 9)
    for mine, other in zip(*losses, strict=True):
        agree(mine, other, 1e-4, "the loss")
    what = "LoRA training step, SmolLM2-135M (random weights), rank 8 on all linear layers, 2 x 128 tokens"
    peer = "peft"
    yield pairs.against(what, peer, Target("at most", 1.02))
    del models, a, b
    rounds = 1 if toy else 5
    found = []
    for number in range(rounds):
        tell(f"memory, pair {number + 1} of {rounds}")
        found.append(
            [float(apart("adapters:used", side=side, toy=toy)["bytes"]) for side in ("ours", "theirs")]
        )
    weighed = Pairs([pair[0] for pair in found], [pair[1] for pair in found])
    what = "peak memory of loading the model and three such steps, without the imports"
    yield weighed.against(what, peer, Target("at most", 1.02), unit="bytes")
