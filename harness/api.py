"""The verbs of the command line for notebooks and programs: typed results that show themselves, and no exit.

Runs, reports and plans lie in the same folders as the command line's, so one goes on where the other stopped. What
goes wrong is raised as `HarnessError`, whose `fix` says what to do. A run that fails raises nothing: it is a row of
what comes back. Importing this is cheap.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import nan
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, UsageError

__all__ = [
    "Comparison",
    "Decision",
    "HarnessError",
    "Open",
    "Report",
    "Run",
    "Sweep",
    "UsageError",
    "Verdict",
    "compare",
    "decide",
    "report",
    "run",
]

LOOKS = (3, 5, 8, 12, 20)


@dataclass(frozen=True)
class Run:
    """How one run ended: "finished", "skipped" (it was finished before) or "failed", with the reason."""

    paper: str
    method: str
    seed: int
    outcome: str
    seconds: float
    error: str
    run_key: str
    folder: Path


@dataclass(frozen=True)
class Sweep:
    """How a sweep ended; `exit_code` is what `harness run` would leave with, `behind` why the store lacks something."""

    id: str
    results: Path
    runs: tuple[Run, ...]
    missing: int  # not started, or broken off
    stale: int  # finished before, by other code than today's
    behind: tuple[str, ...]
    exit_code: int

    def _repr_html_(self) -> str:
        head = ("method", "seed", "outcome", "seconds", "error")
        rows = [
            (f"{one.paper}/{one.method}", one.seed, one.outcome, f"{one.seconds:.1f}", one.error)
            for one in self.runs
        ]
        return _table(head, rows) + (f"<p>{self.missing} runs did not start.</p>" if self.missing else "")


@dataclass(frozen=True)
class Verdict:
    """A claim and its verdict at one setting; `claim` is its whole part of the scorecard."""

    paper: str
    setting: str
    number: int
    text: str
    word: str
    value: float | None
    low: float | None
    high: float | None
    by: float
    side: str
    holm: bool
    reason: str
    claim: Mapping[str, Any] = field(repr=False)

    def _repr_html_(self) -> str:
        from harness.numbers import number, span

        asked = f"{'<' if self.side == 'below' else '>'} {number(self.by)}"
        head = ("claim", "asked", "measured [95 %]", "verdict", "why")
        return _table(
            head, [(self.text, asked, span(self.value, self.low, self.high), self.word, self.reason)]
        )


@dataclass(frozen=True)
class Report:
    """The verdicts on papers' runs: scorecards as plain data, and the page that `harness report` writes."""

    cards: tuple[Mapping[str, Any], ...] = field(repr=False)
    page: Path
    exit_code: int
    html: str = field(repr=False)

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Return every claim of every scorecard with its verdict."""
        return tuple(one for card in self.cards for one in _verdicts(card))

    def _repr_html_(self) -> str:
        return _framed(self.html)


@dataclass(frozen=True)
class Comparison:
    """Two sets of runs, as plain data by pair of methods, and the page that `harness compare` writes."""

    pairs: tuple[Mapping[str, Any], ...] = field(repr=False)
    page: Path
    exit_code: int
    html: str = field(repr=False)

    def _repr_html_(self) -> str:
        return _framed(self.html)


@dataclass(frozen=True)
class Open:
    """A claim that stayed open, why, and the seeds and hours that would decide it; None where nothing does."""

    text: str
    why: str
    seeds: int | None
    hours: float | None


@dataclass(frozen=True)
class Decision:
    """What was decided, by looks that were declared, and what stays open; `runs` were started for it."""

    verdicts: tuple[Verdict, ...]
    open: tuple[Open, ...]
    looks: tuple[Mapping[str, Any], ...]
    runs: int
    stopped: str
    exit_code: int
    html: str = field(repr=False)

    def _repr_html_(self) -> str:
        rows = [(one.text, one.why, one.seeds, one.hours) for one in self.open]
        table = _table(("open", "why", "seeds it would take", "hours"), rows) if rows else ""
        said = f"<p>{self.runs} runs were started; {html.escape(self.stopped)}.</p>"
        return said + table + _framed(self.html)


def run(*overrides: str, results: str | Path = "results") -> Sweep:
    """Run a sweep, as `harness run -m` does: `run("+experiment=alibi", "data.corpus=my.txt")`.

    Raises HarnessError where no run could begin.
    """
    from harness.sweeps.sweep import swept

    done = swept(["-m", *_words(overrides, results)])
    runs = tuple(
        Run(
            line["paper"],
            line["method"],
            line["seed"],
            line["outcome"],
            line["seconds"],
            f"{line['error']['type']}: {line['error']['message']}" if line["error"] else "",
            line["run_key"],
            Path(line["folder"]),
        )
        for line in done.runs
    )
    return Sweep(done.id, done.results, runs, done.missing, done.stale, done.behind, done.exit_code)


def report(*papers: str, results: str | Path = "results", tracking: str = "", lang: str = "en") -> Report:
    """Judge runs and write the report, as `harness report` does; all papers with runs by default.

    `tracking` takes the runs of an MLflow tracking URI, `lang` is the page's language. Raises UsageError for a paper
    that is not installed.
    """
    from harness.commands.report import judged
    from harness.reports.html import to_html

    found = judged(papers, _folder(results), tracking, lang=lang)
    page = to_html(found.cards, found.records, lang)
    return Report(tuple(found.cards), found.page, found.exit_code, page)


def compare(
    a: str,
    b: str,
    results: str | Path = "results",
    metrics: Sequence[str] = (),
    detect: float = nan,
    margin: float = nan,
    tracking: str = "",
) -> Comparison:
    """Compare two sets of runs, as `harness compare` does: `compare("alibi/alibi", "alibi/learned")`.

    Raises HarnessError where no pair of methods can be compared.
    """
    from harness.commands.compare import compared
    from harness.reports.comparison import to_html

    found, records, page = compared(a, b, _folder(results), tracking, metrics, detect, margin)
    wrong = found["damaged"] or any(pair["refused"] for pair in found["pairs"])
    return Comparison(tuple(found["pairs"]), page, 1 if wrong else 0, to_html(found, records))


def decide(
    *overrides: str,
    results: str | Path = "results",
    claims: Sequence[str] = (),
    looks: Sequence[int] = LOOKS,
    most_seeds: int = 20,
    minutes: float | None = None,
    spending: str = "even",
    power: float = 0.1,
) -> Decision:
    """Run seeds until a paper's claims are decided, as `harness decide` does: `decide("+experiment=alibi")`.

    Raises UsageError for what no plan can be made of.
    """
    import shlex
    import sys

    from harness.reports.html import to_html
    from harness.sweeps.referee import decide as decided
    from harness.sweeps.referee import question

    def tell(line: str) -> None:
        print(f"harness: {line}", file=sys.stderr)

    asked = question(_words(overrides, results), claims)
    command = shlex.join(["harness", "decide", *overrides])
    found = decided(asked, looks, most_seeds, minutes, spending, power, command, tell)
    open_ = tuple(
        Open(text, why, **{"seeds": None, "hours": None, **found.takes.get(text, {})})
        for text, why in found.left.items()
    )
    cards = [found.card] if found.card else []
    verdicts = tuple(one for card in cards for one in _verdicts(card))
    exit_code = 4 if found.left else 0
    started = len(found.started)
    return Decision(
        verdicts, open_, tuple(found.looks), started, found.stopped, exit_code, to_html(cards, ())
    )


def _words(overrides: Sequence[str], results: str | Path) -> list[str]:
    for word in overrides:
        if word.startswith("-"):
            raise UsageError(
                f"{word} is a flag of the command line: give overrides, as in method=alibi/alibi"
            )
    return [f"results={_folder(results)}", *overrides]


def _folder(results: str | Path) -> Path:
    return Path(results).expanduser().resolve()


def _verdicts(card: Mapping[str, Any]) -> list[Verdict]:
    from harness.reports.phrases import setting

    same = ("text", "value", "low", "high", "by", "side", "holm", "reason")
    return [
        Verdict(
            paper=card["paper"],
            setting=setting(card),
            number=number,
            word=claim["verdict"],
            **{key: claim[key] for key in same},
            claim=claim,
        )
        for number, claim in enumerate(card["claims"], 1)
    ]


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    def line(cells: Sequence[object], kind: str) -> str:
        said = ("–" if cell is None else html.escape(str(cell)) for cell in cells)
        return "<tr>" + "".join(f"<{kind}>{cell}</{kind}>" for cell in said) + "</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f"<table><thead>{line(head, 'th')}</thead><tbody>{body}</tbody></table>"


def _framed(page: str) -> str:
    """Return a whole page as part of another one, from which it can neither take nor fetch anything."""
    style = "width:100%;height:40em;border:0"
    return f'<iframe sandbox srcdoc="{html.escape(page)}" style="{style}"></iframe>'
