"""How often the intervals over data sets hold what they promise: `python -m tests.verdicts.over.coverage`.

Made data sets with a true effect each, whose errors are known or are told by a few seeds, alike or from half to twice
a typical one. Beside the house's rule stands the weighted interval of Hartung, Knapp, Sidik and Jonkman (Paule and
Mandel's variance), which the rule was chosen over.
"""

from __future__ import annotations

import numpy as np

from harness.verdicts.over import beside, pooled

DRAWS = 4000


def made(k: int, between: float, seeds: int, uneven: bool, draws: int = DRAWS, at: int = 0):
    """Return estimates and their errors, (draws, k) each, and what a next set would show, (draws,)."""
    rng = np.random.default_rng([at, k, seeds, int(10 * between)])
    errors = np.geomspace(0.5, 2, k) if uneven else np.ones(k)
    values = rng.standard_normal((draws, k)) * between + rng.standard_normal((draws, k)) * errors
    told = errors * np.sqrt(rng.chisquare(seeds - 1, (draws, k)) / (seeds - 1)) if seeds else errors
    after = rng.standard_normal(draws) * between + rng.standard_normal(draws) * errors[k // 2]
    return values, np.broadcast_to(told, values.shape), after


def ours(values: np.ndarray, errors: np.ndarray, after: np.ndarray) -> tuple[float, float, float]:
    """Return how often the mean's interval holds 0, the next set's interval the next set, and beside() it too."""
    held = np.zeros(3)
    for y, error, new in zip(values, errors, after, strict=True):
        found = pooled(y, error)
        low, high = beside(found, float(error[len(y) // 2]))
        held += [found.low <= 0 <= found.high, found.next_low <= new <= found.next_high, low <= new <= high]
    a, b, c = held / len(values)
    return float(a), float(b), float(c)


def weighted(values: np.ndarray, errors: np.ndarray) -> float:
    """Return how often the weighted interval of Hartung, Knapp, Sidik and Jonkman holds 0."""
    from scipy.stats import t

    k, v = values.shape[1], errors**2

    def off(tau: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        w = 1 / (v + tau[:, None])
        mean = (w * values).sum(1) / w.sum(1)
        return (w * (values - mean[:, None]) ** 2).sum(1), mean, w.sum(1)

    low, high = np.zeros(len(values)), k * (values.var(1, ddof=1) + v.max(1))
    none = off(low)[0] <= k - 1
    for _ in range(60):
        middle = (low + high) / 2
        above = off(middle)[0] > k - 1
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    q, mean, whole = off(np.where(none, 0, low))
    return float((np.abs(mean) <= t.ppf(0.975, k - 1) * np.sqrt(q / (k - 1) / whole)).mean())


def table() -> None:
    """Print the coverage of both, in percent: the mean, the next set, and the weighted mean."""
    print("| sets | between sets | errors from | errors | the mean | the next set | weighted, the mean |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for k in (3, 4, 6):
        for between in (0.0, 1.0, 3.0):
            for seeds, uneven in ((0, False), (3, False), (3, True), (5, True)):
                values, errors, after = made(k, between, seeds, uneven)
                mean, new, _ = ours(values, errors, after)
                cells = (
                    k,
                    f"{between:g}",
                    f"{seeds} seeds" if seeds else "known",
                    "½ to 2" if uneven else "alike",
                    *(f"{100 * held:.1f}" for held in (mean, new, weighted(values, errors))),
                )
                print(f"| {' | '.join(map(str, cells))} |")


if __name__ == "__main__":
    table()
