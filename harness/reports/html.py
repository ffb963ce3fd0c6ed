"""One HTML file that opens offline: the answer, the claims, methods, figures, curves, and how it was made.

The page asks nothing of the network (its content policy forbids it), follows the reader's light or dark
scheme, and escapes whatever came from data. Drawings come from `figures`, phrases from `phrases`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.numbers import number, plus_minus
from harness.papers.statement import Figure
from harness.reports import figures, phrases
from harness.reports.languages import Say, language
from harness.runs.produced import read_produced
from harness.runs.results import Record

SAMPLES, LETTERS = 5, 2000  # shown a method, and of each
FOLDER = Path(__file__).parent / "pages"
WORDS: tuple[Callable[..., Any], ...] = (  # what the template says things with
    *(number, plus_minus),
    *(
        phrases.answer,
        phrases.asked,
        phrases.by_seed,
        phrases.choices,
        phrases.claimed,
        phrases.counted,
        phrases.counts,
        phrases.flags,
    ),
    *(phrases.fronts, phrases.judged_on, phrases.ours, phrases.place, phrases.quantity, phrases.standing),
    *(phrases.said, phrases.setting, phrases.stance, phrases.strength, phrases.tally, phrases.theirs),
    *(phrases.told, phrases.troubles, phrases.why),
)


def to_html(scorecards: Sequence[Mapping[str, Any]], records: Iterable[Record] = (), lang: str = "en") -> str:
    """Return the report as one HTML page; `records` are the runs whose training curves it draws."""
    kept = list(records)
    parts = [_part(index, card, kept) for index, card in enumerate(scorecards)]
    return page(
        "report.html.jinja",
        lang=lang,
        say=language(lang),
        parts=parts,
        filters=filters(scorecards),
        of_seed=of_seed,
        strip=strip,
        NOTHING=phrases.NOTHING,
        SIGNS=phrases.SIGNS,
        KINDS=phrases.KINDS,
        **{word.__name__: word for word in WORDS},
    )


def page(template: str, say: Say = str, **values: Any) -> str:
    """Return a page of this folder's templates, said in a language; whatever came from data is escaped."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["t"] = say
    environment.globals.update(COLOURS=figures.COLOURS, **values)
    return environment.get_template(template).render()


def filters(scorecards: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return what a reader may filter by; the page hides by number, so no name reaches its style sheet."""
    seeds = {seed for card in scorecards for method in card["methods"] for seed in method["seeds"]}
    said = {claim["verdict"] for card in scorecards for claim in card["claims"]}
    return {
        "paper": list(dict.fromkeys(card["paper"] for card in scorecards)),
        "budget": list(dict.fromkeys(card["budget"] for card in scorecards)),
        "verdict": [word for word in phrases.SIGNS if word in said],
        "seed": sorted(seeds),
    }


def of_seed(method: Mapping[str, Any], metric: str, place: int) -> float | None:
    """Return a metric's value of one run, None where not every run has it or it was not finite."""
    values = (method["metrics"].get(metric) or {}).get("values", [])
    return values[place] if len(values) == len(method["seeds"]) else None


def _part(index: int, card: Mapping[str, Any], records: Sequence[Record]) -> dict[str, Any]:
    """Return what the template needs of one scorecard: it, its place on the page, and its drawings."""
    import markupsafe

    def drawn(kind: str, pairs: Iterable[tuple[Figure, list[figures.Line]]]) -> list[dict[str, Any]]:
        known = [(figure, lines) for figure, lines in pairs if lines]
        found = [figures.drawing(*pair, f"s{index}{kind}{i}") for i, pair in enumerate(known)]
        return [{"title": one.title, "svg": markupsafe.Markup(one.svg)} for one in found]

    declared = [Figure(**figure) for figure in card["figures"]]
    scatters = ((_scatter(cost, card), figures.cost_lines(cost, card)) for cost in card.get("costs", []))
    return {
        "id": f"s{index}",
        "card": card,
        "figures": drawn("f", ((figure, figures.lines(figure, card)) for figure in declared)),
        "costs": drawn("p", scatters),
        "distributions": drawn("d", figures.distributions(card, records)),
        "samples": samples(card, records),
        "curves": drawn("c", figures.curves(card, records)),
    }


def samples(card: Mapping[str, Any], records: Sequence[Record]) -> list[tuple[str, list[dict[str, str]]]]:
    """Return of each method that kept texts the first ones of its first run, cut where they are long."""
    folders = {record.result.run_key: record.folder for record in records}
    found: list[tuple[str, list[dict[str, str]]]] = []
    for method in card["methods"]:
        first = folders.get(next(iter(method["run_keys"]), ""))
        some = read_produced(first)["samples"][:SAMPLES] if first else []
        cut = [{name: _cut(text) for name, text in sample.items()} for sample in some]
        found += [(method["method"], cut)] if cut else []
    return found


def _cut(text: Any) -> str:
    return text if len(text) <= LETTERS else f"{text[:LETTERS]} … ({len(text):,} characters)"


def _scatter(cost: Mapping[str, Any], card: Mapping[str, Any]) -> Figure:
    spent = [point["cost"] for point in cost["points"]]
    wide = min(spent) > 0 and max(spent) > 10 * min(spent)
    quality = card["metrics"][cost["quality"]]
    title = f"{cost['quality']} against {cost['text']}"
    points = {cost["cost"]: "x", cost["quality"]: "y"}
    arrow = "more is better" if quality["better"] == "higher" else "less is better"
    return Figure(title, "scatter", points, x=cost["text"], y=f"{cost['quality']}, {arrow}", log_x=wide)


def strip(claim: Mapping[str, Any]) -> dict[str, float] | None:
    """Return where an interval, its estimate and the bound lie on a strip, in percent of its width."""
    value, low, high, by = (claim[key] for key in ("value", "low", "high", "by"))
    if value is None or low is None or high is None:
        return None
    least, most = min(low, by), max(high, by)
    wide = (most - least) or 1.0

    def place(x: float) -> float:
        return round(8 + 84 * (x - least) / wide, 2)

    return {"low": place(low), "value": place(value), "high": place(high), "by": place(by)}
