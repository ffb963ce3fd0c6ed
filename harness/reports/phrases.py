"""A scorecard in words: the phrases that the terminal, Markdown, the page and every drawing share.

Numbers show what is known: an interval is printed to two digits of its half width, a paper's number
only with its source and how we know it, and no method is called best while another one ties with it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from harness.numbers import number, ordinal, span

NOTHING = "There is no run to judge yet. Start with: harness run -m +experiment=quickstart"
SIGNS = {"holds": "✓", "fails": "✗", "open": "?"}

Card = Mapping[str, Any]


def quantity(claim: Card) -> str:
    """Say what a claim's number is."""
    if claim["kind"] == "difference":
        return f"{claim['metric']}: {claim['method']} ahead of {claim['than']}"
    if claim["kind"] == "ratio":
        over = (
            f"{claim['method']} / {claim['than']}"
            if claim["than"]
            else f"/ {claim['over']}, {claim['method']}"
        )
        return f"{claim['metric']}{': ' if claim['than'] else ' '}{over}"
    if claim["kind"] == "share":
        start, full = claim["of"]
        return f"{claim['metric']}: {claim['method']}'s share of the way from {start} to {full}"
    return f"{claim['metric']} of {claim['method']}"


def bound(claim: Card) -> str:
    """Return what a claim asks of its number, as `> 1.3`."""
    return f"{'>' if claim['side'] == 'above' else '<'} {number(claim['by'])}"


def ours(claim: Card) -> str:
    """Return the measured number with its interval."""
    return span(claim["difference"], claim["low"], claim["high"])


def theirs(claim: Card) -> str:
    """Return the paper's number with source and how we know it; only a direction if from memory."""
    reported = claim["reported"]
    if reported is None:
        return "no number"
    if "value" not in reported:
        direction = f"better than {claim['than']}" if claim["kind"] == "difference" else bound(claim)
        return f"{direction} (direction only: the number is known from memory)"
    known = {"paper": "read in the paper", "code": "from its code", "transcription": "from a transcription"}
    return f"{number(reported['value'])} ({reported['source']}, {known[reported['seen']]})"


def basis(claim: Card) -> str:
    """Say which rule made the interval, on how many seeds and items; empty without one."""
    if claim["low"] is None:
        return ""
    seeds, items = f"{claim['seeds']} paired seeds", f"{claim['items']:,} paired items"
    return {
        "exact": "A count, the same with every seed",
        "seeds": f"{seeds} (t interval)",
        "items": f"{items} of deterministic methods (bootstrap)",
        "seeds+items": f"{seeds} and {items} (t interval)",
    }[claim["rule"]]


def why(claim: Card) -> str:
    """Return the reason of a verdict as a sentence, and what its interval rests on."""
    reason = claim["reason"]
    sentence = reason[:1].upper() + reason[1:] if reason.startswith(("the ", "all ", "a ")) else reason
    return f"{sentence}. {basis(claim)}{'.' if basis(claim) else ''}".strip()


def effect(claim: Card) -> str:
    """Return the effect size as a sentence; empty where none is defined."""
    found = claim.get("effect")
    if not found:
        return ""
    if found["spread"] == "items":
        return f"Effect size {number(found['size'])} (d over items)"
    ahead = f"above zero with {found['ahead']} of {claim['seeds']} seeds"
    return f"Effect size {number(found['size'])} (g over seeds), {ahead}"


def power(claim: Card) -> str:
    """Say what these runs detect and what a smaller distance would take; empty without an interval.

    As in "3 seeds × 1,379 items detect 1.9; for 1, half of it, you need 11 seeds".
    """
    found = claim.get("power")
    if not found:
        return ""
    factor = "a factor of " if claim["kind"] == "ratio" else ""
    counted = [f"{claim['seeds']} seeds"] if claim["rule"] != "items" else []
    counted += [f"{claim['items']:,} items"] if claim["items"] else []
    whose = {"half": ", half of it,", "reported": ", the paper's distance from the bound,", "asked": ""}
    start = f"{' × '.join(counted)} detect {factor}{number(found['detects'])}"
    target = f"for {factor}{number(found['target'])}{whose[found['target_is']]}"
    if claim["rule"] == "items":
        return f"{start}; {target} you need {found['needs_items']:,} items"
    if found["needs_seeds"] is None:
        more = "more items, since no number of seeds would do" if claim["items"] else "more than 1,000 seeds"
        return f"{start}; {target} you need {more}"
    return f"{start}; {target} you need {found['needs_seeds']} seeds"


def strength(claim: Card) -> str:
    """Return effect size and power as sentences; empty without an interval."""
    return " ".join(f"{sentence}." for sentence in (effect(claim), power(claim)) if sentence)


def said(card: Card, claim: Card) -> str:
    """Return the verdict, with its scale where that is not the paper's."""
    at = "" if card["budget"] == "full" or claim["verdict"] == "open" else f" at {card['budget']} scale"
    return claim["verdict"] + at


def counts(card: Card) -> dict[str, int]:
    """Return how many claims hold, fail and are open."""
    return {word: sum(claim["verdict"] == word for claim in card["claims"]) for word in SIGNS}


def tally(card: Card) -> str:
    """Return the counts as a sentence: `3 of 5 claims hold, 1 fails, 1 is open`."""
    n = counts(card)
    verbs = ("holds" if n["holds"] == 1 else "hold"), ("fails" if n["fails"] == 1 else "fail")
    claims = "claim" if len(card["claims"]) == 1 else "claims"
    still = f"{n['open']} {'is' if n['open'] == 1 else 'are'} open"
    return f"{n['holds']} of {len(card['claims'])} {claims} {verbs[0]}, {n['fails']} {verbs[1]}, {still}"


def changed(card: Card) -> str:
    """Return the task's settings that differ from the paper's budget, as the command gives them."""
    return " ".join(word for word in shlex.split(card["command"]) if word.startswith("task."))


def setting(card: Card) -> str:
    """Say in one line where a scorecard's runs were made, on what, and what of the task was changed."""
    data = ", ".join(f"{name}: {source}" for name, source in card["data"].items() if source)
    parts = [
        f"budget {card['budget']}",
        card["device"],
        card["precision"],
        card["model"],
        data,
        changed(card),
    ]
    return " · ".join(str(part) for part in [*parts, card["machine"], card["date"]] if part)


def judged_on(card: Card) -> str:
    """Return the short name of a scorecard's first data set and how many more there are, or what was changed."""
    names = [re.split(r"[/:]", str(name).rstrip("/"))[-1] for name in card["data"].values() if name]
    return " and ".join([*names[:1], *([f"{len(names) - 1} more"] if names[1:] else [])]) or changed(card)


def place(card: Card, metric: str, method: str) -> str:
    """Return the place of a method on a metric, "1st" or "1st–3rd" where the rule cannot tell; "" if unknown."""
    first, last = card.get("ranks", {}).get(metric, {}).get(method, (0, 0))
    if not first:
        return ""
    return ordinal(first) if first == last else f"{ordinal(first)}–{ordinal(last)}"


def rank(card: Card, metric: str, method: str) -> str:
    """Return "best" for a method the rule separates from the second, "tied" for one of the best, or ""."""
    leaders = card["leaders"].get(metric, [])
    if method not in leaders:
        return ""
    return "best" if leaders == [method] and place(card, metric, method) in ("", "1st") else "tied"


def fronts(card: Card) -> str:
    """Say which methods no cheaper one equals, for each cost that was measured."""
    said = []
    for cost in card.get("costs", []):
        names = [
            point["method"] for point in sorted(cost["points"], key=lambda p: p["cost"]) if point["front"]
        ]
        said.append(f"by {cost['quality']} and {cost['text']}: {', '.join(names)}")
    return "; ".join(said)


def troubles(card: Card) -> list[str]:
    """Return what a reader must know besides the verdicts: stale, failed and missing numbers."""
    runs = sum(len(method["run_keys"]) for method in card["methods"])
    lines = []
    if card["stale"]:
        lines.append(
            f"{len(card['stale'])} of {runs} runs were made by other code: rerun=true makes them again."
        )
    for run in card["failures"]:
        lines.append(f"Failed: {run['method']} seed {run['seed']}: {run['type']}: {run['message']}")
    reasons: dict[str, dict[str, list[str]]] = {}  # reason -> method -> metrics
    for method, absent in card["absent"].items():
        for metric, reason in absent.items():
            reasons.setdefault(reason, {}).setdefault(method, []).append(metric)
    for reason, by_method in reasons.items():
        alike: dict[str, list[str]] = {}
        for method, metrics in by_method.items():
            alike.setdefault(", ".join(metrics), []).append(method)
        for metrics_said, methods in alike.items():
            who = (
                ", ".join(methods)
                if len(methods) < 4
                else f"{', '.join(methods[:2])} and {len(methods) - 2} more"
            )
            have = "has" if len(methods) == 1 else "have"
            lines.append(f"Not measured: {who} {have} no {metrics_said}: {reason}")
    return lines


def claimed(card: Card) -> dict[str, None]:
    """Return the metrics that claims are about, in their order; all where there is no claim."""
    names = [claim[key] for claim in card["claims"] for key in ("metric", "over") if claim[key]]
    return dict.fromkeys(names or card["metrics"])
