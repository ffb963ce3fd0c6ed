"""On CUDA: tokens/s of ALiBi's training step, its share of the matrix-product ceiling, and the attention kernel chosen.

The ceiling is measured here: the best rate of a large bfloat16 matrix product. MFU counts 6 FLOPs a parameter and
token and 12 x layers x width x L for attention, whether the kernel skips the masked half or not. The kernel is
read from the profiler. **This file has not been run: no GPU was at hand.** Its parts that need none are tested.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from benchmarks.measuring import Measured, Side, Target, interleaved, tell
from benchmarks.positions import decoder, steps

KERNELS = ("flash", "cudnn", "efficient", "fmha", "math")


def ceiling(side: int = 8192, repeat: int = 30) -> float:
    """Return the most FLOP/s of a bfloat16 product of two matrices of `side` rows and columns."""
    import torch

    a, b = (torch.randn(side, side, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    best = 0.0
    for _ in range(3):
        torch.cuda.synchronize()
        began = time.perf_counter()
        for _ in range(repeat):
            a @ b
        torch.cuda.synchronize()
        best = max(best, 2 * side**3 * repeat / (time.perf_counter() - began))
    return best


def flops(parameters: int, layers: int, width: int, length: int, tokens: int) -> float:
    """Return the FLOPs of forward and backward over `tokens` tokens in windows of `length`."""
    return float(tokens * (6 * parameters + 12 * layers * width * length))


def kernel(names: list[str]) -> str:
    """Return which attention kernel a profile shows, by the names of what ran; "" where none is known."""
    attention = [name for name in names if any(mark in name.lower() for mark in KERNELS)]
    return attention[0] if attention else ""


def profiled(side: Side) -> str:
    """Run a side once under the profiler; return the attention kernel it chose."""
    import torch

    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CUDA, torch.profiler.ProfilerActivity.CPU]
    ) as seen:
        side()
        torch.cuda.synchronize()
    return kernel(
        [
            event.key
            for event in seen.key_averages()
            if "attention" in event.key.lower() or "fmha" in event.key.lower()
        ]
    )


def on_gpu(kind: str, length: int, batch: int, s: dict[str, int]) -> tuple[Side, Any]:
    """Return a side that does ten bfloat16 steps of a decoder, finished when it returns, and the model."""
    import torch

    model = decoder(kind, length, s).to("cuda")
    run = steps(model, length, batch, s["vocabulary"], "cuda", 10)

    def side() -> None:
        with torch.autocast("cuda", torch.bfloat16):
            run()
        torch.cuda.synchronize()

    return side, model


def measure(toy: bool) -> Iterator[Measured]:
    """Compare steps with ALiBi and with sinusoids; nothing where there is no CUDA device."""
    import torch

    if not torch.cuda.is_available():
        tell("no CUDA device: nothing is measured")
        return
    most = ceiling(1024 if toy else 8192)
    s = (
        {"width": 64, "layers": 1, "heads": 2, "vocabulary": 64}
        if toy
        else {"width": 1024, "layers": 16, "heads": 16, "vocabulary": 32_000}
    )
    for length in (32,) if toy else (512, 2048):
        batch = 2 if toy else 32_768 // length
        ours, model = on_gpu("alibi", length, batch, s)
        theirs, _ = on_gpu("sinusoidal", length, batch, s)
        pairs = interleaved(ours, theirs, rounds=1 if toy else 7, warm=2)
        tokens, weights = 10 * length * batch, sum(p.numel() for p in model.parameters())
        rate = tokens / min(pairs.ours)
        used = flops(weights, s["layers"], s["width"], length, 1) * rate
        told: dict[str, Any] = {
            "device": torch.cuda.get_device_name(), "tokens_per_second": rate, "mfu": used / most,
            "ceiling_flops": most, "kernel": profiled(ours), "kernel_of_the_peer": profiled(theirs),
            "peak_bytes": torch.cuda.max_memory_allocated(),
        }  # fmt: skip
        what = f"CUDA, bfloat16: ALiBi training step, L {length}, {weights / 1e6:.0f} M parameters"
        yield pairs.against(what, "the decoder with sinusoids", Target("at most", 1.05), **told)
