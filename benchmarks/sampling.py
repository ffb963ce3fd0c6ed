"""64 instructions written by one model: our sampler in one batch beside `model.generate` in static batches.

The model is SmolLM2-135M's architecture with random weights, which never ends a turn; so a set of token numbers is
made to end it, which ends one token in 12, and 32 tokens are the most. All rows continue one template; ours reads
it once and lets go of rows that have ended, `generate` keeps a batch until its last row. Tokens are counted up to
each row's end. The rows' lengths are drawn from the same law, not the same draws.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.adapters import smollm2
from benchmarks.measuring import Measured, Pairs, Target, one_thread, tell

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

    def theirs(seed: int, size: int) -> int:
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

    sizes = (8, 4) if toy else (64, 16)
    taken: dict[int, list[float]] = {size: [] for size in (0, *sizes)}  # seconds a token; 0 is ours
    rounds = 1 if toy else 5
    for number in range(rounds):  # ours once a round, beside both peers
        for size in taken:
            tell(f"round {number + 1} of {rounds}, {f'generate by {size}' if size else 'ours'}")
            began = time.perf_counter()
            tokens = theirs(number, size) if size else ours(number)
            taken[size].append((time.perf_counter() - began) / tokens)
    for size in sizes:
        what = f"Magpie, tokens/s, {rows} instructions, SmolLM2-135M (random weights, ends drawn)"
        peer = f"model.generate, static batches of {size}"
        yield Pairs(taken[0], taken[size]).against(
            what, peer, Target("at least", 1.5), WHY, unit="seconds_a_token"
        )
