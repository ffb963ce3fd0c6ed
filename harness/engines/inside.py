"""The engines in this process: transformers' models by the toolbox's own sampler, and vLLM where it is installed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.engines.asking import Ask, Progress, Prompt, Written, cut, rows_of
from harness.errors import UsageError
from harness.nn.generate import generate, log_probs, prompt_seeds
from harness.nn.turns import word_end


class Transformers:
    """A causal language model of transformers as an engine."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model, self.tokenizer = model, tokenizer

    @property
    def told(self) -> dict[str, str]:
        """That it is transformers, and the model's name."""
        return {"engine": "transformers", "model": str(self.model.config.name_or_path)}

    def complete(
        self,
        prompts: Sequence[Prompt],
        ask: Ask,
        *,
        seeds: Sequence[int] = (),
        at_once: int = 32,
        progress: Progress = None,
    ) -> list[Written]:
        """Continue the prompts in batches of `at_once` (see `Engine`)."""
        rows = rows_of(prompts, self.tokenizer)
        made = generate(
            self.model,
            rows,
            max_new_tokens=ask.max_tokens,
            temperature=ask.temperature,
            top_p=ask.top_p,
            eos_ids=ask.ends,
            seeds=seeds,
            batch_size=at_once,
            progress=progress,
        )
        over = word_end(self.tokenizer, ask.words)
        found = [cut(Written(tokens, len(tokens) < ask.max_tokens), ask, over) for tokens in made]
        if not ask.log_probs:
            return found
        told = log_probs(self.model, rows, [one.tokens for one in found], batch_size=at_once)
        return [Written(one.tokens, one.ended, each) for one, each in zip(found, told, strict=True)]


class Vllm:
    """vLLM in this process as an engine; it has run on no machine of ours. Raises UsageError where it is missing."""

    def __init__(self, folder: Path, tokenizer: Any) -> None:
        try:
            from vllm import LLM
        except ImportError:
            raise UsageError(
                "vLLM is not installed here: pip install vllm, start `vllm serve` and give its address, or leave the "
                "engine out"
            ) from None
        self.model, self.tokenizer = LLM(str(folder), logprobs_mode="raw_logprobs"), tokenizer
        self.folder = folder

    @property
    def told(self) -> dict[str, str]:
        """That it is vLLM, and the folder of the model."""
        return {"engine": "vllm", "model": self.folder.name}

    def complete(
        self,
        prompts: Sequence[Prompt],
        ask: Ask,
        *,
        seeds: Sequence[int] = (),
        at_once: int = 32,
        progress: Progress = None,
    ) -> list[Written]:
        """Continue all prompts; vLLM makes batches of its own (see `Engine`)."""
        from vllm import SamplingParams

        rows = rows_of(prompts, self.tokenizer)
        settings = [
            SamplingParams(
                max_tokens=ask.max_tokens,
                temperature=ask.temperature,
                top_p=ask.top_p,
                seed=seed % 2**31,
                stop_token_ids=list(ask.ends),
                logprobs=0 if ask.log_probs else None,
            )
            for seed in seeds or prompt_seeds(rows, 0)
        ]
        made = self.model.generate([{"prompt_token_ids": row} for row in rows], settings, use_tqdm=False)
        over = word_end(self.tokenizer, ask.words)
        found = []
        for one in (request.outputs[0] for request in made):
            tokens = list(one.token_ids)
            told = (
                [each[t].logprob for each, t in zip(one.logprobs, tokens, strict=True)]
                if ask.log_probs
                else None
            )
            found.append(cut(Written(tokens, one.finish_reason == "stop", told), ask, over))
        if progress:
            progress(len(rows), len(rows))
        return found
