"""How often the referee errs, by simulation: declared looks, looks that nobody declared, campaigns of proposals.

    python -m benchmarks.referee            # prints the tables, a few seconds on one core
    python -m benchmarks.referee --write    # and puts them into docs/decide.md and docs/gate.md
    python -m benchmarks.referee --loop     # plays the loop of docs/gate.md; with --write its table goes there too

Values are made up, so the truth is known; what decides is the code that decides claims and proposals.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import stdtr

from benchmarks.verdict import percent, table
from harness.verdicts.looks import LOOKS, anytime, critical, levels
from harness.verdicts.looks.campaign import MODES, after, level

DOCS = Path(__file__).parent.parent / "docs"
TIMES = 100_000  # a rate of 5 % has a standard error of .07 %
EACH = {upto: tuple(range(3, upto + 1)) for upto in (5, 10, 20, 40)}


def main() -> None:
    """Print every table; with --write put them into their pages between the marks."""
    began = time.process_time()
    if "--loop" in sys.argv:
        with tempfile.TemporaryDirectory() as folder:
            told(DOCS / "gate.md", "loop", [*played(loop(Path(folder))), ""])
        return
    pages = {"decide.md": (declared, undeclared, items), "gate.md": (campaigns,)}
    for page, tables in pages.items():
        told(DOCS / page, "simulation", [line for made in tables for line in [*made(), ""]])
    print(f"{time.process_time() - began:.0f} s of one core", file=sys.stderr)


def told(page: Path, mark: str, lines: list[str]) -> None:
    """Print what was found; with --write put it between a page's marks."""
    how = f"python -m benchmarks.referee{' --loop' if mark == 'loop' else ''}"
    text = "\n".join([*lines, f"(`{how}`, {time.strftime('%Y-%m-%d')})", ""])
    print(text)
    if "--write" in sys.argv:
        marks = rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)"
        old = page.read_text(encoding="utf-8")
        page.write_text(re.sub(marks, lambda m: m[1] + text + m[2], old, flags=re.S), encoding="utf-8")


def loop(folder: Path, **settings: int) -> list[dict[str, Any]]:
    """Play the loop of docs/gate.md in a folder, with other defaults of its program; return the answers."""
    text = (DOCS / "gate.md").read_text(encoding="utf-8")
    for kind, name in (("python", "train.py"), ("text", "proposals.txt"), ("bash", "loop.sh")):
        (found,) = re.findall(rf"```{kind}\n(.*?)```", text, flags=re.S)
        for setting, value in settings.items():
            found = re.sub(rf'\("{setting}", \d+\)', f'("{setting}", {value})', found)
        (folder / name).write_text(found, encoding="utf-8")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environ = {**os.environ, "PATH": path}
    subprocess.run(["bash", "loop.sh"], cwd=folder, env=environ, check=True)
    lines = (folder / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    return [answer for answer in map(json.loads, lines) if answer["event"] == "ended"]


def played(answers: list[dict[str, Any]]) -> Iterator[str]:
    """Tell what each proposal of a loop came to, and what it cost."""
    rows = [
        (
            i,
            f"`{answer['candidate'].split()[-1]}`",
            answer["outcome"],
            answer.get("seeds", 0),
            answer["reason"],
        )
        for i, answer in enumerate(answers, 1)
    ]
    yield from table(("proposal", "change", "outcome", "seeds", "why"), *rows)
    seeds = np.mean([answer.get("seeds", 0) for answer in answers])
    yield f"\n{answers[-1]['kept_so_far']} of {len(answers)} kept, at a mean of {seeds:.1f} seeds a proposal.\n"


def drawn(effect: float, seeds: int, key: int = 0) -> np.ndarray:
    """Return paired differences in deviations of one, (repetitions, seeds)."""
    return effect + np.random.default_rng([key, seeds]).standard_normal((TIMES, seeds))


def means(values: np.ndarray, looks: tuple[int, ...]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the mean and its standard error at each look, (repetitions,) each."""
    total, squares = np.cumsum(values, axis=1), np.cumsum(values**2, axis=1)
    for n in looks:
        mean = total[:, n - 1] / n
        yield mean, np.sqrt((squares[:, n - 1] / n - mean**2) / (n - 1))


def outcome(values: np.ndarray, looks: tuple[int, ...], asked: tuple[float, ...]) -> tuple[str, str]:
    """Return how often the looks decide at these nominal levels, and after how many seeds on average."""
    open_, seeds = np.ones(len(values), dtype=bool), np.full(len(values), looks[-1])
    for (mean, error), n, nominal in zip(means(values, looks), looks, asked, strict=True):
        now = open_ & (np.abs(mean) > critical(n, nominal) * error)
        seeds[now] = n
        open_ &= ~now
    return percent(~open_), f"{seeds.mean():.1f}"


EFFECTS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)


def declared() -> Iterator[str]:
    """Tell what declared looks ask, how often they decide, and after how many seeds."""
    yield "**Declared looks.** Critical t (and nominal level) of each look; 5 % in all.\n"
    rows = []
    for spending in ("even", "late"):
        nominal = levels(LOOKS, spending)
        asked = [f"{critical(n, x):.2f} ({x:.4f})" for n, x in zip(LOOKS, nominal, strict=True)]
        rows.append((spending, *asked))
    yield from table(("spending", *(f"{n} seeds" for n in LOOKS)), *rows)
    yield "\n**Decided, at a mean number of seeds**, by the true distance from the bound (deviations of a seed).\n"
    plans = {
        "looks 3, 5, 8, 12, 20, even": (LOOKS, levels(LOOKS)),
        "the same, late": (LOOKS, levels(LOOKS, "late")),
        "the same, each look at 95 %": (LOOKS, (0.05,) * len(LOOKS)),
        "20 seeds, one look": ((20,), (0.05,)),
        "5 seeds, one look": ((5,), (0.05,)),
    }
    rows = []
    for name, (looks, asked) in plans.items():
        cells = [" after ".join(outcome(drawn(effect, looks[-1]), looks, asked)) for effect in EFFECTS]
        rows.append((name, *cells))
    yield from table(("plan", *map(str, EFFECTS)), *rows)


def undeclared() -> Iterator[str]:
    """Tell how often looks after every seed decide, by the usual rule and by the e-process."""
    yield "**Looks that nobody declared**, one after each seed from the third on; no difference, so all are wrong.\n"
    rows = []
    for upto, looks in EACH.items():
        values = drawn(0.0, upto)
        each = tuple(anytime(n) for n in looks)
        usual, _ = outcome(values, looks, (0.05,) * len(looks))
        alone, _ = outcome(values, looks, each)
        first, _ = outcome(values, looks, (0.05, *each[1:]))
        rows.append((upto, usual, alone, first))
    yield from table(
        ("up to, seeds", "95 % at each look", "the e-process", "the first at 95 %, then the e-process"), *rows
    )
    found = [
        " after ".join(outcome(drawn(e, 40), EACH[40], tuple(map(anytime, EACH[40])))) for e in EFFECTS[1:]
    ]
    yield "\nWhat the e-process decides of true distances, up to forty seeds.\n"
    yield from table(tuple(map(str, EFFECTS[1:])), tuple(found))


def items() -> Iterator[str]:
    """Tell how often seeds and items together are wrong, squared half-widths added at each look's level."""
    yield "**Seeds and items** (400 items, standard error .05; no difference): wrong over all looks.\n"
    spreads = (0.001, 0.05, 0.1, 0.2, 0.3, 0.6, 2.0)
    rows = []
    for name, looks, asked in (
        ("declared, 3, 5, 8, 12, 20", LOOKS, levels(LOOKS)),
        ("e-process, each seed to 20", EACH[20], tuple(map(anytime, EACH[20]))),
        ("first at 95 %, then e-process", EACH[20], (0.05, *map(anytime, EACH[20][1:]))),
    ):
        cells = []
        for spread in spreads:
            luck = 0.05 * np.random.default_rng(7).standard_normal(TIMES)
            values = spread * drawn(0.0, looks[-1], 1)
            wrong = np.zeros(TIMES, dtype=bool)
            for (mean, error), n, nominal in zip(means(values, looks), looks, asked, strict=True):
                if nominal:
                    half = np.hypot(critical(n, nominal) * error, critical(400, nominal) * 0.05)
                    wrong |= np.abs(mean + luck) > half
            cells.append(percent(wrong))
        rows.append((name, *cells))
    yield from table(("looks", *(f"seed sd {s:g}" for s in spreads)), *rows)


def campaigns() -> Iterator[str]:
    """Tell what 200 campaigns of 200 proposals keep, the base's seeds being shared by the proposals on it."""
    yield "**Campaigns.** 200 of 200 proposals each; a gain is two deviations of the paired difference.\n"
    rows = [(mode, share, *campaign(mode, share, gain=2.0)) for mode in MODES for share in (0.0, 0.1, 0.3)]
    yield from table(
        (
            *("mode", "share of gains", "campaigns that keep any noise", "gains kept"),
            *("noise among the kept, mean", "the worst campaign", "seeds a proposal"),
        ),
        *rows,
    )


def campaign(
    mode: str, share: float, gain: float, times: int = 200, proposals: int = 200
) -> tuple[str, str, str, str, str]:
    """Play campaigns side by side with the code that judges a proposal; return their row of the table."""
    rng = np.random.default_rng([len(mode), int(100 * share)])
    half = np.sqrt(0.5)  # of the paired difference's variance, base and candidate alike
    base = half * rng.standard_normal((times, LOOKS[-1]))
    true = rng.random((times, proposals)) < share
    kept, seeds = np.zeros((times, proposals), dtype=bool), np.zeros((times, proposals))
    for i in range(proposals):
        allowed = level(kept[:, :i], mode=mode, proposals=proposals)
        gains = half * rng.standard_normal(base.shape) - base + np.where(true[:, i], gain, 0.0)[:, None]
        live, p = np.arange(times), np.ones((len(LOOKS), times))
        for look, n in enumerate(LOOKS):
            t = gains[live, :n].mean(1) / gains[live, :n].std(1, ddof=1) * np.sqrt(n)
            p[look, live] = stdtr(n - 1, -t)
            _, better, hopeless = after(p[: look + 1, live], t, allowed[live], LOOKS)
            seeds[live, i] = n
            kept[live[better], i] = True
            live = live[~(better | hopeless)]
            if not len(live):
                break
        new = kept[:, i]  # the next base, with fresh seeds
        base[new] = half * rng.standard_normal((new.sum(), LOOKS[-1]))
    wrong = (kept & ~true).sum(1) / np.maximum(kept.sum(1), 1)
    found = percent(kept[true]) if true.any() else "–"
    return (
        percent((kept & ~true).any(1)),
        found,
        percent(wrong),
        f"{100 * wrong.max():.0f} %",
        f"{seeds.mean():.1f}",
    )


if __name__ == "__main__":
    main()
