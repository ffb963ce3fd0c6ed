"""The register of bounds: what a claim asked when its runs were first judged.

One line of JSON a claim, in the results folder, written when a report first judges it: its words, its contrast
with the bound, the setting, the seeds and the day. Lines are only ever added. A claim that asks something else
later is told as changed after data, with what it asked before; one that is added when the values of its runs have
been seen is no independent test. Both end when runs judge it that had not been seen: other seeds, other data.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.runs.files import digest

NAME = "register.jsonl"
SETTING = ("budget", "device", "precision", "task_digest")
QUANTITY = ("kind", "metric", "method", "than", "over", "of")

Line = Mapping[str, Any]


def registered(
    cards: Sequence[Mapping[str, Any]], known: Iterable[Line], today: str = ""
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the scorecards with what the register knows of each claim, and the lines to add to it.

    A claim gets `registered`: its `date`, what it `was` before it changed, and whether it came `late`, after the
    values of its runs. Smoke runs are no evidence, and are not registered.
    """
    lines, added = list(known), []
    found = []
    for card in cards:
        if card["budget"] == "smoke":
            found.append({**card, "claims": [{**claim, "registered": None} for claim in card["claims"]]})
            continue
        setting = [card["paper"], *(card[key] for key in SETTING)]
        here = [line for line in lines if line["setting"] == setting]
        day = today or time.strftime("%Y-%m-%d")
        claims = []
        for claim in card["claims"]:
            versions = _versions(claim, card["claims"], here)
            runs = _runs(claim, card["methods"])
            now = _line(claim, setting, day, _seen(claim, here))
            if claim["verdict"] != "not tested" and (not versions or _asks(versions[-1]) != _asks(now)):
                added.append(now)
                versions = [*versions, now]
            claims.append({**claim, "registered": _told(versions, claim, runs)})
        added += [_judged(setting, method, day) for method in _news(card, here)]
        found.append({**card, "claims": claims})
    return found, added


def _line(
    claim: Mapping[str, Any], setting: Sequence[Any], day: str, seen: Mapping[str, list[str]]
) -> dict[str, Any]:
    asks = {key: claim[key] for key in ("text", *QUANTITY, "by", "side")}
    seeds = [seed for seed, _ in claim["by_seed"]]
    whole = digest({"claim": asks, "setting": setting, "seeds": seeds})
    return {"date": day, "setting": setting, **asks, "seeds": seeds, "digest": whole, "seen": seen}


def _asks(line: Line) -> tuple[Any, ...]:
    return line["text"], line["by"], line["side"], *(line[key] for key in QUANTITY)


def _versions(
    claim: Mapping[str, Any], claims: Sequence[Mapping[str, Any]], here: Sequence[Line]
) -> list[Line]:
    """Return what this claim has asked, oldest first: lines of its words, or of its quantity in no other's words."""
    others = {one["text"] for one in claims} - {claim["text"]}
    return [
        line
        for line in here
        if "text" in line
        and (
            line["text"] == claim["text"]
            or (
                line["text"] not in others
                and line["side"] == claim["side"]
                and all(line[key] == claim[key] for key in QUANTITY)
            )
        )
    ]


def _runs(claim: Mapping[str, Any], methods: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    names = _names(claim)
    return {m["method"]: [key[:16] for key in m["run_keys"]] for m in methods if m["method"] in names}


def _names(claim: Mapping[str, Any]) -> set[str]:
    return {name for name in (claim["method"], claim["than"], *claim["of"]) if name}


def _seen(claim: Mapping[str, Any], here: Sequence[Line]) -> dict[str, list[str]]:
    """Return by method the runs whose values of this claim's metrics had been judged before."""
    wanted = {metric for metric in (claim["metric"], claim["over"]) if metric}
    seen: dict[str, list[str]] = {}
    for line in here:
        if "judged" in line and line["judged"] in _names(claim) and wanted <= set(line["metrics"]):
            seen.setdefault(line["judged"], []).extend(line["runs"])
    return seen


def _told(
    versions: Sequence[Line], claim: Mapping[str, Any], runs: Mapping[str, list[str]]
) -> dict[str, Any] | None:
    """Return when a claim was first judged and with which seeds, and what it `was` before it changed."""
    if not versions:
        return None
    first, last = versions[0], versions[-1]

    def after(line: Line) -> bool:
        """Say whether runs that judge the claim now had been seen before the claim stood so."""
        return all(set(line["seen"].get(name, ())) & set(runs.get(name, ())) for name in _names(claim))

    changed = _asks(first) != _asks(last) and after(last)
    return {
        "date": first["date"],
        "seeds": first["seeds"],
        "was": {key: first[key] for key in ("text", *QUANTITY, "by", "side")} if changed else None,
        "late": after(first) and not claim["is_control"],
    }


def _news(card: Mapping[str, Any], here: Sequence[Line]) -> list[dict[str, Any]]:
    """Return the methods with runs or metrics that no report has judged yet; wins belong to both of their methods."""
    found = []
    won = [claim for claim in card["claims"] if claim["kind"] == "wins" and claim["value"] is not None]
    for method in card["methods"]:
        lines = [line for line in here if line.get("judged") == method["method"]]
        metrics = sorted({*method["metrics"], *(c["metric"] for c in won if method["method"] in _names(c))})
        known = {key for line in lines if set(metrics) <= set(line["metrics"]) for key in line["runs"]}
        fresh = [key[:16] for key in method["run_keys"] if key[:16] not in known]
        if fresh:
            found.append({"judged": method["method"], "metrics": metrics, "runs": fresh})
    return found


def _judged(setting: Sequence[Any], method: Mapping[str, Any], day: str) -> dict[str, Any]:
    return {"date": day, "setting": setting, **method}


def entered(cards: Sequence[Mapping[str, Any]], path: Path) -> list[dict[str, Any]]:
    """Return the scorecards as the register at `path` knows them, and enter there what is new.

    Where it cannot be written, in results that may only be read, nothing is entered.
    """
    found, added = registered(cards, read_register(path))
    with suppress(OSError):
        add_lines(path, added)
    return found


def read_register(path: Path) -> list[dict[str, Any]]:
    """Return the register's lines, none where there is no file; a line that was cut off is left out."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return []
    lines = []
    for line in text.splitlines():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return lines


def add_lines(path: Path, lines: Sequence[Line]) -> None:
    """Add lines to the register, in one write. Raises OSError where it cannot be written."""
    if not lines:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = not path.exists() or path.read_bytes().endswith(b"\n")  # else the last write was cut off
    text = "" if whole else "\n"
    text += "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(handle, text.encode("utf-8"))
    finally:
        os.close(handle)
