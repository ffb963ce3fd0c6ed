"""Made-up papers for benchmarks, installed for one command: a package in a folder on PYTHONPATH.

`pause` has runs that compute for one second; `ledger` has twenty metrics and runs that are written, not run.
"""

from __future__ import annotations

from pathlib import Path

METADATA = (
    "Metadata-Version: 2.1\nName: paper-harness-{name}\nVersion: 0.1.0\nSummary: made up for benchmarks\n"
)

PAUSE = '''
"""Runs of one second."""
from dataclasses import dataclass
from harness import Claim, Method, Metric, Paper, difference, hookimpl, setting

@dataclass
class Task:
    seconds: float = setting(1.0, "how long a run computes")

@dataclass
class Data:
    pass

@dataclass
class Config:
    size: int = setting(64, "side of the matrices")

METHODS = {"pause": Method(Config(), "computes"), "plain": Method(Config(32), "as well", baseline=True)}

@hookimpl
def paper():
    return Paper(
        title="A Paper About Waiting", authors="Nobody", year=2026, url="https://example.org", task=Task, data=Data,
        methods=METHODS, metrics={"score": Metric("higher", "a score")},
        claims=[Claim("Waiting helps", difference("score", "pause", "plain"), "nowhere")],
        budgets={"smoke": {}, "small": {}, "full": {}},
    )

@hookimpl
def prepare(task, data, model, data_dir):
    (data_dir / "ready").write_text("yes")

@hookimpl
def train(run):
    from harness_pause.work import work
    value = work(run.seed, run.task.seconds, run.method.size, lambda step, loss: run.log(step, loss=loss))
    (run.output_dir / "score.txt").write_text(str(value))

@hookimpl
def evaluate(run, split):
    return {"score": float((run.output_dir / "score.txt").read_text())}
'''

WORK = '''
"""One second of work that logs a loss ten times."""
import time

def work(seed, seconds, size, log):
    import torch
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    x, began, step = torch.randn(size, size), time.monotonic(), 0
    while (spent := time.monotonic() - began) < seconds:
        x = torch.tanh(x @ x.T / size)
        if spent >= step * seconds / 10:
            log(step, float(x.abs().mean()))
            step += 1
    return float(seed % 7) + 0.1
'''

LEDGER = '''
"""Runs that are written down, not run."""
from dataclasses import dataclass
from harness import Claim, Method, Metric, Paper, difference, hookimpl, setting, source

@dataclass
class Task:
    length: int = setting(64, "a number")

@dataclass
class Data:
    corpus: str = source("builtin:python", "not read")

@dataclass
class Config:
    slope: float = setting(1.0, "a number")

METHODS = {f"method{i}": Method(Config(float(i)), f"method {i}", baseline=i > 0) for i in range(@METHODS@)}
METRICS = {f"m{i}": Metric("higher", f"metric {i}") for i in range(@METRICS@)}

@hookimpl
def paper():
    return Paper(
        title="A Paper With Many Runs", authors="Nobody", year=2026, url="https://example.org", task=Task, data=Data,
        methods=METHODS, metrics=METRICS,
        claims=[Claim(f"Method 0 is better by {m}", difference(m, "method0", "method1"), "nowhere") for m in METRICS],
        budgets={"smoke": {}, "small": {}, "full": {}},
    )

@hookimpl
def prepare(task, data, model, data_dir): ...

@hookimpl
def train(run): ...

@hookimpl
def evaluate(run, split):
    return {}
'''


def pause(folder: Path) -> None:
    """Write the package of runs of one second."""
    _package(folder, "pause", {"__init__": PAUSE, "work": WORK})


def ledger(folder: Path, methods: int, metrics: int) -> None:
    """Write the package of many runs."""
    text = LEDGER.replace("@METHODS@", str(methods)).replace("@METRICS@", str(metrics))
    _package(folder, "ledger", {"__init__": text})


def _package(folder: Path, name: str, modules: dict[str, str]) -> None:
    module, about = folder / f"harness_{name}", folder / f"paper_harness_{name}-0.1.0.dist-info"
    for made in (module, about):
        made.mkdir(parents=True, exist_ok=True)
    for part, text in modules.items():
        (module / f"{part}.py").write_text(text.lstrip(), encoding="utf-8")
    (about / "METADATA").write_text(METADATA.format(name=name), encoding="utf-8")
    (about / "entry_points.txt").write_text(f"[harness.papers]\n{name} = harness_{name}\n", encoding="utf-8")
