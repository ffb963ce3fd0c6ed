"""A scorecard in words: the phrases that the terminal, Markdown, the page and every drawing share.

Numbers show what is known: an interval is printed to two digits of its half width, a paper's number only
where it is of the claim's own quantity, with its source and how we know it, and no method is called best
while another one ties with it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from harness.numbers import number, ordinal, span

NOTHING = "There is no run to judge yet. Start with: harness run -m +experiment=quickstart"
SIGNS = {
    "holds": "✓",
    "fails": "✗",
    "no difference": "=",
    "open": "?",
    "not tested": "–",
    "cannot be shown here": "!",
}
SEEN = {"paper": "read in the paper", "code": "from its code", "transcription": "from a transcription"}
ORIGINS = {
    "paper": "from the paper",
    "interest": "the smallest difference worth having",
    "prototype": "from a prototype of this experiment",
}
KINDS = {  # of claims, counted apart: one and many
    "paper": ("claim of the paper", "claims of the paper"),
    "counter": ("claim against it", "claims against it"),
    "control": ("control", "controls"),
}

BOUND = (
    "kind",
    "metric",
    "method",
    "than",
    "over",
    "of",
    "by",
    "side",
)  # what a claim asks, but for its words

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
    if claim["kind"] == "order":
        return f"{claim['metric']}: the smallest step of {' > '.join((claim['method'], *claim['of']))}"
    if claim["kind"] == "wins":
        return f"{claim['metric']}: {claim['method']} wins over {claim['than']}"
    return f"{claim['metric']} of {claim['method']}"


def bound(claim: Card) -> str:
    """Return what a claim asks of its number, as `> 1.3`."""
    return f"{'>' if claim['side'] == 'above' else '<'} {number(claim['by'])}"


def asked(claim: Card) -> str:
    """Return what a claim asks, and where its margin is from: `> 1.3 (from the paper)`."""
    found = claim["bound"]
    if found:
        data = f" on {found['data']}" if found["data"] else ""
        return f"{bound(claim)} ({ORIGINS[found['origin']]}{data})"
    sign = {"difference": 0, "order": 0, "ratio": 1, "wins": 0.5}.get(claim["kind"])
    return bound(claim) if claim["by"] == sign else f"{bound(claim)} (origin not stated)"


def ours(claim: Card) -> str:
    """Return the measured number with its interval."""
    return span(claim["value"], claim["low"], claim["high"])


def by_seed(claim: Card) -> str:
    """Return the number of each seed, in their order; empty where there is none or one."""
    known = [number(value) for _, value in claim["by_seed"]]
    return f"by seed {' · '.join(known)}" if len(known) > 1 else ""


def theirs(claim: Card) -> str:
    """Return the paper's number with source and how we know it, where it is of the claim's own quantity.

    Of any other no number is shown (`told` has its words), and of one known from memory the direction.
    """
    reported = claim["reported"]
    if reported is None:
        return "no number"
    if reported["seen"] == "memory":
        direction = f"better than {claim['than']}" if claim["kind"] == "difference" else bound(claim)
        return f"{direction} (direction only: the number is known from memory)"
    if "value" not in reported:
        return f"not compared ({reported['source']})"
    return f"{number(reported['value'])} ({reported['source']}, {SEEN[reported['seen']]})"


def told(claim: Card) -> str:
    """Say in words what the paper measured: the setting of its number, or of one that is not compared."""
    reported = claim["reported"]
    if reported is None:
        return ""
    if "value" in reported or reported["seen"] == "memory":
        return str(reported["setting"])
    return f"in words: {reported['setting']} ({SEEN[reported['seen']]})"


def has_interval(claim: Card) -> bool:
    """Say whether there is an interval; one end of it may be missing, where a denominator may be zero."""
    return claim["low"] is not None or claim["high"] is not None


def basis(claim: Card) -> str:
    """Say which rule made the interval, on how many seeds, items and groups; empty without one."""
    if not has_interval(claim):
        return ""
    seeds, items = f"{claim['seeds']} paired seeds", f"{claim['items']:,} paired items"
    groups = " × ".join(f"{count:,} {name}s" for name, count in claim["groups"].items())
    if groups and claim["items"]:
        design = f", design effect {number(claim['design'])}" if claim["design"] is not None else ""
        items += f" in {groups}{design}"
    if claim.get("drawn") is not None:
        items += f", {claim['drawn']:.0%} of whose variance is from draws within them"
    return {
        "exact": "A count, the same with every seed",
        "seeds": f"{seeds} (t interval){', ' + claim['scope'] if claim['scope'] else ''}",
        "items": f"{items}, which no seed changes",
        "seeds+items": f"{seeds} and {items}",
    }[claim["rule"]]


def why(claim: Card) -> str:
    """Return the reason of a verdict in sentences, and what its interval rests on."""
    looks = claim.get("looks", "")
    step = f"The step that decides is {claim['step']}" if claim.get("step") else ""
    sentences = [_reason(claim), step, beside_the_paper(claim), basis(claim), looks, *notes(claim)]
    return " ".join(f"{sentence}." for sentence in sentences if sentence)


def _reason(claim: Card) -> str:
    control, equal = claim["control"], claim["equivalence"]
    if claim["verdict"] == "cannot be shown here":
        word = {"fails": "fails", "open": "is open"}.get(control["verdict"], "was not tested")
        shown = span(control["value"], control["low"], control["high"])
        here = f", is {shown}" if control["value"] is not None else ""
        return f"Its control {word}: {quantity(control)}, asked {bound(control)}{here}"
    reason = claim["reason"]
    if equal and equal["within"]:
        between = f"[{number(equal['low'])}, {number(equal['high'])}]"
        reason += f"; the 90 % interval {between} holds no difference worth {number(claim['margin'])}"
    return reason[:1].upper() + reason[1:] if reason.startswith(("the ", "all ", "a ")) else reason


def beside_the_paper(claim: Card) -> str:
    """Say that an undecided interval excludes the paper's own size; empty where it does not."""
    value = (claim["reported"] or {}).get("value")
    low, high = claim["low"], claim["high"]
    if claim["verdict"] not in ("open", "no difference") or value is None or low is None or high is None:
        return ""
    if low <= value <= high:
        return ""
    end = f"at most {number(claim['high'])}" if value > claim["high"] else f"at least {number(claim['low'])}"
    return f"The paper's own {number(value)} is excluded: here it is {end}"


def notes(claim: Card) -> list[str]:
    """Return the sentences behind a verdict's marks: a test that is none, and seeds far from the others."""
    found, registered = claim["bound"] or {}, claim.get("registered") or {}
    lines = [f"Its bound: {found['why']}"] if found.get("why") else []
    if claim["untuned"]:
        lines.append("Judged with every method at its default settings (tuned=false)")
    if edges := claim.get("edges"):
        lines.append(f"Chosen at an end of the grid, beyond which nothing was tried: {', '.join(edges)}")
    if mixed := claim.get("mixed"):
        lines.append(
            f"Its seeds have different settings, of different grids (rerun=true): {', '.join(mixed)}"
        )
    if found.get("seen"):
        lines.append("Not an independent test: the prototype that set the bound saw these data")
    if was := registered.get("was"):
        before = f"{quantity(was)} {bound(was)}"
        words = f", “{was['text']}”" if was["text"] != claim["text"] else ""
        lines.append(f"Changed after data: registered on {registered['date']} as {before}{words}")
    if registered.get("late"):
        lines.append("Not an independent test: the claim was added after the values of these runs were seen")
    first, now = registered.get("seeds", []), [seed for seed, _ in claim["by_seed"]]
    if first and set(first) < set(now) and not claim.get("looks"):
        lines.append(f"Seeds were added after a look at {len(first)} of them")
    for one in claim["far"]:
        who = f"{one['metric']} of {one['method']} with seed {one['seed']}"
        lines.append(
            f"{who} lies far from its other seeds: {number(one['value'])}, median {number(one['median'])}"
        )
    return lines


def flags(claim: Card) -> list[str]:
    """Return the few words that belong to a verdict wherever it is told."""
    found, registered = claim["bound"] or {}, claim.get("registered") or {}
    independent = not found.get("seen") and not registered.get("late")
    was = registered.get("was")
    seeds = sorted({one["seed"] for one in claim["far"]})
    return [
        *([claim["scope"]] if claim["scope"] else []),
        *(["survives Holm"] if claim["holm"] else []),
        *(["excludes the paper's size"] if beside_the_paper(claim) else []),
        *(["bound changed after data"] if was and any(was[k] != claim[k] for k in BOUND) else []),
        *([] if independent else ["not an independent test"]),
        *([f"seed {', '.join(map(str, seeds))} far from the others"] if seeds else []),
    ]


def effect(claim: Card) -> str:
    """Return the effect size as a sentence; empty where none is defined."""
    found = claim.get("effect")
    if not found:
        return ""
    return f"Effect size {number(found['size'])} ({'d over items' if found['spread'] == 'items' else 'g over seeds'})"


def reached(claim: Card, said: str = "On the claimed side of the bound with {}, P") -> str:
    """Say with how many seeds the bound is reached, and how likely another seed is to; empty without seeds."""
    found = claim["reached"]
    if not found or found["of"] < 2:
        return ""
    share, low, high = (number(v) for v in (found["seeds"] / found["of"], found["low"], found["high"]))
    middle = claim["middle"]
    half = f"; mean of the middle half of the seeds {number(middle)}" if middle is not None else ""
    seeds = f"{found['seeds']} of {found['of']} seeds"
    return f"{said.format(seeds)} {share} [{low}, {high}]{half}"


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
    """Return effect size, seeds and power as sentences; empty without an interval."""
    sentences = (effect(claim), reached(claim) if has_interval(claim) else "", power(claim))
    return " ".join(f"{sentence}." for sentence in sentences if sentence)


def takes(claim: Card) -> str:
    """Say how many seeds or items would show the distance that matters; empty where nobody knows."""
    found = claim.get("power")
    if not found:
        return ""
    factor = "a factor of " if claim["kind"] == "ratio" else ""
    whose = {
        "half": ", half of what these show",
        "reported": ", the paper's distance from the bound",
        "asked": "",
    }
    target = f"{factor}{number(found['target'])}{whose[found['target_is']]}"
    if claim["rule"] == "items":
        return f"{found['needs_items']:,} items would show {target}"
    if found["needs_seeds"] is None:
        return f"no number of seeds would show {target}" + (": more items may" if claim["items"] else "")
    return f"{found['needs_seeds']} seeds would show {target}"


def answer(card: Card) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """Return what a reader wants first: claims that hold, that do not, that are open, each with its number.

    A line is a claim's sentence, whose it is where not the paper's, and a few words to stand beside.
    Claims without runs are only counted: what they take is among their reasons.
    """
    said_by: dict[str, list[tuple[str, str, str]]] = {"Holds": [], "Does not hold": [], "Not decided": []}
    for claim in card["claims"]:
        word, text, whose = claim["verdict"], claim["text"], stance(claim)
        if word == "holds":
            said_by["Holds"].append((text, whose, ours(claim)))
        elif word in ("fails", "no difference"):
            said_by["Does not hold"].append((text, whose, f"{ours(claim)}, asked {bound(claim)}"))
        elif word != "not tested":
            needed = (
                takes(claim) if card["budget"] != "smoke" else ""
            )  # smoke runs decide nothing, however many
            beside = f"{ours(claim)}, asked {bound(claim)}"
            said_by["Not decided"].append((text, whose, f"{beside}; {needed}" if needed else beside))
    return [(title, lines) for title, lines in said_by.items() if lines]


def said(card: Card, claim: Card) -> str:
    """Return the verdict, with its scale where that is not the paper's."""
    word = claim["verdict"]
    if word == "no difference":
        word += f" worth {number(claim['margin'])}"
    decided = claim["verdict"] in ("holds", "fails", "no difference")
    return word + (f" at {card['budget']} scale" if decided and card["budget"] != "full" else "")


def stance(claim: Card) -> str:
    """Say whose sentence it is where it is not the paper's own claim."""
    if claim["is_control"]:
        return "a control: its sign is known"
    return "a claim against the paper" if claim["counter"] else ""


def counts(card: Card) -> dict[str, dict[str, int]]:
    """Return how many claims have each verdict: the paper's own, those against it, and controls apart."""
    kinds: dict[str, dict[str, int]] = {kind: dict.fromkeys(SIGNS, 0) for kind in KINDS}
    for claim in card["claims"]:
        kinds["control" if claim["is_control"] else "counter" if claim["counter"] else "paper"][
            claim["verdict"]
        ] += 1
    return kinds


def counted(found: Mapping[str, int]) -> str:
    """Return the counts of one kind of claim: `3 hold, 1 fails, 2 open`; a dash where there is none."""
    forms = {"holds": "hold", "fails": "fail"}
    if not sum(found.values()):
        return "–"
    return ", ".join(
        f"{n} {word if n == 1 else forms.get(word, word)}"
        for word, n in found.items()
        if n or word == "holds"
    )


def tally(card: Card) -> str:
    """Return the counts as sentences: `8 claims of the paper: 0 hold, 3 open, 5 not tested`, each kind apart."""
    found = {kind: (sum(n.values()), counted(n)) for kind, n in counts(card).items()}
    return ". ".join(
        f"{total} {KINDS[kind][total != 1]}: {words}" for kind, (total, words) in found.items() if total
    )


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
    """Return the short name of a scorecard's first data set, how many more there are, and what was changed."""
    names = [re.split(r"[/:]", str(name).rstrip("/"))[-1] for name in card["data"].values() if name]
    data = " and ".join([*names[:1], *([f"{len(names) - 1} more"] if names[1:] else [])])
    return ", ".join(filter(None, [data, changed(card)]))


def place(card: Card, metric: str, method: str) -> str:
    """Return the place of a method on a metric, "1st" or "1st–3rd" where the rule cannot tell; "" if unknown."""
    first, last = card.get("places", {}).get(metric, {}).get(method, (0, 0))
    if not first:
        return ""
    return ordinal(first) if first == last else f"{ordinal(first)}–{ordinal(last)}"


def standing(card: Card, metric: str, method: str) -> str:
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
            if reason:  # without one nobody asked for it
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


def choices(card: Card) -> list[str]:
    """Say what each method's grid chose and how its next best setting did; those at an end of their grid first."""
    inside: list[str] = []
    ends: list[str] = []
    for method in card["methods"]:
        grid = method.get("grid")
        if not grid:
            continue
        tried = "".join(
            f", at an end of {', '.join(map(number, values))}" for values in grid["ends"].values()
        )
        line = f"{method['method']} took {_point(grid['setting'])}{tried}: "
        line += f"{grid['by']} {number(grid['value'])} on validation"
        if grid["next"]:
            line += f", next {_point(grid['next'])} with {number(grid['next_value'])}"
        (ends if tried else inside).append(line)
        for other in grid.get("others", ()):
            seeds = ", ".join(map(str, other["seeds"]))
            ends.append(
                f"{method['method']} has {_point(other['setting'])} in seeds {seeds}, of another grid"
            )
    return [*ends, *inside]


def _point(point: Card) -> str:
    """Return a point of a grid, as in `learning_rate 0.002`."""
    return ", ".join(
        f"{name} {number(value) if type(value) in (int, float) else value}" for name, value in point.items()
    )


def claimed(card: Card) -> dict[str, None]:
    """Return the metrics that claims are about, in their order; all where there is no claim."""
    names = [claim[key] for claim in card["claims"] for key in ("metric", "over") if claim[key]]
    return dict.fromkeys(names or card["metrics"])
