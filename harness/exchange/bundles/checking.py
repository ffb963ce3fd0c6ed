"""What recomputation sees of a bundle, without running any of it again.

Keys from settings and data digests, metrics from items, verdicts from metrics by the installed paper's claims and this
house's rule, seeds from what the sweeps were asked for, code from the definitions that the runs used. Whoever changes
one of these must change all that follows from it; what the installed plugin says cannot be changed by them at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import isclose, isfinite
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, said
from harness.exchange.bundles.sealed import CLAIMS, Job, Opened, Ran
from harness.exchange.claims import claims_of_card, read_claims
from harness.numbers import number, printable
from harness.papers.families import members
from harness.papers.reach import source_of
from harness.papers.statement import Paper
from harness.runs.files import digest
from harness.runs.provenance import HOOKS, METRIC, definitions
from harness.runs.results import CURVES, ITEMS, RESULT, Record, find_runs, read_curves
from harness.runs.run import rebuild
from harness.runs.spec import KEY_VERSION, as_plain
from harness.verdicts.looks import Memory, setting_of
from harness.verdicts.register import read_register, registered
from harness.verdicts.rows import label_of
from harness.verdicts.scorecard import judge

CLOSE, NIL = 1e-9, 1e-12  # relative and absolute: what sums in another order may differ by
FEW = 3  # of many places that part, so many are named
Plugins = Callable[[str], Any]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: whether it agrees (None: it could not be looked at), and what is to be said."""

    part: str
    about: str
    ok: bool | None
    said: str = ""

    def plain(self) -> dict[str, Any]:
        """Return the finding as plain data, its words fit for a terminal."""
        about, told = printable(self.about), printable(self.said)
        return {"part": self.part, "about": about, "ok": self.ok, "said": told}


def run_of(record: Record, folder: Path) -> Ran:
    """Return what a manifest tells of a run."""
    result = record.result
    return {
        "method": method_of(record),
        "seed": int(result.config["seed"]),
        "run_key": result.run_key,
        "status": "finished" if result.status == "finished" else "failed",
        "sweep": str(result.config.get("sweep", "")),
        "data": {name: str(source.get("digest", "")) for name, source in result.data.items()},
        "folder": record.folder.relative_to(folder).as_posix(),
    }


def method_of(record: Record) -> str:
    """Return the method of a run as `paper/method`, with the settings in which it differs from the declared one."""
    return f"{record.result.config['paper']}/{label_of(record.result.config)}"


def cards_in(folder: Path, plugin: Any, records: Sequence[Record]) -> list[dict[str, Any]]:
    """Return the scorecards of one paper's runs below `folder`, by what that folder remembers of looks."""

    def stale(record: Record) -> bool:
        return bool(otherwise(record, plugin))

    return judge(plugin.name, plugin.paper, records, stale, Memory(folder))


def recomputed(bundle: Opened, plugins: Plugins) -> Iterator[Finding]:
    """Yield what can be seen of a bundle without data and without running: see the file's head."""
    damage: list[str] = []
    records = list(find_runs(bundle.folder, damage=damage.append))
    told = {run["run_key"]: run for run in bundle.manifest["runs"]}
    found = {r.result.run_key: run_of(r, bundle.folder) for r in records}
    wrong = [*damage]
    wrong += [
        f"run {key[:16]} is not what the manifest tells" for key, run in found.items() if told.get(key) != run
    ]
    wrong += [f"run {key[:16]} of the manifest is not there" for key in told.keys() - found.keys()]
    wrong += (
        [f"{len(records) - len(found)} runs have the key of another"] if len(found) < len(records) else []
    )
    yield _all("runs", "the manifest's runs are there and whole", wrong)
    yield _all(
        "seeds",
        "no seed that was asked for is missing",
        lost_seeds(list(found.values()), bundle.manifest["sweeps"], records),
    )
    yield _all("copies", "no two runs have one outcome", _copies(records))
    papers = sorted({str(record.result.config["paper"]) for record in records})
    for name in papers:
        own = [record for record in records if record.result.config["paper"] == name]
        try:
            plugin = plugins(name)
        except HarnessError as error:
            yield Finding("paper", name, False, f"{said(error)}: nothing of its runs can be recomputed")
            continue
        for part, about, look in LOOKS:
            yield _guarded(part, f"{name}: {about}", partial(look, plugin, own))
        if numbers := bare(plugin, own):
            why = f"no items stand behind {', '.join(numbers)}: recomputation takes them as they are"
            yield Finding("metrics", f"{name}: every claimed metric has items", None, why)
        yield from _judged(bundle, plugin, own)


def _all(part: str, about: str, wrong: Sequence[str]) -> Finding:
    return Finding(part, about, not wrong, _few(wrong))


def _few(wrong: Sequence[str]) -> str:
    more = f"; and {len(wrong) - FEW} more" if len(wrong) > FEW else ""
    return "; ".join(text[:300] for text in wrong[:FEW]) + more


def _guarded(part: str, about: str, look: Callable[[], Sequence[str]]) -> Finding:
    """Return what a look finds; data of a stranger may make it raise anything."""
    try:
        return _all(part, about, look())
    except Exception as error:
        return Finding(part, about, False, f"it cannot be read: {type(error).__name__}: {said(error)[:200]}")


# Runs: seeds, copies, keys, settings, code, metrics


def lost_seeds(
    runs: Sequence[Ran], sweeps: Mapping[str, list[Job] | None], records: Sequence[Record]
) -> list[str]:
    """Return which runs that a sweep was asked for are not here, of the methods that are.

    A sweep is a product: in one setting, every method but the deterministic ones has the same seeds. What a manifest
    does not tell of a sweep is taken from the runs themselves.
    """
    here = {run["method"] for run in runs}
    single = {method_of(record) for record in records if record.result.config["deterministic"]}
    settings = {record.result.run_key: setting_of(record.result.config) for record in records}
    there = {(run["method"], settings.get(run["run_key"], ""), run["seed"]) for run in runs}
    lost = []
    for sweep in sorted({run["sweep"] for run in runs} | sweeps.keys()):
        jobs = sweeps.get(sweep)
        told = [(job["method"], job["seed"], job["run_key"]) for job in jobs or ()]
        if jobs is None:
            told = [(run["method"], run["seed"], run["run_key"]) for run in runs if run["sweep"] == sweep]
        name = sweep or "(none)"
        gone = [(method, seed) for method, seed, key in told if method in here and key not in settings]
        lost += [f"{method} seed {seed}, which sweep {name} was asked for" for method, seed in gone]
        seeds: dict[tuple[str, str], set[int]] = {}  # by setting and method
        for method, seed, key in told:
            if method not in single and key in settings:
                seeds.setdefault((settings[key], method), set()).add(seed)
        for setting, method in sorted(seeds):
            for (also, other), every in sorted(seeds.items()):
                for seed in sorted(every) if also == setting else ():
                    if (method, setting, seed) not in there:
                        there.add((method, setting, seed))  # told once
                        lost.append(f"{method} seed {seed}, which {other} has in sweep {name}")
    return lost


def _copies(records: Sequence[Record]) -> list[str]:
    """Return which runs of a method that is no deterministic one have each other's items or curves."""
    seen: dict[tuple[str, str], str] = {}
    found = []
    for record in records:
        if record.result.status != "finished" or record.result.config["deterministic"]:
            continue
        path = record.folder / CURVES
        content = path.read_bytes() if path.is_file() else b""
        if not content:
            continue
        key = method_of(record), digest(content.hex())
        title = f"{key[0]} seed {record.result.config['seed']}"
        if key in seen:
            found.append(f"{title} has the curves of {seen[key]}")
        seen[key] = title
    return found


def _keys(plugin: Any, records: Sequence[Record]) -> list[str]:
    wrong = []
    for record in records:
        result, config = record.result, record.result.config
        digests = {name: source.get("digest", "") for name, source in result.data.items()}
        model = digests.pop("model", "")
        task = digest({"task": config["task"], "model": model, "data": dict(sorted(digests.items()))})
        if result.status == "finished" and task != config["task_digest"]:
            wrong.append(f"{_title(record)}: its task digest is not that of its task and data")
        own = {name: config[name] for name in ("paper", "method", "budget", "seed", "precision", "device")}
        keys = [  # the number of processes was of a run's key before
            digest({"version": KEY_VERSION, **own, "task": config["task_digest"], "processes": processes})
            for processes in (1, config.get("processes", 1))
        ]
        if result.run_key not in keys or record.folder.name != result.run_key[:16]:
            wrong.append(f"{_title(record)}: its key is not that of its settings")
    return wrong


def _settings(plugin: Any, records: Sequence[Record]) -> list[str]:
    """Say which run calls a method the declared one though its settings are others; a grid may have chosen some."""
    paper: Paper = plugin.paper
    wrong = []
    for record in records:
        config = record.result.config
        method = paper.methods.get(config["name"])
        if method is None:
            wrong.append(f"{_title(record)}: the installed {plugin.name} has no method {config['name']!r}")
            continue
        overlay = paper.budgets.get(config["budget"], {}).get("method", {})
        base = as_plain(rebuild(type(method.config), {**as_plain(method.config), **overlay}))
        others = {
            key for key in base.keys() | config["method"].keys() if base.get(key) != config["method"].get(key)
        }
        others = {key for key in others if config["method"].get(key) not in list(method.tune.get(key, ()))}
        if others and config["method_declared"]:
            wrong.append(f"{_title(record)} is called declared, and differs in {', '.join(sorted(others))}")
        if method.deterministic != config["deterministic"] or method.baseline != config["baseline"]:
            wrong.append(f"{_title(record)} is called deterministic or a baseline where the plugin does not")
    return wrong


def _code(plugin: Any, records: Sequence[Record]) -> list[str]:
    wrong = []
    for record in records:
        if record.result.status == "finished" and (others := otherwise(record, plugin)):
            wrong.append(f"{_title(record)} was made by other code: {_few(others)}")
    return wrong


_TODAY: dict[tuple[str, tuple[str, ...]], dict[str, str]] = {}


def otherwise(record: Record, plugin: Any) -> list[str]:
    """Return the definitions by which a run was made and that read otherwise, or are not there, in the plugin."""
    made = record.result.code.get("definitions")
    if not made:
        return ["it does not tell its definitions"]
    metrics = tuple(key.partition(":")[2] for key in made if key.startswith(f"{METRIC}:"))
    known = str(source_of(plugin.module.__name__)), metrics
    if known not in _TODAY:
        _TODAY[known] = definitions(plugin, HOOKS, metrics)
    before, now = ({(k.rpartition(":")[2], v) for k, v in d.items()} for d in (made, _TODAY[known]))
    return sorted({str(name) for name, _ in before ^ now})


def _metrics(plugin: Any, records: Sequence[Record]) -> list[str]:
    """Say which metric is not what its items give, which has lost its items, and which nobody declares."""
    from harness.papers.reduction import reduce

    wrong = []
    for record in records:
        if record.result.status != "finished":
            continue
        declared = members(plugin.paper.metrics, record.result.config["task"])
        items, metrics = record.items, record.result.metrics
        for name in sorted(metrics.keys() - declared.keys()):
            wrong.append(f"{_title(record)}: the plugin declares no metric {name!r}")
        for name in sorted(items.keys() & declared.keys()):
            given = reduce(declared[name], items[name].columns)
            here = metrics.get(name)
            if here is None or not isclose(here, given, rel_tol=CLOSE, abs_tol=NIL):
                file = record.folder.name
                wrong.append(
                    f"{_title(record)}: {RESULT} says {name} = {number(here)}, {ITEMS} of {file} gives {number(given)}"
                )
    return wrong


def _late(plugin: Any, records: Sequence[Record]) -> list[str]:
    """Say which training's curve lacks its first points: `fit` tells them at equal distances from the start."""
    wrong = []
    for record in records:
        steps: dict[str, list[int]] = {}
        for row in read_curves(record.folder):
            for name in row:
                if name.rpartition("/")[2] == "learning_rate":
                    steps.setdefault(name, []).append(int(row["step"]))
        for name, at in steps.items():
            distances = [after - before for before, after in pairwise(at[:-1])]
            if distances and at[0] > min(distances):
                wrong.append(
                    f"{_title(record)}: {name} begins at step {at[0]}, its points are {min(distances)} apart"
                )
    return wrong


LOOKS: Sequence[tuple[str, str, Callable[[Any, Sequence[Record]], Sequence[str]]]] = (
    ("keys", "each run's key is that of its settings and data", _keys),
    ("settings", "each method has the settings that the installed plugin declares", _settings),
    ("code", "the runs used the definitions that are installed", _code),
    ("metrics", "metrics are those of their items", _metrics),
    ("curves", "curves begin where their points do", _late),
)


def bare(plugin: Any, records: Sequence[Record]) -> list[str]:
    """Return the claimed metrics that no items stand behind: recomputation cannot look into them."""
    claimed = {m for claim in plugin.paper.claims for m in claim.contrast.metrics}
    done = [record.result for record in records if record.result.status == "finished"]
    return sorted({name for r in done for name in r.metrics.keys() & claimed if name not in r.items})


def _title(record: Record) -> str:
    return f"{method_of(record)} seed {record.result.config['seed']}"


# Verdicts


def _judged(bundle: Opened, plugin: Any, records: Sequence[Record]) -> Iterator[Finding]:
    """Judge the runs anew and yield where the bundle's claims part: bounds, verdicts, and the rest."""
    parts = {
        "bounds": "what the claims ask is what the installed plugin's ask",
        "verdicts": "verdicts are those of the metrics by this house's rule",
        "claims": "the rest of the claim records is that of the runs",
    }
    try:
        stated = [one for one in read_claims(bundle.folder / CLAIMS) if one["paper"] == plugin.name]
        cards = cards_in(bundle.folder, plugin, records)
        found = [claims_of_card(card, records) for card in cards]
    except Exception as error:
        yield Finding("verdicts", f"{plugin.name}: the claims can be judged", False, said(error)[:300])
        return
    wrong: dict[str, list[str]] = {part: [] for part in parts}
    for place, one, other in _apart(stated, found, ""):
        words = set(place.split("/"))
        part = "bounds" if words & {"contrast", "bound"} else "verdicts" if "verdict" in words else "claims"
        if not place.endswith("/code/harness"):  # the version that judged
            shown = (printable(str(value))[:80] for value in (one, other))
            wrong[part].append("{}: the bundle says {}, here it is {}".format(place.strip("/"), *shown))
    for part, about in parts.items():
        yield _all(part, f"{plugin.name}: {about}", wrong[part])
    about = f"{plugin.name}: no bound was changed after data"
    yield _guarded("register", about, lambda: _changed(bundle, cards))


def _apart(one: Any, other: Any, place: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield the places where two values part, numbers beyond rounding."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in sorted(one.keys() | other.keys()):
            yield from _apart(one.get(key), other.get(key), f"{place}/{key}")
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        for at, (mine, theirs) in enumerate(zip(one, other, strict=True)):
            yield from _apart(mine, theirs, f"{place}/{at}")
    elif _is_number(one) or _is_number(other):
        here, there = (value if _is_number(value) and isfinite(value) else None for value in (one, other))
        if here != there and (
            here is None or there is None or not isclose(here, there, rel_tol=CLOSE, abs_tol=NIL)
        ):
            yield place, one, other
    elif one != other:
        yield place, one, other


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _changed(bundle: Opened, cards: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say which claims asked something else when their runs were first judged, as the register tells."""
    told, _ = registered(cards, read_register(bundle.folder / "register.jsonl"))
    claims = [claim for card in told for claim in card["claims"] if claim.get("registered")]
    return [
        f"{claim['text']!r} asked {claim['registered']['was']['by']:g} on {claim['registered']['date']}, and asks "
        f"{claim['by']:g} now"
        for claim in claims
        if claim["registered"]["was"]
    ]
