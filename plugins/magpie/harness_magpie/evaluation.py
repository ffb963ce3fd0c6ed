"""Judge a set and its student: the instructions sample by sample, the student answer by answer.

The own-question gain of an answer is its loss under another held-out question less that under its own. It
compares a student with itself, so how the run went otherwise cancels out. All students of a seed are judged
over the same vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from harness import Items
from harness.data.jsonl import write_jsonl
from harness.fit import pick_precision
from harness.nn.evals import lm_eval_accuracy
from harness.nn.generate import generate
from harness_magpie.answers import ANSWERS
from harness_magpie.cleaning import words
from harness_magpie.diversity import distinct, seed_similarity
from harness_magpie.filters import select
from harness_magpie.metrics import METRICS, over_valid
from harness_magpie.neighbours import neighbour_distances
from harness_magpie.packing import Encoded, as_rows, token_losses
from harness_magpie.preparation import read
from harness_magpie.prompting import ROWS_A_PROMPT
from harness_magpie.sets import Pair, held_out, people, sampled, unseen, vectors
from harness_magpie.settings import Prompt
from harness_magpie.student import format_of, renamed, student_folder, vocabulary_of
from harness_magpie.training import NO_STUDENT, cut_vocabulary, encodings, load

OF_STUDENTS = (
    "held_out_loss",
    "own_question_gain",
    "question_loss",
    "question_gain",
    "people_loss",
    "lm_eval",
)
SHIFT = 7  # the other question is that of the pair 7 places on
ROWS = 16  # pairs scored at once
SHOWN = 5  # instructions that the report shows


def evaluate(run: Any, split: str) -> dict[str, float | Items]:
    """Return the set's metrics, and the student's on `split`; what a method has not is told."""
    found = of_the_set(run)
    if run.method.student:
        found |= of_the_student(run, split)
    else:
        for name in OF_STUDENTS:
            run.absent(name, NO_STUDENT)
    return found


def of_the_set(run: Any) -> dict[str, float | Items]:
    """Return the metrics of the instructions, an item a sample; empty ones are samples that are not valid."""
    rows = sampled(run, run.method)
    human = run.method.prompt is Prompt.human
    number = len(rows) if human else run.task.samples
    by_id = {row["id"]: row for row in rows}
    ids = [f"sample-{i}" for i in range(number)]
    groups = {
        "prompt": [i // ROWS_A_PROMPT for i in range(number)]
    }  # a list of seed tasks is continued by eight
    valid = np.array([bool(by_id.get(i, {}).get("valid")) for i in range(number)], dtype=float)
    texts = [by_id.get(i, {}).get("instruction", "") for i in range(number)]
    whole = [i for i in range(number) if valid[i]]
    run.distribution("words in an instruction", [len(texts[i].split()) for i in whole])
    for i in whole[:SHOWN]:
        run.sample(texts[i], item=ids[i])
    columns: dict[str, dict[str, Any]] = {
        "valid": {"value": valid},
        "words": {"value": np.array([words(text) for text in texts]), "valid": valid},
    }
    if human:
        run.absent("ended", "people's tasks are not sampled")
    else:
        columns["ended"] = {
            "value": np.array([float(by_id[i]["ended"]) if i in by_id else 1.0 for i in range(number)])
        }
    kept = select(rows, run.method.filter)
    found: dict[str, float | Items] = {"kept": len(kept) / number}

    # The same number of valid ones for every method: more texts are less distinct and nearer to each other.
    places = np.flatnonzero(valid)[: run.task.train_pairs]
    chosen = [texts[i] for i in places]
    if len(chosen) < run.task.train_pairs:
        for name in ("distinct_2", "neighbour_distance"):
            run.absent(
                name, f"only {len(chosen)} valid instructions, and {run.task.train_pairs} are compared"
            )
    else:
        found["distinct_2"] = distinct(chosen)
        inside, distance = np.zeros(number), np.zeros(number)
        inside[places], distance[places] = 1.0, neighbour_distances(vectors(run, chosen))
        columns["neighbour_distance"] = {"value": distance, "valid": inside}
    seeds = [seed["instruction"] for seed in read(run.data_dir, "seeds")]
    if human or not seeds or not valid.any():
        run.absent(
            "seed_similarity",
            "these are the seed tasks" if human else "no seed tasks, or nothing valid to compare with them",
        )
    else:
        likeness = np.zeros(number)
        at = np.flatnonzero(valid)
        likeness[at] = seed_similarity([texts[i] for i in at], seeds)
        columns["seed_similarity"] = {"value": likeness, "valid": valid}
    if not valid.any():
        run.absent("words", "no instruction is valid")
        del columns["words"]
    for name, column in columns.items():
        # A person's tasks are other items than samples: numbers alone, which nothing is paired with.
        found[name] = _reduced(name, column) if human else Items(column, ids, groups)
    return found


def _reduced(name: str, column: dict[str, Any]) -> float:
    return over_valid(column) if METRICS[name].reduce is over_valid else float(column["value"].mean())


def of_the_student(run: Any, split: str) -> dict[str, float | Items]:
    """Return loss and own-question gain on held-out pairs of `split` and unseen questions, and people's loss."""
    form = format_of(student_folder(run))
    known = encodings(run, [])[1]
    vocabulary = vocabulary_of(known) if cut_vocabulary(run) else None
    model = load(run, vocabulary)
    found: dict[str, float | Items] = {}
    for pairs, loss, gain, kind in (
        (held_out(run)[split], "held_out_loss", "own_question_gain", "pair"),
        (unseen(run), "question_loss", "question_gain", "question"),
    ):
        if len(pairs) < 2:
            run.absent(loss, "data.questions is empty")
            run.absent(gain, "data.questions is empty")
            continue
        own, other = own_and_other(model, form, pairs, vocabulary, run)
        ids = [f"{kind}-{i}" for i in range(len(pairs))]
        found[loss] = Items({"nll": own}, ids)
        found[gain] = Items({"gain": other - own}, ids)
    if theirs := people(run):
        encoded = renamed([form.encode(pair, run.task.answer_tokens) for pair in theirs], vocabulary)
        precision = pick_precision(run.precision, torch.device(run.device))
        nll = losses(model, encoded, run.device, precision)
        found["people_loss"] = Items({"nll": nll}, [f"task-{i}" for i in range(len(theirs))])
    else:
        run.absent("people_loss", "data.seeds has too few answered tasks to keep any from the methods")
    if run.task.lm_eval and vocabulary is None:
        found["lm_eval"] = lm_eval_accuracy(
            model, form.tokenizer, run.task.lm_eval, limit=run.task.lm_eval_limit
        )
    else:
        run.absent("lm_eval", "task.lm_eval names no task, or the vocabulary is cut")
    if len(unseen(run)) > 1:
        write_jsonl(run.output_dir / ANSWERS, answers(model, form, unseen(run), vocabulary, run))
    return found


def answers(
    model: Any, form: Any, pairs: Sequence[Pair], vocabulary: list[int] | None, run: Any
) -> list[dict[str, Any]]:
    """Return the student's greedy answers to the questions of `pairs`, each beside the generator's."""
    asked = [form.encode(pair, run.task.answer_tokens) for pair in pairs]
    given = [pair.ids[: pair.given] for pair in renamed(asked, vocabulary)]
    known = range(model.config.vocab_size) if vocabulary is None else vocabulary
    ends = [place for place, token in enumerate(known) if token == form.end]

    def answer(prompts: list[list[int]]) -> list[list[int]]:
        return generate(
            model,
            prompts,
            max_new_tokens=run.task.answer_tokens,
            temperature=0,
            eos_ids=ends,
            batch_size=ROWS,
        )

    batches = [given[start : start + ROWS] for start in range(0, len(given), ROWS)]
    made = [tokens for batch in run.each("answers", batches, answer) for tokens in batch]
    texts = [form.tokenizer.decode([known[t] for t in tokens], skip_special_tokens=True) for tokens in made]
    return [
        {"id": f"question-{i}", "question": pair.question, "reference": pair.answer, "answer": text.strip()}
        for i, (pair, text) in enumerate(zip(pairs, texts, strict=True))
    ]


def own_and_other(
    model: Any, form: Any, pairs: Sequence[Pair], vocabulary: list[int] | None, run: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Return each answer's mean token loss under its own question and under another pair's, both (n,)."""
    n = len(pairs)
    shift = SHIFT if SHIFT % n else 1
    mixed = [Pair(pairs[(i + shift) % n].question, p.answer, p.finished) for i, p in enumerate(pairs)]
    return tuple(  # type: ignore[return-value]
        losses(
            model,
            renamed([form.encode(p, run.task.answer_tokens) for p in some], vocabulary),
            run.device,
            pick_precision(run.precision, torch.device(run.device)),
        )
        for some in (pairs, mixed)
    )


def losses(model: Any, pairs: Sequence[Encoded], device: str, precision: str = "float32") -> np.ndarray:
    """Return the mean loss of each pair's answer tokens, (n,); pairs of like length are scored together."""
    found = np.zeros(len(pairs))
    order = sorted(range(len(pairs)), key=lambda i: (len(pairs[i].ids), i))
    kind = torch.device(device).type
    for start in range(0, len(order), ROWS):
        part = order[start : start + ROWS]
        batch = {n: t.to(device) for n, t in as_rows([pairs[i] for i in part], None).items()}
        width = batch["input_ids"].shape[1]
        batch["position_ids"] = torch.arange(width, device=device).expand(len(part), -1)
        with torch.inference_mode(), torch.autocast(kind, torch.bfloat16, enabled=precision == "bfloat16"):
            sums = token_losses(model, batch).sum(dim=1)
        found[part] = (sums / (batch["labels"] != -100).sum(dim=1).clamp(min=1)).float().cpu().numpy()
    return found
