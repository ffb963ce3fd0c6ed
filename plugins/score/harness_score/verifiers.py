"""Judge answers: a verifier is a function from problems and answers to rewards.

    verify(problems, answers) -> rewards        one of 0 or 1 (or between) for each answer

`problems` are the rows of the data, with all their columns (dicts, with `problem` and `answer` beside these), `answers`
texts. The reward and the metrics use the same one: an extractor looser than the reward would flatter the result. Your
own is such a function (hand it to `harness_score.training.train`), or a command that reads one json object a line, the
row with `response`, and writes one a line, `{"reward": 1}`, in the same order.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from harness.errors import HarnessError, UsageError
from harness_score.numbers import same_number, stated_number
from harness_score.settings import Task

__all__ = ["VERIFIERS", "VerifierError", "Verify", "command", "rewards", "stated_number", "verifier"]

Verify = Callable[[Sequence[dict[str, Any]], Sequence[str]], Sequence[float]]


class VerifierError(HarnessError):
    """A verifier raised, hung, or returned something else than a reward for each answer."""


def exact(problems: Sequence[dict[str, Any]], answers: Sequence[str]) -> list[float]:
    """Reward an answer that is the expected text, blanks around it aside."""
    return [
        float(answer.strip() == problem["answer"].strip())
        for problem, answer in zip(problems, answers, strict=True)
    ]


def number(problems: Sequence[dict[str, Any]], answers: Sequence[str]) -> list[float]:
    """Reward the right number, exactly (`harness_score.numbers`): the one behind a mark, else the last."""
    return [
        float(same_number(problem["answer"], answer))
        for problem, answer in zip(problems, answers, strict=True)
    ]


def code(seconds: float) -> Verify:
    """Return a verifier that runs a problem's tests on the code of an answer, confined, for up to `seconds` each."""

    def verify(problems: Sequence[dict[str, Any]], answers: Sequence[str]) -> list[float]:
        from harness_score.coding import program
        from harness_score.sandbox import passing

        programs = [program(row, answer) for row, answer in zip(problems, answers, strict=True)]
        try:
            return [float(passed) for passed in passing(programs, seconds)]
        except OSError as error:
            raise VerifierError(f"programs cannot be confined here: {error}") from None

    verify.__name__ = "code"
    return verify


def maths(problems: Sequence[dict[str, Any]], answers: Sequence[str]) -> list[float]:
    """Reward what is mathematically equal to the expected answer (math-verify).

    Its own time limits count as wrong. Raises VerifierError for an expected answer that it cannot read.
    """
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


def command(words: str, seconds: float, strict: bool = False) -> Verify:
    """Return a verifier that asks a program of your own; it may take `seconds` for a batch.

    A line that is no reward is told and skipped, or with `strict` refused.
    """

    def verify(problems: Sequence[dict[str, Any]], answers: Sequence[str]) -> list[float]:
        lines = [
            json.dumps({**row, "response": answer}, ensure_ascii=False, default=str)
            for row, answer in zip(problems, answers, strict=True)
        ]
        return _rewards_in(_asked(words, lines, seconds), words, len(lines), strict)

    verify.__name__ = repr(words)
    return verify


def _asked(words: str, lines: list[str], seconds: float) -> str:
    """Return what a program writes that reads `lines`. No process of its group is left behind."""
    try:
        process = subprocess.Popen(
            command_words(words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise VerifierError(f"the verifier {words!r} cannot be started: {error}") from None
    try:
        wrote, complained = process.communicate("\n".join(lines) + "\n", timeout=seconds)
    except subprocess.TimeoutExpired:
        raise VerifierError(
            f"the verifier {words!r} did not answer within {seconds:g} s for {len(lines)} answers: "
            "fix it, or raise task.verifier_seconds"
        ) from None
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.returncode:
        last = (complained.strip().splitlines() or ["no message"])[-1]
        raise VerifierError(f"the verifier {words!r} left with exit code {process.returncode}: {last}")
    return wrote


def _rewards_in(text: str, words: str, wanted: int, strict: bool) -> list[float]:
    """Return the rewards in what a verifier's command wrote, a line each."""
    found, stray = [], []
    for line in filter(str.strip, text.splitlines()):
        try:
            told = json.loads(line)
        except ValueError:
            told = None
        if not isinstance(told, Mapping) or "reward" not in told:
            stray.append(line)
            continue
        try:
            found.append(float(told["reward"]))
        except (TypeError, ValueError):
            raise VerifierError(
                f"the verifier {words!r} wrote {line[:200]!r}: a reward is a number"
            ) from None
    if stray and (strict or not found):
        raise VerifierError(
            f'the verifier {words!r} must write {{"reward": 1}} a line and nothing else, and wrote {stray[0][:200]!r}'
        )
    if stray and len(found) != wanted:
        raise VerifierError(
            f"the verifier {words!r} gave {len(found)} rewards for {wanted} answers, and lines that are none, the "
            f"first {stray[0][:200]!r}"
        )
    if stray:
        logging.getLogger(__name__).warning(
            "the verifier %r wrote %d lines that are no reward, the first %r: skipped "
            "(task.verifier_strict=true refuses them)",
            words, len(stray), stray[0][:200],
        )  # fmt: skip
    return found


def command_words(words: str) -> list[str]:
    """Return the words of a command line. Raises UsageError for none, a quotation without its end, no such program."""
    try:
        found = shlex.split(words)
    except ValueError as error:
        raise UsageError(
            f"task.verifier_command={words!r} cannot be read ({error}): check its quotes"
        ) from None
    if not found:
        raise UsageError("task.verifier=command needs task.verifier_command: name the program to ask")
    if shutil.which(found[0]) is None:
        raise UsageError(
            f"task.verifier_command={words!r}: there is no program {found[0]!r} that can be started"
        )
    return found


VERIFIERS: dict[str, Verify] = {"exact": exact, "number": number, "math": maths}


def verifier(task: Task) -> Verify:
    """Return the verifier a task names. Raises UsageError where a command is asked for and none given."""
    if task.verifier.name == "code":
        return code(task.code_seconds)
    if task.verifier.name != "command":
        return VERIFIERS[task.verifier.name]
    command_words(task.verifier_command)
    return command(task.verifier_command, task.verifier_seconds, task.verifier_strict)


def rewards(
    verify: Verify, problems: Sequence[dict[str, Any]], answers: Sequence[str], seconds: float
) -> list[float]:
    """Ask a verifier and check what it says: a finite reward from 0 to 1 for each answer, in time.

    It sees each problem's row with all columns of the data, and `problem` and `answer` as they were read.
    """
    name = getattr(verify, "__name__", "verifier")
    own = (
        verify not in VERIFIERS.values() and name != "code"
    )  # math-verify and the sandbox keep their own time
    asked = [
        {**row.get("row", {}), **{key: row[key] for key in ("problem", "answer") if key in row}}
        for row in problems
    ]
    try:
        with limited(seconds if own else 0, name):
            found = [float(value) for value in verify(asked, answers)]
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
