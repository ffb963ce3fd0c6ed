"""One HTML file that opens offline: claims first, then methods, figures, curves, and how it was made.

The page asks nothing of the network (its content policy forbids it), follows the reader's light or dark
scheme, and escapes whatever came from data. Drawings come from `figures`, phrases from `report_text`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import figures, report_text
from harness.paper import Figure
from harness.results import Record

FOLDER = Path(__file__).parent


def to_html(scorecards: Sequence[Mapping[str, Any]], records: Iterable[Record] = ()) -> str:
    """Return the report as one HTML page; `records` are the runs whose training curves it draws."""
    phrases = (
        "bound claimed counts number ours place plus_minus quantity rank said setting strength tally theirs "
        "troubles why"
    )
    kept = list(records)
    parts = [_part(index, card, kept) for index, card in enumerate(scorecards)]
    words = {name: getattr(report_text, name) for name in phrases.split()}
    return page(
        "report.html.jinja",
        parts=parts,
        strip=strip,
        NOTHING=report_text.NOTHING,
        SIGNS=report_text.SIGNS,
        **words,
    )


def page(template: str, **values: Any) -> str:
    """Return a page of this folder's templates; whatever came from data is escaped."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(COLOURS=figures.COLOURS, **values)
    return environment.get_template(template).render()


def _part(index: int, card: Mapping[str, Any], records: Sequence[Record]) -> dict[str, Any]:
    """Return what the template needs of one scorecard: it, its place on the page, and its drawings."""
    import markupsafe

    def drawn(kind: str, pairs: Iterable[tuple[Figure, list[figures.Line]]]) -> list[dict[str, Any]]:
        known = [(figure, lines) for figure, lines in pairs if lines]
        found = [figures.drawing(*pair, f"s{index}{kind}{i}") for i, pair in enumerate(known)]
        return [{"title": one.title, "svg": markupsafe.Markup(one.svg)} for one in found]

    declared = [Figure(**figure) for figure in card["figures"]]
    return {
        "id": f"s{index}",
        "card": card,
        "figures": drawn("f", ((figure, figures.lines(figure, card)) for figure in declared)),
        "curves": drawn("c", figures.curves(card, records)),
    }


def strip(claim: Mapping[str, Any]) -> dict[str, float] | None:
    """Return where an interval, its estimate and the bound lie on a strip, in percent of its width."""
    value, low, high, by = (claim[key] for key in ("difference", "low", "high", "by"))
    if value is None or low is None or high is None:
        return None
    least, most = min(low, by), max(high, by)
    wide = (most - least) or 1.0

    def place(x: float) -> float:
        return round(8 + 84 * (x - least) / wide, 2)

    return {"low": place(low), "value": place(value), "high": place(high), "by": place(by)}
