"""Judge answers: a verifier is a function from problems and answers to rewards.

    verify(problems, answers) -> rewards        one of 0 or 1 (or between) for each answer

`problems` are the rows of the data (dicts with `problem` and `answer`), `answers` texts. The reward and the
metrics use the same one: an extractor looser than the reward would flatter the result. Your own is such a
function (hand it to `harness_score.training.train`), or a command that reads one json object a line,
`{"problem", "answer", "response"}`, and writes one a line, `{"reward": 1}`, in the same order.
"""

from __future__ import annotations

import json
import math
import re
import shlex
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from harness.errors import HarnessError
from harness_score.settings import Task

Verify = Callable[[Sequence[dict[str, Any]], Sequence[str]], Sequence[float]]
NUMBER = re.compile(r"-?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?")


class VerifierError(HarnessError):
    """A verifier raised, hung, or returned something else than a reward for each answer."""


def exact(problems: Sequence[dict[str, Any]], answers: Sequence[str]) -> list[float]:
    """Reward an answer that is the expected text, blanks around it aside."""
    return [
        float(answer.strip() == problem["answer"].strip())
        for problem, answer in zip(problems, answers, strict=True)
    ]


def number(problems: Sequence[dict[str, Any]], answers: Sequence[str]) -> list[float]:
    """Reward the right number: the one after `####` or "answer is" if there is one, else the last."""
    return [
        float((found := stated_number(answer)) is not None and found == stated_number(problem["answer"]))
        for problem, answer in zip(problems, answers, strict=True)
    ]


def stated_number(text: str) -> float | None:
    """Return the number a text ends up with: commas, currency and a final point do not matter."""
    marked = re.split(r"####|answer is:?", text, flags=re.I)
    if len(marked) > 1:
        found = [m for m in NUMBER.findall(marked[-1]) if any(c.isdigit() for c in m)]
        return float(found[0].replace(",", "")) if found else None
    found = [m for m in NUMBER.findall(text) if any(c.isdigit() for c in m)]
    return float(found[-1].replace(",", "")) if found else None


def maths(problems: Sequence[dict[str, Any]], answers: Sequence[str]) -> list[float]:
    """Reward what is mathematically equal to the expected answer (math-verify).

    Its own time limits count as wrong. Raises VerifierError for an expected answer that it cannot read.
    """
    import logging

    from math_verify import parse, verify

    logging.getLogger("math_verify").setLevel(logging.CRITICAL)  # unreadable answers are common, and wrong
    rewards = []
    limits: dict[str, Any] = {}
    if threading.current_thread() is not threading.main_thread():
        limits = {"parsing_timeout": None}
    for problem, answer in zip(problems, answers, strict=True):
        gold = parse(f"${problem['answer']}$", **limits)
        if not gold:
            raise VerifierError(
                f"math-verify cannot read the expected answer {problem['answer']!r}: fix that row"
            )
        seconds = {"timeout_seconds": None} if limits else {}
        rewards.append(float(verify(gold, parse(final(answer), **limits), **seconds)))
    return rewards


def final(answer: str) -> str:
    """Return the end of an answer from "final answer is" on, or all of it."""
    return re.split(r"final answer is:?", answer, flags=re.I)[-1]


def command(words: str, seconds: float) -> Verify:
    """Return a verifier that asks a program of your own; it may take `seconds` for a batch."""

    def verify(problems: Sequence[dict[str, Any]], answers: Sequence[str]) -> list[float]:
        lines = [
            json.dumps(
                {"problem": p["problem"], "answer": p["answer"], "response": answer}, ensure_ascii=False
            )
            for p, answer in zip(problems, answers, strict=True)
        ]
        try:
            done = subprocess.run(
                shlex.split(words),
                input="\n".join(lines) + "\n",
                capture_output=True,
                text=True,
                timeout=seconds,
            )
        except subprocess.TimeoutExpired:
            raise VerifierError(
                f"the verifier {words!r} did not answer within {seconds:g} s for {len(lines)} answers: "
                "fix it, or raise task.verifier_seconds"
            ) from None
        except OSError as error:
            raise VerifierError(f"the verifier {words!r} cannot be started: {error}") from None
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise VerifierError(f"the verifier {words!r} left with exit code {done.returncode}: {last}")
        try:
            return [float(json.loads(line)["reward"]) for line in done.stdout.splitlines() if line.strip()]
        except (ValueError, TypeError, KeyError) as error:
            raise VerifierError(
                f'the verifier {words!r} must write {{"reward": 1}} a line; reading it raised {error!r}'
            ) from None

    return verify


VERIFIERS: dict[str, Verify] = {"exact": exact, "number": number, "math": maths}


def verifier(task: Task) -> Verify:
    """Return the verifier a task names. Raises HarnessError where a command is asked for and none given."""
    if task.verifier.name != "command":
        return VERIFIERS[task.verifier.name]
    if not task.verifier_command:
        raise HarnessError("task.verifier=command needs task.verifier_command, the program to ask")
    return command(task.verifier_command, task.verifier_seconds)


def rewards(
    verify: Verify, problems: Sequence[dict[str, Any]], answers: Sequence[str], seconds: float
) -> list[float]:
    """Ask a verifier and check what it says: a finite reward from 0 to 1 for each answer, in time."""
    name = getattr(verify, "__name__", "verifier")
    own = verify not in VERIFIERS.values()  # math-verify keeps its own time
    try:
        with limited(seconds if own else 0, name):
            found = [float(value) for value in verify(problems, answers)]
    except VerifierError:
        raise
    except Exception as error:
        raise VerifierError(f"the verifier {name} raised {type(error).__name__}: {error}") from error
    if len(found) != len(answers):
        raise VerifierError(f"the verifier {name} gave {len(found)} rewards for {len(answers)} answers")
    wrong = [value for value in found if not (math.isfinite(value) and 0 <= value <= 1)]
    if wrong:
        raise VerifierError(f"the verifier {name} gave the reward {wrong[0]}: rewards lie between 0 and 1")
    return found


@contextmanager
def limited(seconds: float, name: str) -> Iterator[None]:
    """Stop a function of one's own that hangs, where signals can (the main thread of a POSIX system)."""
    if not seconds or threading.current_thread() is not threading.main_thread():
        yield
        return

    def late(*_: Any) -> None:
        raise VerifierError(
            f"the verifier {name} hung: it took more than {seconds:g} s, task.verifier_seconds"
        )

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds + 1)  # a command has its own limit, a second sooner
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
