"""Judge vectors without training on them: the STS sets, and the shape of the space they lie in.

Two sets of weights are judged: `best`, chosen on STS-B dev as the paper does (labels are used there, so it is
not quite unsupervised), and `last`, which no label has seen. The space is measured on STS-B test, at `best`.
"""

from __future__ import annotations

import filecmp
from typing import Any

import numpy as np

from harness import Items
from harness.data.jsonl import read_json
from harness_simcse.metrics import DIRECTIONS, METRICS, SETS
from harness_simcse.patient import load
from harness_simcse.preparation import load_sets, test_set, validation_set
from harness_simcse.protocol import Pairs, correlation, cosines, related, vectors
from harness_simcse.settings import Objective
from harness_simcse.space import spectrum, squared_distances, uniformity

Measured = dict[str, float | Items]
Vectors = dict[str, np.ndarray]
MOST = 10_000  # distinct sentences for uniformity: all pairs of them are compared


def evaluate(run: Any, split: str) -> Measured:
    """Return the correlations at the last and the best weights, and the space's shape; on validation the first."""
    sets = load_sets(run.data_dir)
    if split == "validation":
        pairs = validation_set(sets)
        return {} if pairs is None else judge(run, {"test": pairs})[0]
    tests = {name: sets[name] for name in SETS if name in sets} | {"test": test_set(sets)}
    found, known = judge(run, tests)
    found |= space(known, tests["test"], run.task.positive_score)
    counts = read_json(run.data_dir / "skipped.json")
    found["skipped_rows"] = float(sum(counts.values()))
    explain(run, found)
    return found


def judge(run: Any, sets: dict[str, Pairs]) -> tuple[Measured, Vectors]:
    """Return `<set>@last` and `<set>@best` for every set, and the vectors of the best weights."""
    last, best = (run.output_dir / f"{which}.safetensors" for which in ("last", "best"))
    found, known = correlations(run, sets, "last")
    if best.exists() and not filecmp.cmp(last, best, shallow=False):
        other, known = correlations(run, sets, "best")
        return found | other, known
    if best.exists() or run.method.objective in (Objective.nothing, Objective.whitening):
        # The last step was the best one, or there was nothing to choose.
        found |= {name.replace("@last", "@best"): value for name, value in found.items()}
    return found, known


def correlations(run: Any, sets: dict[str, Pairs], which: str) -> tuple[Measured, Vectors]:
    """Return `<set>@<which>` as items, the average where all seven sets are there, and the vectors."""
    encoder = load(run, which)

    def encode(texts: list[str]) -> np.ndarray:
        return encoder.encode(
            texts, progress=lambda n, total: run.progress(n, total, note=f"judging {which}")
        )

    known = vectors(encode, sets.values())
    cosine = cosines(known, sets)
    found: Measured = {
        f"{name}@{which}": Items(
            {"cosine": cosine[name].tolist(), "gold": pairs.gold}, pairs.ids, {"sentences": related(pairs)}
        )
        for name, pairs in sets.items()
    }
    if set(SETS) <= set(sets):
        found[f"average@{which}"] = float(np.mean([correlation(sets[name], cosine[name]) for name in SETS]))
    return found, known


def space(known: Vectors, pairs: Pairs, positive_score: float) -> Measured:
    """Return alignment of the pairs that mean the same, uniformity and the spectrum of all their sentences."""
    x = np.stack([known[text] for text in dict.fromkeys((*pairs.first, *pairs.second))][:MOST])
    found: Measured = {"uniformity": uniformity(x)}
    close = pairs.only(lambda i: pairs.gold[i] > positive_score)
    if len(close):
        u, v = (np.stack([known[text] for text in column]) for column in (close.first, close.second))
        distances = {"distance": squared_distances(u, v).tolist()}
        found["alignment"] = Items(distances, close.ids, {"sentences": related(close)})
    shares = spectrum(x)
    found |= {f"singular_value_{k}": float(shares[k - 1]) for k in DIRECTIONS if k <= len(shares)}
    return found


def explain(run: Any, found: Measured) -> None:
    """Give the reason for every declared metric that is not there."""
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
        elif kind in ("average", *SETS):
            missing = [s for s in SETS if f"{s}@last" not in found]
            several = kind == "average" and len(missing) < len(SETS) - 1
            # A set that was not given is none that anybody asked for.
            reason = (
                f"the average is of seven sets, and {', '.join(missing)} is not in data.sts"
                if several
                else ""
            )
        elif name == "alignment":
            reason = f"no pair has a score above task.positive_score={run.task.positive_score:g}"
        elif name.startswith("singular_value"):
            reason = "the vectors have fewer directions than that"
        else:
            reason = f"{kind} is not in data.sts"
        run.absent(name, reason)
