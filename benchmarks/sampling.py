"""64 instructions written by one model: our sampler beside `model.generate` with the same batch.

The model is SmolLM2-135M's architecture with random weights, which never ends a turn; so a set of token numbers is
made to end it, which ends one token in 24, as long as instructions of a chat model often are. All rows continue
one template; ours reads it once and lets go of rows that have ended, `generate` keeps a batch until its last row.
Tokens are counted up to each row's end. The rows' lengths are drawn from the same law, not the same draws.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.adapters import smollm2
from benchmarks.measuring import Measured, Pairs, Target, interleaved, one_thread

TEMPLATE, LONGEST, MEAN = 31, 64, 24


def measure(toy: bool) -> Iterator[Measured]:
    """Time both for batches of 16 and of all 64 rows."""
    import numpy as np
    import torch
    from harness_magpie.sampling import Sampling, in_batches

    one_thread()
    model = smollm2(toy).eval()
    vocabulary, rows, longest = model.config.vocab_size, 8 if toy else 64, 8 if toy else LONGEST
    ends = np.random.default_rng(0).permutation(vocabulary)[: vocabulary // MEAN].tolist()
    prompt = np.random.default_rng(1).integers(vocabulary, size=TEMPLATE).tolist()
    made: dict[str, list[int]] = {"ours": [], "theirs": []}

    def ours(batch: int, seed: int) -> None:
        sampling = Sampling(max_tokens=longest, seed=seed)
        found = in_batches(model, [prompt] * rows, sampling, set(ends), batch_size=batch)
        made["ours"].append(sum(len(one.tokens) + one.ended for part in found for one in part))

    def theirs(batch: int, seed: int) -> None:
        torch.manual_seed(seed)
        stops, tokens = torch.tensor(ends), 0
        for start in range(0, rows, batch):
            ids = torch.tensor([prompt] * min(batch, rows - start))
            with torch.inference_mode():
                out = model.generate(
                    ids, attention_mask=torch.ones_like(ids), do_sample=True, top_k=0, top_p=1.0,
                    max_new_tokens=longest, eos_token_id=ends, pad_token_id=ends[0],
                )[:, TEMPLATE:]  # fmt: skip
            ended = torch.isin(out, stops).int().cumsum(1) - torch.isin(out, stops).int()
            tokens += int((ended == 0).sum())
        made["theirs"].append(tokens)

    for batch in (4,) if toy else (16, 64):
        made["ours"].clear()
        made["theirs"].clear()
        seeds = {"ours": 0, "theirs": 0}

        def next_(side: str, batch: int = batch, seeds: dict[str, int] = seeds) -> None:
            seeds[side] += 1
            (ours if side == "ours" else theirs)(batch, seeds[side])

        pairs = interleaved(lambda: next_("ours"), lambda: next_("theirs"), rounds=1 if toy else 5, warm=0)
        per_token = Pairs(
            [s / n for s, n in zip(pairs.ours, made["ours"], strict=True)],
            [s / n for s, n in zip(pairs.theirs, made["theirs"], strict=True)],
        )
        what = f"Magpie, tokens/s, {rows} instructions in batches of {batch}, SmolLM2-135M (random weights, ends drawn)"
        yield per_token.against(
            what, "model.generate, static batches", Target("at least", 1.5), unit="seconds_a_token",
            our_tokens=list(made["ours"]), their_tokens=list(made["theirs"]),
        )  # fmt: skip
