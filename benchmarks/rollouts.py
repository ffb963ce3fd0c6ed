"""SCoRe's two-turn steps on additions beside TRL's RLOO trainer on the same tiny model, per turn answered.

A step is sampling, verifying, advantages, KL to the base and one update; ours has two turns of five tokens, TRL's
one. Both answer 64 problems four times with the same verifier and AdamW, from the same random weights: a GPT-2 of
the small base's size, since TRL asks for a model whose backbone it can take apart. The clock runs over the training
loop alone.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks.measuring import Measured, Pairs, Target, interleaved, loop_clock, one_thread


def prepared(task: Any, room: Path) -> tuple[Path, Path]:
    """Leave the problems and an untrained base in `room`; return both folders."""
    from harness_score import addition
    from harness_score.preparation import prepare
    from transformers import GPT2Config, GPT2LMHeadModel

    from harness.fit import seed_everything

    data, base = room / "data", room / "base"
    data.mkdir()
    prepare(task, {}, None, data)
    seed_everything(0)
    tokenizer = addition.tokenizer()
    config = GPT2Config(
        vocab_size=len(tokenizer), n_embd=task.base_width, n_layer=task.base_layers, n_head=task.base_heads,
        n_positions=64, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    GPT2LMHeadModel(config).save_pretrained(base)
    tokenizer.save_pretrained(base)
    return data, base


def ours(task: Any, data: Path, base: Path, room: Path) -> float:
    """Do the task's steps; return the seconds of the loop."""
    from harness_score.policies import Policy
    from harness_score.settings import Score
    from harness_score.training import reinforcement
    from harness_score.verifiers import exact

    from harness.runs.run import Run

    folder = room / "run"
    shutil.rmtree(folder, ignore_errors=True)
    run = Run(
        "score", "score", Score(), task, {}, SimpleNamespace(path=base), "small", 0, "cpu", "float32", data,
        folder / "output", folder / "stages", folder,
    )  # fmt: skip
    run.output_dir.mkdir(parents=True)
    policy = Policy.of(run)
    step, batches, steps = reinforcement(run, policy, exact)
    step.looked = 0  # no look at the validation problems: the peer has none
    fitted = run.fit(
        policy.model, batches, step, steps=steps, learning_rate=task.learning_rate, schedule="constant"
    )
    return float(fitted.seconds)


def theirs(task: Any, data: Path, base: Path, room: Path) -> float:
    """Do as many steps by TRL's trainer; return the seconds of its loop."""
    from datasets import Dataset, disable_progress_bars
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import RLOOConfig, RLOOTrainer

    from harness.data.jsonl import read_jsonl

    disable_progress_bars()

    def right(completions: list[str], answer: list[str], **_: Any) -> list[float | None]:
        return [float(a.strip() == b.strip()) for a, b in zip(completions, answer, strict=True)]

    rows = read_jsonl(data / "train.jsonl")
    problems = Dataset.from_dict(
        {"prompt": [r["problem"] for r in rows], "answer": [r["answer"] for r in rows]}
    )
    tokenizer = AutoTokenizer.from_pretrained(base, padding_side="left")
    longest = task.digits + 1
    arguments = RLOOConfig(
        output_dir=str(room / "trl"), max_steps=task.steps, per_device_train_batch_size=task.prompts * task.samples,
        num_generations=task.samples, max_completion_length=longest, temperature=task.temperature, beta=0.01,
        steps_per_generation=1, learning_rate=task.learning_rate, lr_scheduler_type="constant", save_strategy="no",
        logging_strategy="no", report_to=[], disable_tqdm=True, use_cpu=True, bf16=False,
        gradient_checkpointing=False, generation_kwargs={"min_new_tokens": longest},
    )  # fmt: skip
    clock = loop_clock()
    model = AutoModelForCausalLM.from_pretrained(base)
    RLOOTrainer(
        model=model, reward_funcs=right, args=arguments, train_dataset=problems, processing_class=tokenizer,
        callbacks=[clock],
    ).train()  # fmt: skip
    return float(clock.seconds)


def measure(toy: bool) -> Iterator[Measured]:
    """Time both over the same number of steps."""
    from harness_score.settings import Task

    one_thread()
    small = {
        "train_problems": 8,
        "prompts": 2,
        "samples": 2,
        "steps": 2,
        "base_width": 16,
        "base_layers": 1,
        "base_heads": 2,
    }
    task = Task(**{"validation_problems": 4, "test_problems": 4, "steps": 15, **(small if toy else {})})  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as place:
        room = Path(place)
        data, base = prepared(task, room)
        pairs: Pairs = interleaved(
            lambda: ours(task, data, base, room), lambda: theirs(task, data, base, room), rounds=1 if toy else 5,
            warm=0 if toy else 1,
        )  # fmt: skip
    rollouts = task.steps * task.prompts * task.samples
    what = f"SCoRe, two-turn rollouts/s, per turn, {task.steps} steps of {task.prompts} x {task.samples} additions"
    peer = "TRL's RLOOTrainer, one turn, same model"
    yield pairs.against(
        what, peer, Target("at least", 1.5), ours=2 * rollouts, theirs=rollouts, rollouts=rollouts
    )
