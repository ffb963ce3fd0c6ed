"""What ALiBi costs a training step: against the same decoder with sinusoids, and against BLOOM and MPT.

All are built from a configuration with random weights: equal width, layers, heads and vocabulary, the same tokens,
AdamW, no dropout. A step is forward, loss, backward and update.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.measuring import Measured, Pairs, Side, Target, agree, interleaved, one_thread

BIAS = (
    "scaled_dot_product_attention takes its causal kernel only without a mask: with a bias it reads a mask and "
    "computes the upper triangle too"
)


def size(toy: bool) -> dict[str, int]:
    """Return the model's size."""
    if toy:
        return {"width": 32, "layers": 1, "heads": 2, "vocabulary": 64}
    return {"width": 512, "layers": 4, "heads": 8, "vocabulary": 8192}


def decoder(kind: str, length: int, s: dict[str, int]) -> Any:
    """Return our decoder with positions of a kind."""
    import torch
    from harness_alibi.settings import Alibi, Task
    from harness_alibi.training import decoder as build

    torch.manual_seed(0)
    task = Task(
        length=length, width=s["width"], layers=s["layers"], heads=s["heads"], feedforward=4 * s["width"]
    )
    return build(Alibi(kind), task, s["vocabulary"]).train()


def bloom(length: int, s: dict[str, int]) -> Any:
    """Return transformers' BLOOM of that size."""
    import torch
    from transformers import BloomConfig, BloomForCausalLM

    torch.manual_seed(0)
    options: dict[str, Any] = {"n_layer": s["layers"], "n_head": s["heads"], "vocab_size": s["vocabulary"]}
    return BloomForCausalLM(BloomConfig(hidden_size=s["width"], use_cache=False, **options)).train()


def mpt(length: int, s: dict[str, int]) -> Any:
    """Return transformers' MPT of that size."""
    import torch
    from transformers import MptConfig, MptForCausalLM

    torch.manual_seed(0)
    options: dict[str, Any] = {"n_layers": s["layers"], "n_heads": s["heads"], "vocab_size": s["vocabulary"]}
    return MptForCausalLM(
        MptConfig(d_model=s["width"], max_seq_len=length, use_cache=False, **options)
    ).train()


def steps(model: Any, length: int, batch: int, vocabulary: int, device: str = "cpu", count: int = 1) -> Side:
    """Return a side that does `count` training steps."""
    import torch
    from harness_alibi.training import step

    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(vocabulary, (batch, length + 1), generator=generator).to(device)
    both = {"input_ids": ids[:, :-1].contiguous(), "labels": ids[:, 1:].contiguous()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def run() -> None:
        for _ in range(count):
            loss = step(model, both)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    return run


def against_sinusoids(toy: bool) -> Iterator[Measured]:
    """Time a step with ALiBi and one with sinusoids, at two lengths with 2,048 tokens each."""
    one_thread()
    s = size(toy)
    for length, most in ((16, 1.15), (32, 1.6)) if toy else ((512, 1.15), (2048, 1.6)):
        batch = 1 if toy else 2048 // length
        models = [decoder(kind, length, s) for kind in ("alibi", "sinusoidal")]
        a, b = (steps(model, length, batch, s["vocabulary"]) for model in models)
        pairs = interleaved(a, b, rounds=1 if toy else 7)
        what = f"ALiBi training step, L {length}, width {s['width']}, {s['layers']} layers, {batch * length:,} tokens"
        yield pairs.against(what, "the decoder with sinusoids", Target("at most", most), BIAS)


def against_libraries(toy: bool) -> Iterator[Measured]:
    """Time a step of ours beside one of BLOOM and one of MPT; the sizes are checked to be alike."""
    one_thread()
    s = size(toy)
    length, batch = (16, 1) if toy else (512, 4)
    ours = decoder("alibi", length, s)
    weights = sum(p.numel() for p in ours.parameters())
    for name, build in (("BLOOM", bloom), ("MPT", mpt)):
        other = build(length, s)
        agree(weights, sum(p.numel() for p in other.parameters()), 0.1 if toy else 0.02, f"{name}'s size")
        a, b = (steps(model, length, batch, s["vocabulary"]) for model in (ours, other))
        pairs: Pairs = interleaved(a, b, rounds=1 if toy else 5)
        what = f"ALiBi training step, L {length}, {weights / 1e6:.1f} M parameters, {batch * length:,} tokens"
        peer = f"transformers' {name} at equal size (random weights)"
        yield pairs.against(what, peer, Target("at least", 1.0))
