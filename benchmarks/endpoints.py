"""Sampling through a server of `completions` beside the same model in this process: what HTTP adds.

The server is a plain one on loopback, over the same engine, in the same process and on the same core; it writes one
row at a time, and so does the other side. Both draw the same tokens. A real server (vLLM, llama.cpp's) writes many
rows at once with kernels of its own: how fast it is, is its own affair and not measured here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.adapters import smollm2
from benchmarks.measuring import Measured, Side, Target, interleaved, one_thread


def measure(toy: bool) -> Iterator[Measured]:
    """Time the same rows by both, and see that they are the same tokens."""
    import numpy as np
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    from benchmarks.serving import Loopback
    from harness.engines import Ask
    from harness.engines.address import address
    from harness.engines.completions import Completions
    from harness.engines.inside import Transformers

    one_thread()
    rows, length, tokens = (2, 8, 4) if toy else (8, 64, 24)
    model = smollm2(toy).eval()
    words = {f"w{token}": token for token in range(model.config.vocab_size)}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="w0")), unk_token="w0"
    )
    here = Transformers(model, tokenizer)
    prompts = np.random.default_rng(0).integers(1, len(words), (rows, length)).tolist()
    ask = Ask(max_tokens=tokens, temperature=1.0, top_p=0.9)
    with Loopback(here, "bench") as server:
        there = Completions(address(server.address), "bench", tokenizer)
        drawn: dict[str, list[Any]] = {"here": [], "there": []}

        def written(name: str, engine: Any, at_once: int) -> Side:
            # By other seeds in each round: what a server sent before is not asked for again.
            def side() -> None:
                first = rows * len(drawn[name])
                seeds = range(first, first + rows)
                drawn[name].append(engine.complete(prompts, ask, seeds=seeds, at_once=at_once))

            return side

        rounds = 1 if toy else 5
        pairs = interleaved(written("there", there, 4), written("here", here, 1), rounds, warm=0)
    if drawn["here"] != drawn["there"]:
        raise RuntimeError("the sides disagree on what was drawn")
    yield pairs.against(
        f"sampling {rows} rows of {length} and {tokens} tokens through an endpoint, SmolLM2-135M (random weights)",
        "the same model in this process, row by row",
        Target("at most", 1.1),
    )
