"""Judge vectors without training on them: the STS sets, and the shape of the space they lie in.

Two sets of weights are judged: `best`, chosen on STS-B dev as the paper does (labels are used there, so it is
not quite unsupervised), and `last`, which no label has seen. The space is measured on STS-B test, at `best`.
"""

from __future__ import annotations

import filecmp
import json
from typing import Any

import numpy as np

from harness import Items
from harness_simcse.claims import DIRECTIONS
from harness_simcse.patient import load
from harness_simcse.preparation import load_sets, test_set, validation_set
from harness_simcse.settings import Objective
from harness_simcse.space import spectrum, squared_distances, uniformity
from harness_simcse.sts import SETS, Pairs, correlation, cosines, vectors

MOST = 10_000  # distinct sentences for uniformity: all pairs of them are compared


def evaluate(run: Any, split: str) -> dict[str, float | Items]:
    """Return the correlations at the best and the last weights, and the space's shape; on validation the first."""
    sets = load_sets(run.data_dir)
    if split == "validation":
        pairs = validation_set(sets)
        return {} if pairs is None else judge(run, {"test": pairs})
    tests = {name: sets[name] for name in SETS if name in sets} | {"test": test_set(sets)}
    found = judge(run, tests)
    found |= space(run, tests["test"])
    counts = json.loads((run.data_dir / "skipped.json").read_text(encoding="utf-8"))
    found["skipped_rows"] = float(sum(counts.values()))
    explain(run, found)
    return found


def judge(run: Any, sets: dict[str, Pairs]) -> dict[str, float | Items]:
    """Return `<set>@last` and `<set>@best` for every set, and the average where all seven are there."""
    found: dict[str, float | Items] = {}
    last, best = (run.output_dir / f"{which}.safetensors" for which in ("last", "best"))
    for which in ("last", "best") if best.exists() else ("last",):
        if which == "best" and filecmp.cmp(last, best, shallow=False):
            return found | at_best(found)  # the last step was the best one
        scored = cosines(counted(run, load(run, which), which), sets)
        for name, cosine in scored.items():
            items = Items({"cosine": cosine.tolist(), "gold": sets[name].gold}, sets[name].ids)
            found[f"{name}@{which}"] = items
        if set(SETS) <= set(sets):
            found[f"average@{which}"] = float(np.mean([correlation(sets[n], scored[n]) for n in SETS]))
    untrained = run.method.objective in (Objective.nothing, Objective.whitening)
    return found | at_best(found) if untrained else found


def at_best(found: dict[str, float | Items]) -> dict[str, float | Items]:
    """Return what was measured at the last weights under the name of the best ones."""
    return {name.replace("@last", "@best"): value for name, value in found.items()}


def counted(run: Any, encoder: Any, which: str) -> Any:
    """Return the encoder's `encode`, with its progress shown."""

    def encode(texts: list[str]) -> np.ndarray:
        return encoder.encode(
            texts, progress=lambda done, total: run.progress(done, total, note=f"judging {which}")
        )

    return encode


def space(run: Any, pairs: Pairs) -> dict[str, float | Items]:
    """Return alignment of the pairs that mean the same, uniformity and the spectrum of all their sentences."""
    best = (run.output_dir / "best.safetensors").exists()
    known = vectors(load(run, "best" if best else "last").encode, [pairs])
    x = np.stack(list(known.values())[:MOST])
    close = [i for i, gold in enumerate(pairs.gold) if gold > run.task.positive_score]
    found: dict[str, float | Items] = {"uniformity": uniformity(x)}
    if close:
        u, v = (np.stack([known[column[i]] for i in close]) for column in (pairs.first, pairs.second))
        distances = squared_distances(u, v)
        found["alignment"] = Items({"distance": distances.tolist()}, [pairs.ids[i] for i in close])
    shares = spectrum(x)
    for k in DIRECTIONS:
        if k <= len(shares):
            found[f"singular_value_{k}"] = float(shares[k - 1])
    return found


def explain(run: Any, found: dict[str, float | Items]) -> None:
    """Give the reason for every declared metric that is not there."""
    from harness_simcse.claims import METRICS

    trained = run.method.objective in (Objective.unsupervised, Objective.supervised)
    for name in set(METRICS) - set(found):
        kind, _, which = name.partition("@")
        if name.startswith("train_") and trained:
            continue
        if name.startswith("train_"):
            library = run.method.objective is Objective.library
            reason = "sentence-transformers' trainer is not measured" if library else "nothing is trained"
        elif which == "best" and f"{kind}@last" in found:
            library = run.method.objective is Objective.library
            reason = "the library's trainer chooses no step" if library else "there are no validation pairs"
        elif kind == "average":
            missing = [s for s in SETS if f"{s}@last" not in found]
            reason = f"the average is of seven sets, and {', '.join(missing)} is not in data.sts"
        elif name == "alignment":
            reason = f"no pair has a score above task.positive_score={run.task.positive_score:g}"
        elif name.startswith("singular_value"):
            reason = "the vectors have fewer directions than that"
        else:
            reason = f"{kind} is not in data.sts"
        run.absent(name, reason)
