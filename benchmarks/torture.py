"""Sweeps whose processes are killed at random, again and again: what is lost, doubled, or left behind?

    python -m benchmarks.torture                          # 250 kills, 50 of them amid real training: hours
    python -m benchmarks.torture --trials 25 --real 5     # a smaller one
    make torture

A trial starts a sweep's command, kills one of its processes (the driver, its whole group, the fork server, a run, or
all) at a random moment or amid the writing of a checkpoint or a result, and looks a second later who is left.
After some trials the command is repeated until it ends well; what it has then is compared with a sweep that nobody
disturbed. Light runs count and sleep, with a stand-in for torch, so that a start is quick; real ones train with it.
Every trial is a line in `trials.jsonl`: a torture that is stopped goes on with the next one.
"""

from __future__ import annotations

import argparse
import contextlib
import glob
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parent.parent
KILLS = {"light": 10, "real": 6}  # of a sweep, before it is brought to its end
METHODS = {"light": ("a", "b", "c", "d"), "real": ("first", "second", "third", "fourth")}
SEEDS = {"light": 3, "real": 3}  # of each of the methods
STEPS = {"light": 20, "real": 100}
VICTIMS = ("driver", "group", "server", "run", "everything")
AIMS = ("any moment", "a checkpoint", "a result")
SECONDS = {"light": 12.0, "real": 40.0}  # until a moment that does not come is one like any other
MAIN = "sys.argv = ['harness', *sys.argv[1:]]; from harness.cli import main; main()"

LIGHT = '''
"""A paper that counts and sleeps, with checkpoints and curves of its own; equal seeds count alike."""
import json, os, time
from dataclasses import dataclass
from harness import Items, Method, Metric, Paper, hookimpl, setting
from harness.runs.run import forget_after

@dataclass
class Task:
    steps: int = setting(20, "steps")

@dataclass
class Data:
    pass

@dataclass
class Step:
    by: int = setting(1, "how far a step goes")

@hookimpl
def paper():
    return Paper(
        title="Light", authors="", year=2026, url="", task=Task, data=Data,
        methods={n: Method(Step(i + 1), n, baseline=i == 0) for i, n in enumerate("abcd")},
        metrics={"score": Metric("higher", "a sum")}, claims=[], budgets={"smoke": {}, "small": {}, "full": {}},
    )

@hookimpl
def prepare(data_dir):
    (data_dir / "ready").touch()

def save(path, text):
    """Write a checkpoint in pieces, as long as a large model's takes."""
    path.parent.mkdir(exist_ok=True)
    unfinished = path.with_name(".state.json.unfinished")
    with unfinished.open("w") as file:
        for letter in text:
            file.write(letter)
            file.flush()
            time.sleep(0.002)
        os.fsync(file.fileno())
    os.replace(unfinished, path)

@hookimpl
def train(run):
    kept = run.checkpoint / "state.json"
    state = json.loads(kept.read_text()) if kept.exists() else {"step": 0, "sum": run.seed}
    forget_after(run.folder / "metrics.jsonl", state["step"])
    while state["step"] < run.task.steps:
        time.sleep(0.03)
        state = {"step": state["step"] + 1, "sum": (state["sum"] * 31 + run.method.by) % 1009}
        run.log(state["step"], loss=state["sum"] / 1009)
        run.progress(state["step"], run.task.steps)
        if state["step"] % 2 == 0:
            save(kept, json.dumps(state))
    (run.output_dir / "sum").write_text(str(state["sum"]))

@hookimpl
def evaluate(run, split):
    total = int((run.output_dir / "sum").read_text())
    return {"score": Items({"value": [float(total + i) for i in range(500)]}, [str(i) for i in range(500)])}
'''
STAND_INS = {  # what the light runs have for the libraries that take seconds to import
    "torch/__init__.py": "__version__ = '0'\n\nclass Tensor: ...\n\n"
    "def set_num_threads(n): ...\n\ndef get_num_threads(): return 1\n",
    "accelerate/__init__.py": "raise ImportError('not in light runs')\n",
    "transformers/__init__.py": "",
    "transformers/utils/__init__.py": "",
    "transformers/utils/logging.py": "def disable_progress_bar(): ...\n\ndef set_verbosity_error(): ...\n",
}


def main(words: Sequence[str] | None = None) -> int:
    """Make the trials that are not there yet, and print what all of them came to; return 1 where anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--trials", type=int, default=250)
    parser.add_argument("--real", type=int, default=50, help="how many of them amid real training")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "torture")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(words)
    folder = asked.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    kinds = ["light"] * (asked.trials - asked.real) + ["real"] * asked.real
    log = Log(folder / "trials.jsonl")
    for number, kind in enumerate(kinds):
        if number in log.trials:
            continue
        killed, last = False, kind not in kinds[number + 1 :]
        for attempt in range(20):
            sweep = log.sweep(kind)
            place = install(folder / f"{kind}-{sweep}", kind)
            chance = random.Random(f"{asked.seed} {number} {attempt}")
            killed = trial(number, place, kind, sweep, chance, log)
            ended = log.kills(kind, sweep) >= KILLS[kind] or len(finished(place)) == runs_of(kind)
            if ended or (killed and last):
                log.add(closed(place, kind, sweep, install(folder / f"{kind}-calm", kind), log))
            if killed:
                break
    print(table(log))
    return 1 if any(log.losses().values()) else 0


class Log:
    """The lines that were written so far: one a trial, one a sweep that was brought to its end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        whole = text[: text.rfind("\n") + 1]  # a line torn by a kill of this program is made again
        if whole != text:
            path.write_text(whole, encoding="utf-8")
        self.lines: list[dict[str, Any]] = [json.loads(line) for line in whole.splitlines()]

    def add(self, line: dict[str, Any]) -> None:
        """Append a line and see it to the disk."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.lines.append(line)
        print({key: value for key, value in line.items() if key != "finished"}, flush=True)

    @property
    def trials(self) -> dict[int, dict[str, Any]]:
        """The trials, by number."""
        return {line["trial"]: line for line in self.lines if "trial" in line}

    @property
    def closes(self) -> list[dict[str, Any]]:
        """The sweeps that were brought to their end."""
        return [line for line in self.lines if "closed" in line]

    def sweep(self, kind: str) -> int:
        """Return the number of the sweep that goes on."""
        return sum(line["kind"] == kind for line in self.closes)

    def kills(self, kind: str, sweep: int) -> int:
        """Return how many trials a sweep has seen."""
        return sum((line["kind"], line["sweep"]) == (kind, sweep) for line in self.trials.values())

    def losses(self) -> dict[str, int]:
        """Return everything that must be nothing."""
        trials = self.trials.values()
        found = {"processes left after one second": sum(line["left"] for line in trials)}
        found["processes left after twenty seconds"] = sum(line["stay"] for line in trials)
        found["finished runs lost or changed"] = sum(line["lost"] for line in (*trials, *self.closes))
        found["finished runs begun again"] = sum(line["twice"] for line in (*trials, *self.closes))
        for key, name in (
            ("unended", "sweeps that did not end well"),
            ("unlike", "metrics unlike those of a calm sweep"),
            ("double", "points or runs that are there twice, or not"),
            ("RUNNING", "runs that MLflow says are RUNNING"),
            ("leftovers", "temporary files left"),
        ):
            found[name] = sum(line[key] for line in self.closes)
        return found


def install(place: Path, kind: str) -> Path:
    """Make a folder with the paper of this kind, as an installer would."""
    if place.exists():
        return place
    new = place.with_name(f".{place.name}")
    for name, content in (STAND_INS if kind == "light" else {}).items():
        (new / name).parent.mkdir(parents=True, exist_ok=True)
        (new / name).write_text(content)
    about = new / "torture_paper-1.0.dist-info"
    about.mkdir(parents=True, exist_ok=True)
    code = LIGHT if kind == "light" else (ROOT / "tests" / "faults" / "storm.py").read_text(encoding="utf-8")
    (new / "torture_paper.py").write_text(code, encoding="utf-8")
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: torture-paper\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[harness.papers]\ntortured = torture_paper\n")
    new.rename(place)
    return place


def runs_of(kind: str) -> int:
    """Return how many runs a sweep of this kind has."""
    return len(METHODS[kind]) * SEEDS[kind]


def command(place: Path, kind: str) -> tuple[list[str], dict[str, str]]:
    """Return the words of the sweep's command, and what is around it."""
    words = [
        *("run", "-m", f"method={','.join(f'tortured/{name}' for name in METHODS[kind])}"),
        *(f"seed={','.join(map(str, range(SEEDS[kind])))}", "device=cpu", f"task.steps={STEPS[kind]}"),
        *("hydra.launcher.n_jobs=2", "fit.checkpoint_seconds=0.2", "leases.cpus=2"),
    ]
    around = {"PYTHONPATH": str(place), "HARNESS_LEASES": str(place / "leases"), "STORM": "calm"}
    return words, {**os.environ, **around, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


def start(place: Path, kind: str) -> subprocess.Popen[bytes]:
    """Start the sweep's command in a session of its own."""
    words, around = command(place, kind)
    begin = [sys.executable, "-c", f"import sys; {MAIN}", *words]
    with (place / "said.txt").open("ab") as said:
        return subprocess.Popen(
            begin, cwd=place, stdout=said, stderr=said, env=around, start_new_session=True
        )


def trial(number: int, place: Path, kind: str, sweep: int, chance: random.Random, log: Log) -> bool:
    """Start, kill, look who is left and what is still there; note it. Return False where it had ended before."""
    before = _last(log, kind, sweep)
    victim, aim = chance.choice(VICTIMS), chance.choice(AIMS)
    driver = start(place, kind)
    seen = _moment(place, kind, aim, chance, driver)
    if driver.poll() is not None:
        return False
    killed = _kill(place, driver, victim)
    waits = time.monotonic() + 600
    while driver.poll() is None and time.monotonic() < waits:  # it goes on where a run or a server was killed
        time.sleep(0.05)
    time.sleep(1.0)
    left = here(place)
    until = time.monotonic() + 20
    while here(place) and time.monotonic() < until:
        time.sleep(0.1)
    stay = here(place)
    for process in stay:
        with contextlib.suppress(psutil.Error):
            process.kill()
    now = finished(place)
    log.add(
        {
            "trial": number,
            "kind": kind,
            "sweep": sweep,
            "victim": killed,
            "aim": seen,
            "code": driver.poll(),
            "left": len(left),
            "who": sorted(map(_is, left)),
            "stay": len(stay),
            "load": round(os.getloadavg()[0], 1),
            **_compared(before, now),
            "finished": now,
        }
    )
    return True


def _last(log: Log, kind: str, sweep: int) -> dict[str, Any]:
    """Return what a sweep had finished after its last trial."""
    lines = [line for line in log.trials.values() if (line["kind"], line["sweep"]) == (kind, sweep)]
    return dict(lines[-1]["finished"]) if lines else {}


def _compared(before: dict[str, Any], now: dict[str, Any]) -> dict[str, int]:
    lost = sum(name not in now or now[name][0] != made[0] for name, made in before.items())
    return {
        "lost": lost,
        "twice": sum(name in now and now[name][1] > made[1] for name, made in before.items()),
    }


def _moment(place: Path, kind: str, aim: str, chance: random.Random, driver: subprocess.Popen[bytes]) -> str:
    """Wait for the moment to kill; return what it was."""
    begun = time.time()
    until = time.monotonic() + (chance.random() if aim == "any moment" else 20) * SECONDS[kind]
    ended = len(finished(place))
    while time.monotonic() < until and driver.poll() is None:
        if aim == "a checkpoint" and _writing(place, begun, "checkpoint", ".st"):  # light and real alike
            time.sleep(chance.random() * 0.005)
            return aim
        if aim == "a result" and _writing(place, begun, "", ".result.json", ".items.parquet"):
            return aim
        if aim == "a result" and len(finished(place)) > ended:
            return "just after a result"
        time.sleep(0.005)
    return "any moment"


def _writing(place: Path, since: float, inside: str, *beginnings: str) -> bool:
    """Say whether a run is writing a file that begins so, under its temporary name; an earlier kill left others."""
    for folder in glob.iglob(f"{place}/results/runs/*/*/*/{inside}"):
        with contextlib.suppress(OSError), os.scandir(folder) as files:
            if any(file.name.startswith(beginnings) and file.stat().st_mtime > since for file in files):
                return True
    return False


def _kill(place: Path, driver: subprocess.Popen[bytes], victim: str) -> str:
    """Kill a victim outright, the driver where there is none such now; return who it was."""
    if victim == "group":
        with contextlib.suppress(ProcessLookupError):
            os.killpg(driver.pid, signal.SIGKILL)
        return victim
    those = here(place)
    those = [process for process in those if victim == "everything" or _is(process) == victim]
    chosen = those if victim == "everything" else those[:1]
    for process in chosen:
        with contextlib.suppress(psutil.Error):
            process.kill()
    if chosen:
        return victim
    driver.kill()
    return "driver"


def _is(process: psutil.Process) -> str:
    """Say what a process of a sweep is: the driver, the server that it started, or a run which that one forked."""
    with contextlib.suppress(psutil.Error):
        if "tracker" in " ".join(process.cmdline()):
            return "tracker"
        for name in ("driver", "server"):
            above = process.parent()
            if above is None or above.cwd() != process.cwd():
                return name
            process = above
        return "run"
    return ""


def here(place: Path) -> list[psutil.Process]:
    """Return every living process that works in a folder."""
    return [
        process
        for process in psutil.process_iter(["cwd"])  # of the dead it is None
        if process.info["cwd"] == str(place)
    ]


def finished(place: Path) -> dict[str, tuple[str, int]]:
    """Return of each finished run what its result holds, as a digest, and how often it was begun."""
    found = {}
    for path in sorted((place / "results" / "runs").glob("*/*/*/result.json")):
        try:
            raw = path.read_bytes()
        except FileNotFoundError:  # a failed run's, which is begun again just now
            continue
        if json.loads(raw)["status"] == "finished":
            begun = len((path.parent / "starts.jsonl").read_text(encoding="utf-8").splitlines())
            found[path.parent.name] = (hashlib.sha256(raw).hexdigest()[:16], begun)
    return found


def closed(place: Path, kind: str, sweep: int, calm: Path, log: Log) -> dict[str, Any]:
    """Repeat a sweep's command until it ends well, and compare it with the calm one; return the line about it."""
    before = _last(log, kind, sweep)
    codes = []
    for folder in (calm, place):
        for _ in range(4):
            codes.append(start(folder, kind).wait(3600))
            if codes[-1] == 0:
                break
    now = finished(place)
    metrics, wanted = _metrics(place), _metrics(calm)
    left = [p for p in (place / "results").rglob("*") if p.name.startswith(".") and ".lock" not in p.name]
    return {
        "closed": True,
        "kind": kind,
        "sweep": sweep,
        **_compared(before, now),
        "unended": int(codes[-1] != 0 or len(now) != runs_of(kind)),
        "unlike": sum(metrics.get(run) != value for run, value in wanted.items()),
        "leftovers": len([p for p in left if p.name not in (".hydra", ".submitit")]),
        **_stored(place, runs_of(kind)),
    }


def _metrics(place: Path) -> dict[str, Any]:
    found = {}
    for path in (place / "results" / "runs").glob("*/*/*/result.json"):
        found[path.parent.name] = json.loads(path.read_bytes())["metrics"]
    return found


def _stored(place: Path, wanted: int) -> dict[str, int]:
    """Return how many points and runs are twice, or not, in files and in MLflow, and how many are RUNNING."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{place}/results/mlflow.db")
    experiment = client.get_experiment_by_name("tortured")
    runs = client.search_runs([experiment.experiment_id]) if experiment else []
    children = [run for run in runs if "run_key" in run.data.tags]
    double = abs(len(children) - wanted) + abs(len({run.data.tags["run_key"] for run in children}) - wanted)
    for run in children:
        (folder,) = (place / "results" / "runs").glob(f"*/*/{run.data.tags['run_key']}")
        lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        steps = [json.loads(line)["step"] for line in lines]
        double += steps != sorted(set(steps))
        double += [point.step for point in client.get_metric_history(run.info.run_id, "loss")] != steps
    return {"double": double, "RUNNING": sum(run.info.status == "RUNNING" for run in runs)}


def table(log: Log) -> str:
    """Return what all trials came to, as a Markdown table."""
    trials = list(log.trials.values())
    survived = sum(not (line["left"] or line["lost"] or line["twice"]) for line in trials)
    rows = [("trials", len(trials)), ("survived", survived)]
    rows += [(f"trials amid {kind} runs", sum(line["kind"] == kind for line in trials)) for kind in KILLS]
    rows += [(f"killed: {victim}", sum(line["victim"] == victim for line in trials)) for victim in VICTIMS]
    aims = sorted({line["aim"] for line in trials})
    rows += [(f"killed at {aim}", sum(line["aim"] == aim for line in trials)) for aim in aims]
    rows += [("sweeps brought to their end", len(log.closes)), *log.losses().items()]
    return "\n".join(["| | |", "| --- | ---: |", *(f"| {name} | {count} |" for name, count in rows)])


if __name__ == "__main__":
    raise SystemExit(main())
