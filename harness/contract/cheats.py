"""Ways to win without being better, each looked for in smoke runs of the paper's method and its baselines.

A finished run is evaluated once more in a confined process, as itself, under another method's name and on the
other split, and training is watched as it goes through `run.fit`. What no smoke run can show is not looked for:
whether a reported number was really printed, whether data were chosen with the outcome in view.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.contract.bench import Bench
from harness.papers.statement import Claim, Paper
from harness.runs.files import canonical, write_json
from harness.runs.results import Result
from harness.runs.run import measure, open_run
from harness.runs.stages import ANSWERS

LESS = 0.9  # of what the method is trained on; below it a baseline has been given less
DISTINCT = 0.7  # the same for distinct rows, which chance makes differ
MANY = 20  # items from which equal values with two seeds are no chance
FEW = 5  # of them that differ from most, as right answers from wrong ones: fewer may be the same by chance
LONG = 12  # characters of a text that does not occur twice by chance
BIG = 50_000_000  # bytes of a prepared file that is looked into
MET = 0.05  # share of test inputs that chance may have repeated in training


@dataclass(frozen=True)
class Outcome:
    """What one evaluation gave: metrics, and of each metric's items their inputs and digests of their values."""

    metrics: Mapping[str, float]
    inputs: Mapping[str, Mapping[str, Any]]  # metric -> id -> the item's input; none where not given
    values: Mapping[str, Mapping[str, str]]  # metric -> id -> digest of the item's columns
    grouped: Sequence[str] = ()  # metrics that say which of their items hang together


@dataclass(frozen=True)
class Consumed:
    """What a run's fits were given: steps, rows, tokens, and how many rows were different ones."""

    steps: int = 0
    rows: int = 0
    tokens: int = 0
    distinct: int = 0


class Watched:
    """Batches that count what is drawn from them; everything else is theirs."""

    def __init__(self, batches: Any, told: Callable[[Any], None]) -> None:
        self.batches, self.told = batches, told

    def __getattr__(self, name: str) -> Any:
        return getattr(self.batches, name)

    def __iter__(self) -> Watched:
        return self

    def __next__(self) -> Any:
        batch = next(self.batches)
        self.told(batch)
        return batch


def watching(plugin: Any, file: Path) -> Callable[[Any], None]:
    """Return the plugin's `train`, which leaves in `file` how many distinct rows its fits met, and beside it the rows.

    Stages are left out, as in what a result says was consumed.
    """

    def train(run: Any) -> None:
        seen: set[str] = set()
        met: set[str] = set()

        def told(batch: Mapping[str, Any]) -> None:
            tensors = [tensor.detach().cpu() for tensor in batch.values() if hasattr(tensor, "detach")]
            rows = len(tensors[0]) if tensors else 0
            for row in range(rows):
                parts = [_digest(tensor[row]) for tensor in tensors if tensor.dim()]
                seen.add("".join(parts))
                met.update(parts)

        fit = run.fit
        run.fit = lambda model, batches, *rest, **options: fit(
            model, batches if run.sharing else Watched(batches, told), *rest, **options
        )
        plugin.hook("train")(run=run)
        write_json(file, {"distinct": len(seen)})
        write_json(file.with_suffix(".rows.json"), sorted(met))

    return train


def consumed(result: Result, file: Path) -> Consumed:
    """Return what a run was given by its result and by what `watching` left; nothing where it went through no fit."""
    distinct = json.loads(file.read_text()) if file.exists() else {}
    return Consumed(**result.consumed, **distinct)


def outcome(bench: Bench, method: str, split: str = "test", name: str = "", seed: int = 0) -> Outcome:
    """Evaluate the finished run of `method` once more, on `split` and under the method name `name`."""
    spec = bench.spec(method, "first", seed)
    file = bench.folder / "results" / "outcomes" / f"{method}-{seed}-{split}-{name}.json"

    def act() -> None:
        run = open_run(spec, bench.plugin)
        shutil.rmtree(run.folder / ANSWERS, ignore_errors=True)  # asked anew, whatever was answered before
        run.data_dir = bench.prepared(spec)
        run.name = name or run.name
        metrics, items = measure(bench.plugin, run, split)
        write_json(
            file,
            {
                "metrics": metrics,
                "inputs": {
                    metric: dict(zip(map(str, one.ids), map(_plain, one.inputs), strict=True))
                    for metric, one in items.items()
                    if len(one.inputs)
                },
                "values": {
                    metric: {
                        str(key): _digest(row)
                        for key, *row in zip(one.ids, *map(_numbers, one.columns.values()), strict=True)
                    }
                    for metric, one in items.items()
                },
                "grouped": [metric for metric, one in items.items() if one.groups or one.contiguous],
            },
        )

    seen = bench.confined(act)
    if seen.error or seen.exit_code:
        raise RuntimeError(f"evaluate on {split} as {name or method}: {seen.error or seen.exit_code}")
    return Outcome(**json.loads(file.read_text(encoding="utf-8")))


def _digest(value: Any) -> str:
    return hashlib.sha256(canonical(_plain(value)).encode()).hexdigest()[:16]


def _numbers(column: Any) -> list[Any]:
    import numpy as np

    found: list[Any] = np.asarray(column, dtype=float).tolist()
    return found


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def claimed(paper: Paper, method: str) -> list[str]:
    """Return the metrics that claims are about and that this method is part of."""
    found = [m for claim in paper.claims for m in claim.contrast.metrics if method in claim.contrast.methods]
    return list(dict.fromkeys(found))


def moves(paper: Paper, method: str, first: Outcome, other: Outcome) -> str:
    """Say which claimed metric does not move with the seed although what stands behind it, or beside it, does."""
    changed = first.metrics != other.metrics or first.values != other.values
    for name in claimed(paper, method):
        same = name in first.metrics and first.metrics[name] == other.metrics.get(name)
        if not same or paper.metrics[name].exact or not changed:
            continue
        items = first.values.get(name)
        if items is None and first.metrics[name] % 1:  # a count may well be equal
            return f"{name} is the same with another seed, as a bare number: return the Items behind it"
        if items is None:
            continue
        if items != other.values.get(name):
            return f"the items of {name} move with the seed and it does not: let its `reduce` use them"
        others = len(items) - max(Counter(items.values()).values(), default=0)  # that are not as most are
        if len(items) >= MANY and others >= FEW:
            return f"{name} is the same item by item with another seed: use run.seed, or declare it deterministic"
    return ""


def unbiased(first: Outcome, other: Outcome, name: str) -> str:
    """Say which number a method's own name decides: its settings were kept, the name alone was another's."""
    for metric, value in first.metrics.items():
        if other.metrics.get(metric) != value:
            got = other.metrics.get(metric)
            return (
                f"evaluate gives {metric} = {got} for this outcome under the name {name} and {value} under its own: "
                "let settings decide (run.method), never run.name"
            )
    return ""


def same_test(outcomes: Mapping[str, Outcome]) -> str:
    """Say where two methods were measured on different inputs under one id."""
    known: dict[tuple[str, str], tuple[Any, str]] = {}
    for method, found in outcomes.items():
        for metric, inputs in found.inputs.items():
            for key, value in inputs.items():
                before = known.setdefault((metric, key), (value, method))
                if before[0] != value:
                    return (
                        f"the item {key!r} of {metric} has one input for {before[1]} and another for {method}: "
                        "measure every method on the same items"
                    )
    return ""


def together(outcomes: Mapping[str, Outcome]) -> str:
    """Say which metric's ids look as if items hung together (`a/1`, `a/2`) though no groups are declared."""
    for found in outcomes.values():
        for metric, items in found.values.items():
            if metric in found.grouped:
                continue
            first = [re.split(r"[/:#|]|[-_.](?=\d+$)", key)[0] for key in items]
            groups = Counter(first)
            if 1 < len(groups) < len(first) and max(groups.values()) > 1:
                name = next(group for group, count in groups.items() if count > 1)
                return (
                    f"ids of {metric} share beginnings ({name!r} begins {groups[name]}): if such items hang together, "
                    "say so with Items(groups=...)"
                )
    return ""


def apart(test: Outcome, validation: Outcome, deciding: Sequence[str]) -> str:
    """Say whether `validation` returns the rows of `test` for a `deciding` metric: then the test chooses settings."""
    for metric in deciding:
        ours, theirs = (one.inputs.get(metric, {}) for one in (test, validation))
        shared = set(map(_digest, ours.values())) & set(map(_digest, theirs.values()))
        values = test.values.get(metric, {})
        same = len(set(values.values())) > 1 and values == validation.values.get(metric)
        if same or (ours and 2 * len(shared) > len(ours)):
            return (
                f"the items of {metric} on validation are those of the test: keep rows apart for validation, "
                "or say why none are: Paper(no_validation='...')"
            )
    return ""


def unseen(folder: Path, rows: Path, inputs: Mapping[str, Any]) -> str:
    """Say how many test inputs training met: rows among its batches', or texts that `folder` holds once more.

    `inputs` maps an item's id to its input, and `rows` is what `watching` left of the batches.
    """
    met = set(json.loads(rows.read_text())) if rows.exists() else set()
    texts = {key: value for key, value in inputs.items() if isinstance(value, str) and len(value) >= LONG}
    found = {key for key, value in inputs.items() if _digest(value) in met}
    files = [path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.stat().st_size < BIG]
    for key, text in texts.items():
        forms = {
            text.encode(),
            json.dumps(text)[1:-1].encode(),
            json.dumps(text, ensure_ascii=False)[1:-1].encode(),
        }
        if sum(max(held.count(form) for form in forms) for held in files) > 1:
            found.add(key)
    if len(found) <= MET * len(inputs):
        return ""
    return (
        f"{len(found)} of {len(inputs)} test inputs are met in training, {sorted(found)[0]!r} for one: "
        "split before anything is drawn, and drop from training what the test holds"
    )


def fed(paper: Paper, found: Mapping[str, Consumed]) -> Iterator[tuple[str, str]]:
    """Yield for each baseline of a claim what it was given less of than the method, or ""; stated reasons count."""
    for method, baseline in dict.fromkeys(_pairs(paper.claims)):
        stated = paper.methods[baseline]
        if (
            not stated.baseline
            or stated.less
            or stated.deterministic
            or method not in found
            or baseline not in found
        ):
            continue
        less = _less(found[method], found[baseline])
        yield (
            f"{baseline}: it is trained on as much as {method}",
            f"{less}: train it on as much, or say why not: Method(less='...')" if less else "",
        )


def _pairs(claims: Sequence[Claim]) -> Iterator[tuple[str, str]]:
    for claim in claims:
        for other in (claim.contrast.than, *claim.contrast.of):
            if other and other != claim.contrast.method:
                yield claim.contrast.method, other


def _less(method: Consumed, baseline: Consumed) -> str:
    for name, least in (("steps", LESS), ("rows", LESS), ("tokens", LESS), ("distinct", DISTINCT)):
        ours, theirs = getattr(method, name), getattr(baseline, name)
        if theirs < least * ours:
            what = "distinct rows" if name == "distinct" else name
            return f"it is given {theirs:,} {what}, the method {ours:,}"
    return ""


def examined(bench: Bench, outcomes: Mapping[str, Outcome]) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield the name of each check on evaluated methods and the look that makes it."""
    names = list(bench.plugin.paper.methods)
    for method, found in outcomes.items():
        other = next(name for name in names if name != method)
        yield (
            f"{method}: its name alone decides no number",
            functools.partial(_renamed, bench, method, found, other),
        )
        yield f"{method}: validation is not the test", functools.partial(_apart, bench, method, found)
        if bench.plugin.implements("train"):
            yield (
                f"{method}: no test input is met in training",
                functools.partial(_unmet, bench, method, found),
            )
    yield "every method is measured on the same inputs", lambda: same_test(outcomes)


def _renamed(bench: Bench, method: str, found: Outcome, other: str) -> str:
    return unbiased(found, outcome(bench, method, name=other), other)


def _apart(bench: Bench, method: str, found: Outcome) -> str:
    paper = bench.plugin.paper
    if paper.no_validation:
        return ""
    deciding = [paper.tuned_by] if paper.tuned_by else claimed(paper, method)
    return apart(found, outcome(bench, method, split="validation"), deciding)


def _unmet(bench: Bench, method: str, found: Outcome) -> str:
    spec = bench.spec(method, "first")
    looks = (
        unseen(bench.prepared(spec), bench.watched(method).with_suffix(".rows.json"), inputs)
        for inputs in found.inputs.values()
    )
    return next(filter(None, looks), "")
