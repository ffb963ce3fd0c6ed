"""Others' results as they were judged: sentences, a table of 80 columns, and one HTML page that opens offline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite, nan
from typing import Any

from rich.console import Console

from harness.numbers import number, span
from harness.papers.statement import Figure
from harness.reports import figures
from harness.reports.figures import Line
from harness.reports.terminal import plain

Part = Mapping[str, Any]
LISTED = 12  # troubles in the terminal
PLACES = {"on": "on it", "open": "maybe", "off": "off"}
BASES = {
    "counts alone": "counts of test items, unpaired",
    "errors alone": "the standard errors told, unpaired",
    "items alone": "paired test items",
    "seeds": "seeds",
    "seeds+items": "seeds and test items",
    "exact": "exact counts",
}


def word(row: Mapping[str, Any], margin: float | None) -> str:
    """Return where a method stands against the best, in a word or two."""
    if row["ahead"] is None:
        return "the best"
    if row["within"]:
        return f"no difference worth {number(margin)}"
    return {True: "behind", False: "not separable", None: "not tested"}[row["separable"]]


def style(row: Mapping[str, Any]) -> str:
    """Return the class of a method's chip on the page."""
    if row["within"]:
        return "no-difference"
    return (
        "holds"
        if row["ahead"] is None
        else {True: "fails", False: "open", None: "not-tested"}[row["separable"]]
    )


def ahead(row: Mapping[str, Any]) -> str:
    """Return how far the best is ahead, with its interval."""
    told = row["ahead"]
    return span(*(_known(told[key]) for key in ("value", "low", "high"))) if told else "–"


def own(row: Mapping[str, Any]) -> str:
    """Return a method's value with its interval."""
    return span(row["value"], _known(row["low"]), _known(row["high"]))


def sentences(part: Part) -> list[str]:
    """Say what is told from the best and what is not, what seeds would cost, and where the front stands."""
    if not part["methods"]:
        return ["No run can be judged."]
    count = len(part["methods"]) - 1
    if not count:
        return [f"{part['best']} is the only method: there is nothing to compare it with."]
    return [
        text
        for text in (_separable(part, count), _best(part), _seeds(part, count), _more(part), _front(part))
        if text
    ]


def _separable(part: Part, count: int) -> str:
    bases = [row["ahead"]["rule"] for row in part["methods"] if row["ahead"] and row["ahead"]["rule"]]
    by = " and ".join(BASES.get(rule, rule) for rule in dict.fromkeys(bases))
    untested = [
        row["ahead"]["reason"] for row in part["methods"] if row["ahead"] and row["separable"] is None
    ]
    told = f"Of {count} methods compared with the best, {part['best']}, "
    if by:
        told += f"{_are(part['not_separable'])} not separable from it and {_are(part['separable'])} behind"
        told += f" (by {by}; Holm over {count - part['not_tested']})"
    if untested:
        told += f"{', and ' if by else ''}{part['not_tested']} cannot be tested: {untested[0]}"
    return told + "."


def _best(part: Part) -> str:
    if part["not_tested"]:
        return ""
    return (
        "The best was chosen by its score, which favours it: with 95 % the true best is among "
        f"{part['may_be_best']} of all {len(part['methods'])}."
    )


def _seeds(part: Part, count: int) -> str:
    fewest, most = part["seeds"][0], part["seeds"][-1]
    have = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    open_ = count - part["decided"]
    missing = f"Seeds are missing: methods have {have}, a verdict needs 3. " if fewest < 3 else ""
    return f"{missing}Over seeds, {open_} of {count} verdicts are open."


def _more(part: Part) -> str:
    more = part["more"]
    if not more["runs"]:
        return ""
    hours = (
        "" if more["seconds"] is None else f", {number(more['seconds'] / 3600)} hours at the times they tell"
    )
    said = (
        f"{more['seeds']} seeds of the best and of the {more['methods'] - 1} not told from it take {more['runs']} more "
        f"runs{hours}."
    )
    if not more["if"]:
        return said
    spreads, seen = (_listed([blur[key] for blur in more["if"]]) for key in ("spread", "detects"))
    known = more["if"][0]["origin"] == "measured"
    said += (
        f" {'Seeds' if known else 'Should seeds'} spread a difference by {spreads}{': ' if known else ', '}"
    )
    said += f"{more['seeds']} then detect {seen}. "
    needed = [blur["needs_seeds"] for blur in more["if"]]
    gap = f"the gap to the second, {number(more['gap'])}"
    if None in needed:
        return f"{said}No number of seeds is sure to show {gap}: that takes more items, or outcomes told item by item."
    return f"{said}To show {gap}, it takes {_listed(needed)} seeds."


def _are(count: int) -> str:
    return f"{count} {'is' if count == 1 else 'are'}"


def _listed(values: Sequence[float]) -> str:
    """Return numbers as in `1, 2 or 3`."""
    told = [number(value) for value in values]
    return " or ".join([", ".join(told[:-1]), told[-1]] if len(told) > 1 else told)


def _front(part: Part) -> str:
    front = part["front"]
    if not front:
        return ""
    left = f" {front['not_placed']} tell no cost." if front["not_placed"] else ""
    return (
        f"{part['metric']} against {front['text']}: {_are(front['on'])} on the front by the numbers, "
        f"{_are(front['open'])} not told to be off it, {_are(front['off'])} off by the rule.{left}"
    )


def warnings(found: Mapping[str, Any]) -> list[str]:
    """Say which runs were not judged and why, and which settings part the runs of a task."""
    lines = [f"{one['source']}: {one['reason']}" for one in found["unread"]]
    for part in found["tasks"]:
        lines += [f"{one['method']} ({one['source']}): {one['reason']}" for one in part["troubles"]]
        lines += [
            f"{', '.join(one['methods'][:3])}{' and more' if len(one['methods']) > 3 else ''}: {one['setting']} is "
            f"{one['value']}, elsewhere {one['usual']}"
            for one in part["differs"]
        ]
    return lines


def places(part: Part) -> dict[str, dict[str, Any]]:
    """Return each method's point of the front by its name."""
    return {point["method"]: point for point in (part["front"] or {"points": []})["points"]}


def to_terminal(found: Mapping[str, Any], console: Console) -> None:
    """Print each task: the sentences, and a table of all that is not told from the best or from the front."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    for part in found["tasks"]:
        console.print()
        console.print(plain(part["task"], "bold"))
        arrow = "↑" if part["better"] == "higher" else "↓"
        console.print(plain(f"{part['runs']} runs · {part['metric']} {arrow}, {part['text']}", "dim"))
        for sentence in sentences(part):
            console.print(plain(sentence))
        points, table = (
            places(part),
            Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim"),
        )
        for heading in ("method", "value", "the best ahead by", "against it", "front"):
            table.add_column(heading, overflow="fold", no_wrap=heading != "method")
        shown = [
            row
            for row in part["methods"]
            if row["separable"] is not True or points.get(row["method"], {}).get("place") == "on"
        ]
        for row in shown:
            place = points.get(row["method"], {}).get("place", "")
            cells = (
                row["method"],
                number(row["value"]),
                ahead(row),
                word(row, found["margin"]),
                PLACES.get(place, "–"),
            )
            table.add_row(*(plain(cell) for cell in cells))
        if shown:
            console.print(table)
        if len(shown) < len(part["methods"]):
            console.print(
                plain(f"and {len(part['methods']) - len(shown)} more behind: the page has all", "dim")
            )
    lines = warnings(found)
    for line in lines[:LISTED]:
        console.print(plain(line, "yellow"))
    if len(lines) > LISTED:
        console.print(plain(f"{len(lines) - LISTED} more such lines are on the page.", "yellow"))


def to_html(found: Mapping[str, Any]) -> str:
    """Return the judgement as one HTML page: sentences, all methods, the front."""
    import markupsafe

    from harness.reports.html import page

    parts = []
    for index, part in enumerate(found["tasks"]):
        drawn = picture(part)
        svg = markupsafe.Markup(figures.drawing(*drawn, f"j{index}front").svg) if drawn else ""
        parts.append({"id": f"j{index}", "part": part, "title": drawn[0].title if drawn else "", "svg": svg})
    words: dict[str, Any] = {w.__name__: w for w in (sentences, word, style, ahead, own, number, places)}
    return page(
        "judged.html.jinja",
        found=found,
        parts=parts,
        warnings=warnings(found),
        PLACES=PLACES,
        BASES=BASES,
        **words,
    )


def picture(part: Part) -> tuple[Figure, list[Line]] | None:
    """Return the front as a scatter: the methods on it by their numbers, and in grey those that may be."""
    front = part["front"]
    if not front:
        return None
    shown = [point for point in front["points"] if point["place"] != "off"]
    arrow = "more is better" if part["better"] == "higher" else "less is better"
    spent = [point["cost"] for point in shown]
    figure = Figure(
        f"{part['metric']} against {front['text']}",
        "scatter",
        {"cost": "x", "quality": "y"},
        x=front["text"],
        y=f"{part['metric']}, {arrow}",
        log_x=min(spent) > 0 and max(spent) > 10 * min(spent),
    )
    lines = [
        Line(
            point["method"],
            place,
            ["x", "y"],
            [point["cost"], point["value"]],
            [nan, point["low"]],
            [nan, point["high"]],
            point["place"] == "on",
            point["place"] == "on",
        )
        for place, point in enumerate(sorted(shown, key=lambda point: point["place"] != "on"))
    ]
    return figure, lines


def _known(value: float) -> float | None:
    return value if isfinite(value) else None
