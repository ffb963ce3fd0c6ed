"""64 instructions written by one model: our sampler in one batch beside `model.generate` in static batches.

The model is SmolLM2-135M's architecture with random weights, which never ends a turn; so a set of token numbers is
made to end it, which ends one token in 12, and 32 tokens are the most. All rows continue one template; ours reads
it once and lets go of rows that have ended, `generate` keeps a batch until its last row. Tokens are counted up to
each row's end. The rows' lengths are drawn from the same law, not the same draws.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator

from benchmarks.adapters import smollm2
from benchmarks.measuring import Measured, Pairs, Side, Target, in_turn, one_thread

TEMPLATE, LONGEST, MEAN = 31, 32, 12
WHY = (
    "a third of our step sorts the vocabulary, to invert its distribution at a row's own draw: so a row is the same in "
    "any batch, and generate's multinomial draw is cheaper. Few rows left also read all weights for little work"
)


def measure(toy: bool) -> Iterator[Measured]:
    """Time one batch of ours beside static batches of 64 and of 16."""
    import numpy as np
    import torch
    from harness_magpie.sampling import Sampling, in_batches

    one_thread()
    model = smollm2(toy).eval()
    vocabulary, rows, longest = model.config.vocab_size, 8 if toy else 64, 8 if toy else LONGEST
    ends = np.random.default_rng(0).permutation(vocabulary)[: vocabulary // MEAN].tolist()
    prompt = np.random.default_rng(1).integers(vocabulary, size=TEMPLATE).tolist()
    stops = torch.tensor(ends)

    def ours(seed: int) -> int:
        batches = in_batches(
            model, [prompt] * rows, Sampling(max_tokens=longest, seed=seed), set(ends), batch_size=rows
        )
        return sum(len(one.tokens) + one.ended for batch in batches for one in batch)

    def theirs(size: int, seed: int) -> int:
        torch.manual_seed(seed)
        tokens = 0
        for _ in range(0, rows, size):
            ids = torch.tensor([prompt] * size)
            with torch.inference_mode():
                out = model.generate(
                    ids, attention_mask=torch.ones_like(ids), do_sample=True, top_k=0, top_p=1.0,
                    max_new_tokens=longest, eos_token_id=ends, pad_token_id=ends[0],
                )[:, TEMPLATE:]  # fmt: skip
            ended = torch.isin(out, stops).int()
            tokens += int((ended.cumsum(1) - ended == 0).sum())
        return tokens

    seeds = iter(range(1000))

    def a_token(write: Callable[[int], int]) -> Side:
        def run() -> float:
            began = time.perf_counter()
            tokens = write(next(seeds))
            return (time.perf_counter() - began) / tokens

        return run

    sizes = {f"model.generate, static batches of {size}": size for size in ((8, 4) if toy else (64, 16))}
    peers = {name: a_token(functools.partial(theirs, size)) for name, size in sizes.items()}
    taken = in_turn({"ours": a_token(ours), **peers}, rounds=1 if toy else 5, warm=0)
    for peer in peers:
        what = f"Magpie, tokens/s, {rows} instructions, SmolLM2-135M (random weights, ends drawn)"
        yield Pairs(taken["ours"], taken[peer]).against(
            what, peer, Target("at least", 1.5), WHY, unit="seconds_a_token"
        )
