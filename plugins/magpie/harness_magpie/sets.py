"""The pairs a run learns from and is judged on, each step a stage that other methods of the seed share.

Every seed samples anew, so intervals over seeds hold for generation and training together. Held-out pairs
are always Magpie's own, filtered, of the same seed: the last ones of its set, which no method trains on.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.jsonl import read_json, read_jsonl, write_jsonl
from harness.engines import Engine, decides
from harness.errors import HarnessError
from harness.fit import dtypes
from harness.nn import turns
from harness.tools import file_digest, write_json
from harness_magpie.filters import select
from harness_magpie.generator import Generator, described, instructions, kept_answers, load_generator
from harness_magpie.neighbours import encoded_vectors, hashed, mark
from harness_magpie.preparation import answerable, read
from harness_magpie.prompting import human, prompts_for
from harness_magpie.sampling import Sampling
from harness_magpie.settings import Magpie, Prompt

# The modules that decide what is written: another version of them makes another stage.
ENGINE = "engine.json"  # in a stage: what wrote it, where transformers did not
WRITERS = ("cleaning", "generator", "prompting", "sampling", "template")


@dataclass(frozen=True)
class Pair:
    """A question with its answer; whether the answer came to its end."""

    question: str
    answer: str
    finished: bool


def generator_folder(run: Any) -> Path:
    """Return the folder of the chat model: `model=`'s, or the tiny one that `prepare` made."""
    if run.model is None:
        return Path(run.data_dir / "model")
    return Path(run.base())


def reference(method: Magpie) -> Magpie:
    """Return the method whose pairs are held out: Magpie's own, whatever `method` is."""
    plain = Magpie()
    return replace(
        method,
        prompt=plain.prompt,
        filter=plain.filter,
        shuffled=False,
        share=1.0,
        student=True,
        temperature=plain.temperature,
    )


def sampled(run: Any, method: Magpie) -> list[dict[str, Any]]:
    """Return the method's instructions that say anything, marked by their neighbours, in the order of sampling."""
    task = run.task
    if method.prompt is Prompt.human:
        rows = human(run)
    else:
        sampling = Sampling(method.temperature, method.top_p, task.instruction_tokens, run.seed)
        inputs = {
            "prompt": method.prompt.name,
            "system": task.system,
            "sampling": described(sampling),
            "samples": task.samples,
            "mode": task.mode.name,
            **_generation(run),
            **({"seeds": read(run.data_dir, "seeds")} if method.prompt is Prompt.examples else {}),
        }

        def make(folder: Path) -> None:
            generator = writer(run, folder)
            prompts = prompts_for(run, method, generator.tokenizer)
            made = instructions(
                generator,
                prompts,
                sampling,
                task.mode.name,
                batch_size=task.generation_batch,
                tell=_telling(run, "instructions"),
            )
            write_jsonl(folder / "rows.jsonl", itertools.chain.from_iterable(made))

        rows = written(run, run.stage("instructions", inputs, make))
    rows = [row for row in rows if row["instruction"]]
    mark(rows, lambda texts: vectors(run, texts))
    return rows


def writer(run: Any, folder: Path) -> Generator:
    """Load the chat model, or open the engine that has it, which is noted in the stage's `folder`."""

    def opened(tokenizer: Any) -> Engine:
        engine: Engine = run.engine(run.task.engine, tokenizer)
        write_json(folder / ENGINE, run.engines["engine"])
        return engine

    precision = run.task.generator_precision.name
    return load_generator(
        generator_folder(run), precision, run.device, opened=opened if run.task.engine else None
    )


def written(run: Any, stage: Path) -> list[dict[str, Any]]:
    """Return a stage's rows; the engine that wrote them is recorded with the run, whoever made the stage."""
    if (stage / ENGINE).exists():
        run.engines["engine"] = read_json(stage / ENGINE)
    return list(read_jsonl(stage / "rows.jsonl"))


def vectors(run: Any, texts: list[str]) -> Any:
    """Return the texts' unit vectors, by the task's encoder or hashed TF-IDF."""
    if not run.task.encoder:
        return hashed(texts)(texts)
    return encoded_vectors(run.task.encoder, texts, run.stages_dir / "sources", run.device)


def held_out(run: Any) -> dict[str, list[Pair]]:
    """Return the pairs of `validation` and `test`, and as `rest` the others that were answered."""
    task = run.task
    method = reference(run.method)
    rows = select(sampled(run, method), method.filter, when="before")
    need = task.train_pairs + task.validation_pairs + task.test_pairs
    pairs = answered(run, [row["instruction"] for row in rows[: need + need // 20]], "kept")
    if len(pairs) < need:
        raise HarnessError(
            f"{len(pairs)} of {task.samples} samples became pairs and {need} are needed: raise task.samples, "
            "or lower task.train_pairs and task.test_pairs"
        )
    test = pairs[len(pairs) - task.test_pairs :]
    validation = pairs[len(pairs) - task.test_pairs - task.validation_pairs : len(pairs) - task.test_pairs]
    return {
        "validation": validation,
        "test": test,
        "rest": pairs[: len(pairs) - task.test_pairs - task.validation_pairs],
    }


def full_size(run: Any, size: Callable[[Pair], int]) -> int:
    """Return the size of what Magpie's student learns from, which is every other's."""
    full = sum(map(size, held_out(run)["rest"][: run.task.train_pairs]))
    if not full:
        raise HarnessError(f"no pair fits into a row of task.length={run.task.length} tokens: raise it")
    return full


def training_pairs(run: Any, size: Callable[[Pair], int]) -> list[Pair]:
    """Return the pairs that the run's method trains on: of `size` in all as large as Magpie's, for every method."""
    task, method = run.task, run.method
    if method.prompt is Prompt.human:
        human(run)  # what is missing is told before anything is generated
    full = full_size(run, size)
    pairs: list[Pair] = []
    had = 0
    for pair in _candidates(run):
        if had >= method.share * full:
            break
        pairs.append(pair)
        had += size(pair)
    if had < method.share * full:
        of = "tokens of answers" if task.equal_tokens else "pairs"
        raise HarnessError(
            f"{run.name} has {had} {of} and every method trains on {full}: raise task.samples, give more "
            "data.seeds, or lower task.train_pairs"
        )
    return shuffled(pairs, run.seed) if method.shuffled else pairs


def _candidates(run: Any) -> Iterator[Pair]:
    """Yield the method's pairs in their order; what Magpie's set has not answered is answered as it is needed."""
    task, method, ours = run.task, run.method, held_out(run)
    if method.prompt is Prompt.template and replace(method, shuffled=False, share=1.0) == reference(method):
        yield from ours["rest"]
        return
    known = {pair.question: pair for pair in ours["rest"]}
    taken = {pair.question for split in ("validation", "test") for pair in ours[split]}
    rows = select(sampled(run, method), method.filter if method.prompt is not Prompt.human else "none")
    rows = [row for row in rows if row["instruction"] not in taken]
    if method.prompt is Prompt.human:
        tasks = ({"question": row["instruction"], "output": row["answer"]} for row in rows)
        yield from (Pair(one["question"], one["output"], True) for one in tasks if answerable(one))
        return
    questions = [row["instruction"] for row in rows]
    first = task.train_pairs + task.train_pairs // 20  # some answers are empty
    for start, end in itertools.pairwise(
        [0, *range(first, len(questions), max(first // 4, 1)), len(questions)]
    ):
        some = questions[start:end]
        known |= {p.question: p for p in answered(run, [q for q in some if q not in known], "more")}
        yield from (known[question] for question in some if question in known)


def people(run: Any) -> list[Pair]:
    """Return people's answers to seed tasks that no method has seen: the same pairs for every method and seed."""
    return [Pair(task["question"], task["output"], True) for task in read(run.data_dir, "people")]


def shuffled(pairs: Sequence[Pair], seed: int) -> list[Pair]:
    """Return the pairs with every answer moved to another question (Sattolo's one cycle)."""
    draw = np.random.default_rng([seed, 11])
    order = list(range(len(pairs)))
    for i in range(len(order) - 1, 0, -1):
        j = int(draw.integers(i))
        order[i], order[j] = order[j], order[i]
    return [
        Pair(pair.question, pairs[i].answer, pairs[i].finished) for pair, i in zip(pairs, order, strict=True)
    ]


def unseen(run: Any) -> list[Pair]:
    """Return the generator's answers to data.questions: the same pairs for every method and seed."""
    return answered(run, read(run.data_dir, "questions"), "questions")


def answered(run: Any, questions: Sequence[str], name: str) -> list[Pair]:
    """Return the questions with the generator's greedy answers, in order; empty answers are left out."""
    task = run.task
    questions = list(questions)
    if not questions:
        return []
    inputs = {"questions": questions, "tokens": task.answer_tokens, **_generation(run)}

    def make(folder: Path) -> None:
        rows = kept_answers(
            folder / "answers.jsonl",
            writer(run, folder),
            questions,
            task.answer_tokens,
            batch_size=min(64, task.generation_batch),
            tell=_telling(run, f"answers ({name})"),
        )
        write_jsonl(folder / "rows.jsonl", rows)

    rows = written(run, run.stage("answers", inputs, make))
    return [
        Pair(question, row["answer"], row["finished"])
        for question, row in zip(questions, rows, strict=True)
        if row["answer"]
    ]


def _generation(run: Any) -> dict[str, Any]:
    """Return what else decides a generation: the model, how it is computed, and by which code."""
    here = Path(__file__).parent
    weights, products = dtypes(run.task.generator_precision.name, run.device)
    run.measure("generator_product_bits", 8.0 * products.itemsize)
    return {
        "model": run.model.digest if run.model else "tiny",
        "precision": [str(weights), str(products)],
        "batch": run.task.generation_batch,
        "device": run.device.partition(":")[0],
        **({"engine": decides(run.task.engine)} if run.task.engine else {}),
        "code": {
            **{name: file_digest(here / f"{name}.py") for name in WRITERS},
            "turns": file_digest(Path(turns.__file__)),
        },
    }


def _telling(run: Any, note: str) -> Any:
    return lambda done, total, **more: run.progress(done, total, note=note, **more)
