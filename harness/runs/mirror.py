"""Mirror run folders to MLflow; the only importer of mlflow.

The folder is the truth, and mirroring is copying what is not there yet: how far the store has got
is asked of the store itself, so an outage, a resume and a later start are one code path and no
point is written twice. One experiment a paper, a parent run a sweep, a child a run. Only
`MlflowClient` is used: the fluent API listens to MLFLOW_RUN_ID in the environment.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from harness.errors import HarnessError, said
from harness.runs.files import tell, write_text
from harness.runs.locks import held
from harness.runs.produced import JUDGED, PRODUCED
from harness.runs.provenance import file_digest
from harness.runs.results import (
    CONFIG,
    CURVES,
    DIFF,
    ITEMS,
    LOG,
    PACKAGES,
    RESULT,
    Record,
    Result,
    read_config,
    read_curves,
    read_record,
    read_result,
    store_at,
)

ARTIFACTS = "mlartifacts"  # the folder beside a local store
BATCH = 1000  # MLflow's limit on metrics in one log_batch
MOST = 1000  # runs of an experiment that are looked at together
RUNS = "tags.run_key != ''"  # runs, not the sweeps above them


class Mirror:
    """A tracking store, and how to bring a run folder into it."""

    def __init__(self, uri: str) -> None:
        """Open the store at `uri`; a local one keeps its artifacts beside its file.

        Raises HarnessError where the store does not answer.
        """
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # to ask again without looking doubles
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")  # a busy server is not a dead one
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
        from mlflow import MlflowClient

        for name in ("mlflow", "alembic"):  # importing mlflow sets its own level
            logging.getLogger(name).setLevel(logging.CRITICAL)  # what fails is told here, in a sentence
        self.uri = uri
        try:
            with _opening(uri):
                self.client = MlflowClient(tracking_uri=uri)
                self.client.search_experiments(max_results=1)
        except HarnessError:
            raise
        except Exception as error:
            reason = said(error)[:200]
            fix = "start it, or go on with tracking=off and repeat the command later to mirror the runs"
            if re.search(r"\b40[13]\b|[Uu]nauthori[sz]ed|authentication", reason):
                fix = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD as its owner told you"
            raise HarnessError(f"the tracking store {uri} does not answer ({reason}): {fix}") from error

    def experiment(self, paper: str) -> str:
        """Return the id of a paper's experiment, made when it is not there and restored when it was deleted."""
        from mlflow.exceptions import MlflowException

        found = self.client.get_experiment_by_name(paper)
        if found is None:
            store = _local(self.uri)
            try:
                location = _artifacts(store, paper) if store else None
                return self.client.create_experiment(paper, artifact_location=location)
            except MlflowException:  # another process was quicker
                found = self.client.get_experiment_by_name(paper)
                if found is None:
                    raise
        if found.lifecycle_stage == "deleted":
            try:
                self.client.restore_experiment(found.experiment_id)
            except MlflowException as error:
                raise HarnessError(
                    f"the experiment {paper!r} was deleted in the tracking store and cannot be restored from here "
                    f"({said(error)[:200]}): restore it there with mlflow experiments restore -x {found.experiment_id}"
                ) from error
        return found.experiment_id

    def open_sweep(self, paper: str, sweep: str, command: str) -> str:
        """Return the parent run of a sweep, made unless the store has it: its answer may have been lost."""
        experiment = self.experiment(paper)
        found = self._find(experiment, f"tags.sweep = '{sweep}' and tags.command != ''")
        if found is not None:
            return found
        tags = {"mlflow.runName": f"sweep {sweep}", "sweep": sweep, "command": command}
        return self.client.create_run(experiment, tags=tags).info.run_id

    def close_sweep(
        self,
        run_id: str,
        failed: bool,
        files: Iterable[Path] = (),
        about: str = "",
        means: Mapping[str, float] | None = None,
    ) -> None:
        """End a sweep's parent run in the state its runs ended in, with its summary files, description and means."""
        from mlflow.entities import Metric

        for path in files:
            self.client.log_artifact(run_id, str(path))
        now = int(time.time() * 1000)
        points = [Metric(stored(name), value, now, 0) for name, value in (means or {}).items()]
        for start in range(0, len(points), BATCH):
            self.client.log_batch(run_id, metrics=points[start : start + BATCH])
        if about:
            self.client.set_tag(run_id, "mlflow.note.content", about)
        self.client.set_terminated(run_id, "FAILED" if failed else "FINISHED")

    def end_killed(self, papers: Iterable[str], results: Path) -> None:
        """End what still says RUNNING in the store though its driver, or its run's process, here is no more."""
        for paper in papers:
            going = self.client.search_runs([self.experiment(paper)], "attributes.status = 'RUNNING'")
            for run in going:
                tags = run.data.tags
                if "run_key" in tags:
                    folders = (results / "runs" / paper).glob(f"*/{tags['run_key']}")
                    dead = any(not held(folder) and not (folder / RESULT).exists() for folder in folders)
                else:
                    lock = results / "sweeps" / f"{tags.get('sweep', '')}.lock"
                    dead = lock.exists() and not held(lock.with_suffix(""))
                if dead:
                    self.client.set_terminated(run.info.run_id, "KILLED")

    def runs(self) -> dict[str, list[Any]]:
        """Return the newest thousand runs of every paper in the store, the newest first, by the paper's name."""
        from mlflow.exceptions import MlflowException

        newest = ["attributes.start_time DESC"]
        try:
            return {
                paper.name: list(
                    self.client.search_runs([paper.experiment_id], RUNS, order_by=newest, max_results=MOST)
                )
                for paper in self.client.search_experiments()
            }
        except MlflowException as error:
            raise _no_more(self.uri, error) from error

    def tags(self, experiment: str) -> dict[str, str]:
        """Return what is noted of an experiment."""
        return dict(self.client.get_experiment(experiment).tags)

    def set_tag(self, experiment: str, name: str, value: str) -> bool:
        """Note something of an experiment; say whether the store took it: a server may let nobody change it."""
        from mlflow.exceptions import MlflowException

        try:
            self.client.set_experiment_tag(experiment, name, value)
        except MlflowException:
            return False
        return True

    def copy(self, folder: Path, parent: Callable[[], str] = str) -> None:
        """Bring a run folder's points, and once it has ended its parameters and files, into the store.

        `parent` returns the sweep's run there; it is asked only for a run that goes on or is not there yet.
        One at a time copies a folder: two sweeps that wait for the same run see it end at the same time.
        """
        import filelock

        with filelock.FileLock(f"{folder}.mirror.lock"):
            self._copy(folder, parent)

    def _copy(self, folder: Path, parent: Callable[[], str]) -> None:
        result = read_result(folder)
        config = result.config if result else read_config(folder)
        if config is None:
            return
        experiment = self.experiment(config["paper"])
        run_id = self._find(experiment, f"tags.run_key = '{folder.name}'")
        before = ""  # the sweep of a run that is made again here
        if run_id is not None and _made_again(run := self.client.get_run(run_id), folder):
            before = run.data.tags.get("mlflow.parentRunId", "")
            self.client.delete_run(run_id)  # its curves and parameters are those of the run before
            run_id = None
        new = run_id is None
        if run_id is None:
            tags = self._tags(folder, config)
            if above := parent() or before:
                tags["mlflow.parentRunId"] = above
            run_id = self.client.create_run(
                experiment, tags=tags, run_name=tags["mlflow.runName"]
            ).info.run_id
        run = self.client.get_run(run_id)
        if run.data.tags.get("mirrored") == stamp(folder):
            return
        if not new and run.info.status != "FINISHED" and run.data.tags.get("mlflow.parentRunId") != parent():
            self.client.set_tag(run_id, "mlflow.parentRunId", parent())
        self._points(run_id, folder, {} if new else run.data.metrics)
        if result is None:
            if run.info.status != "RUNNING":
                self.client.update_run(run_id, "RUNNING")
            return
        self._end(run_id, folder, result)

    def _find(self, experiment: str, named: str) -> str | None:
        """Return the one run of these tags; a second one, made when an answer had been lost, is deleted."""
        order = ["attributes.start_time ASC", "attributes.run_id ASC"]
        found = [run.info.run_id for run in self.client.search_runs([experiment], named, order_by=order)]
        for other in found[1:]:
            self.client.delete_run(other)
        return found[0] if found else None

    def _tags(self, folder: Path, config: dict[str, Any]) -> dict[str, str]:
        return {
            "mlflow.runName": f"{config['name']} seed {config['seed']}",
            "run_key": folder.name,
            "sweep": config.get("sweep", ""),
            **{k: str(config[k]) for k in ("paper", "seed", "budget", "device")},
            "method": config["name"],
        }

    def _points(self, run_id: str, folder: Path, known: dict[str, float]) -> None:
        """Log the points of the curves that the store does not have yet, in the file's order."""
        from mlflow.entities import Metric

        rows = read_curves(folder)
        names = {name for row in rows for name in row if name != "step"}
        reached = {
            name: max((p.step for p in self.client.get_metric_history(run_id, name)), default=-1)
            for name in names & set(known)
        }
        begun = _begun(folder)  # the store takes a point of the same time, step and value only once
        points = [
            Metric(name, float(value), begun, int(row["step"]))
            for row in rows
            for name, value in row.items()
            if name != "step" and value is not None and row["step"] > reached.get(name, -1)
        ]
        for start in range(0, len(points), BATCH):
            self.client.log_batch(run_id, metrics=points[start : start + BATCH])

    def _end(self, run_id: str, folder: Path, result: Result) -> None:
        """Log what an ended run came to: parameters, metrics, tags, dataset inputs, files, state."""
        from mlflow.entities import Metric, Param, RunTag

        ended = int((folder / RESULT).stat().st_mtime * 1000)
        numbers = {
            **{f"test/{name}": value for name, value in result.metrics.items()},
            **{f"validation/{name}": value for name, value in result.validation.items()},
            **{f"measured/{name}": value for name, value in result.measured.items()},
            **{f"seconds/{name}": value for name, value in result.timings.items()},
            **{f"consumed/{name}": value for name, value in result.consumed.items()},
            **{f"measured/{name}": value for name, value in result.environment.get("gpu", {}).items()},
        }
        metrics = [Metric(stored(name), float(v), ended, 0) for name, v in numbers.items() if v is not None]
        if result.status != "finished" or "seconds/total" in self.client.get_run(run_id).data.metrics:
            metrics = []  # a failure has none worth keeping, and a point is logged once
        settings = {name: value for name, value in result.config.items() if name != "sweep"}
        params = [Param(name, value[:6000]) for name, value in flat(settings)]
        tags = {"git": result.code.get("git", ""), "dirty": str(result.code.get("dirty", ""))}
        tags["result"] = file_digest(folder / RESULT)
        if result.error:
            tags["error"] = f"{result.error['type']}: {result.error['message']}"
        for start in range(0, len(params), 100):
            self.client.log_batch(run_id, params=params[start : start + 100])
        self.client.log_batch(run_id, metrics=metrics, tags=[RunTag(k, v) for k, v in tags.items() if v])
        self._inputs(run_id, result)
        for name in (RESULT, ITEMS, CURVES, PRODUCED, JUDGED, LOG, PACKAGES, DIFF):
            if (folder / name).exists():
                self.client.log_artifact(run_id, str(folder / name))
        self.client.set_terminated(run_id, "FINISHED" if result.status == "finished" else "FAILED")
        self.client.set_tag(run_id, "mirrored", stamp(folder))

    def _inputs(self, run_id: str, result: Result) -> None:
        """Log the data a run read as MLflow dataset inputs."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        inputs = [
            DatasetInput(
                Dataset(
                    name=source["name"],
                    digest=source["digest"][:36],
                    source_type="harness",
                    source=json.dumps({"name": source["name"]}),
                ),
                [InputTag("mlflow.data.context", name)],
            )
            for name, source in result.data.items()
        ]
        if inputs:
            self.client.log_inputs(run_id, datasets=inputs)


def stored(name: str) -> str:
    """Return a metric's name as a store takes it: letters, digits and `_-./: `."""
    return re.sub(r"[^\w/. :-]", "_", name.replace("@", ":"))


def _local(uri: str) -> Path | None:
    """Return the file of a local store, or None for a server."""
    named = re.fullmatch(r"sqlite(?:\+pysqlite)?:///([^?]+).*", uri)
    return Path(unquote(named[1])).absolute() if named else None


def _artifacts(store: Path, paper: str) -> str:
    """Return where a local store keeps the files of a paper's runs."""
    return (store.parent / ARTIFACTS / paper).as_uri()


@contextlib.contextmanager
def _opening(uri: str) -> Iterator[None]:
    """Hold a lock while a local store is opened, since two that make one file at once break each other's tables."""
    import filelock

    path = _local(uri)
    if path is None or not os.access(path.parent, os.W_OK):
        yield
        return
    with filelock.FileLock(f"{path}.lock"):
        if not path.exists() or path.stat().st_size == 0:
            _make(path)
        _settle(path)
        yield


def _make(path: Path) -> None:
    """Make a local store, whole or not at all.

    MLflow makes its tables by some forty migrations: a kill amid them leaves a file that no later start can open.
    """
    from mlflow import MlflowClient

    unfinished = path.with_name(f".{path.name}.unfinished")
    for left in path.parent.iterdir():  # by a start that was killed, with its journal
        if left.name.startswith(unfinished.name):
            left.unlink()
    MlflowClient(tracking_uri=store_at(unfinished)).search_experiments(max_results=1)
    os.replace(unfinished, path)


def _settle(path: Path) -> None:
    """Make sure that a local store is sound, and that one which was copied or moved writes beside itself.

    MLflow notes absolute places: in a copy they would still be those of the original. A run whose files
    lie only there keeps them there. Raises HarnessError for a damaged file.
    """
    import sqlite3

    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True)) as store, store:
            told = store.execute("PRAGMA quick_check(1)").fetchone()[0]
            if told != "ok":
                raise sqlite3.DatabaseError(told)
            ask = "SELECT experiment_id, name, artifact_location FROM experiments"
            for number, paper, before in store.execute(ask).fetchall():
                now = _artifacts(path, paper)
                if now == before or not before.endswith(f"/{ARTIFACTS}/{quote(paper)}"):
                    continue
                store.execute(
                    "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", (now, number)
                )
                runs = store.execute(
                    "SELECT run_uuid, artifact_uri FROM runs WHERE experiment_id = ?", (number,)
                )
                for run, old in runs.fetchall():
                    new = now + old.removeprefix(before)
                    if old.startswith(f"{before}/") and (_file(new).exists() or not _file(old).exists()):
                        store.execute("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", (new, run))
    except sqlite3.OperationalError:  # locked, or not made by MLflow: it will say so itself
        return
    except sqlite3.DatabaseError as error:
        raise HarnessError(
            f"the tracking store {path} is damaged ({error}): move that file away; a new one is made, "
            "and each command mirrors its runs anew when it is repeated"
        ) from None


def _file(uri: str) -> Path:
    return Path(unquote(uri.removeprefix("file://")))


def _begun(folder: Path) -> int:
    """Return when a run began, in milliseconds: what stays the same when its points are sent a second time."""
    for name in (CONFIG, RESULT):
        with contextlib.suppress(FileNotFoundError):
            return int((folder / name).stat().st_mtime * 1000)
    return 0


def _made_again(run: Any, folder: Path) -> bool:
    """Say whether the folder of a run that is finished in the store holds the result of another one by now."""
    if run.info.status != "FINISHED" or not (folder / RESULT).exists():
        return False
    tags = run.data.tags
    return tags.get("mirrored") != stamp(folder) and tags.get("result") != file_digest(folder / RESULT)


def stamp(folder: Path) -> str:
    """Return what tells one ending of a run from another: a digest of result and judgments, or "" before it."""
    import hashlib

    try:
        told = (folder / RESULT).read_bytes()
    except FileNotFoundError:
        return ""
    with contextlib.suppress(FileNotFoundError):  # most runs have none
        told += (folder / JUDGED).read_bytes()
    return hashlib.sha256(told).hexdigest()[:16]


def up_to_date(uri: str, folders: Iterable[Path]) -> bool:
    """Say whether a local store holds these ended runs whole; asked of its file, since mlflow takes seconds.

    False where that cannot be told: then the store is asked in the usual way.
    """
    import sqlite3

    path = _local(uri)
    if path is None or not path.exists():
        return uri == ""
    ask = (
        "SELECT a.value, b.value FROM tags a JOIN tags b USING (run_uuid) JOIN runs USING (run_uuid) "
        "WHERE a.key = 'run_key' AND b.key = 'mirrored' AND lifecycle_stage = 'active'"
    )
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as store:
            held = set(store.execute(ask))
            going = store.execute("SELECT count(*) FROM runs WHERE status = 'RUNNING'").fetchone()[0]
    except sqlite3.Error:
        return False
    return not going and all((folder.name, stamp(folder)) in held for folder in folders)


def flat(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield nested settings as dotted names with their values as text."""
    for key, item in value.items():
        if isinstance(item, dict):
            yield from flat(item, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(item)


def fetch(
    uri: str, cache: Path, papers: Iterable[str] = (), damage: Callable[[str], None] = tell
) -> list[Record]:
    """Bring a store's runs into `cache` as run folders and read them: for judging colleagues' runs."""
    from mlflow.exceptions import MlflowException

    try:
        return _fetched(Mirror(uri), cache, set(papers), damage)
    except MlflowException as error:
        raise _no_more(uri, error) from error


def _no_more(uri: str, error: Exception) -> HarnessError:
    return HarnessError(
        f"the tracking store {uri} answered no more ({said(error)[:200]}): repeat the command when it does"
    )


def _fetched(mirror: Mirror, cache: Path, wanted: set[str], damage: Callable[[str], None]) -> list[Record]:
    records = []
    for experiment in mirror.client.search_experiments():
        if wanted and experiment.name not in wanted:
            continue
        token: str | None = None
        while True:
            page = mirror.client.search_runs([experiment.experiment_id], RUNS, page_token=token)
            for run in page:
                folder = kept_at(cache, run.data.tags)
                if folder is None:
                    continue
                if not (folder / RESULT).exists():
                    _download(mirror.client, run.info.run_id, folder)
                record = read_record(folder, damage)
                if record is not None:
                    records.append(record)
            token = page.token
            if not token:
                break
    return records


def kept_at(cache: Path, tags: Mapping[str, str]) -> Path | None:
    """Return where a store's run is kept here; None for one not mirrored whole.

    Raises HarnessError for names that no run of the harness has: a store must not choose folders here.
    """
    names = (tags.get("run_key", ""), tags.get("mirrored", ""))
    if not all(names):
        return None
    if not all(re.fullmatch(r"[0-9a-f]{16,64}", name) for name in names):
        raise HarnessError(
            f"the store holds a run called {'/'.join(names)!r}, which is no run's key: remove it there"
        )
    return cache / names[0] / names[1]


def _download(client: Any, run_id: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        for name in [f.path for f in client.list_artifacts(run_id)]:
            if name != RESULT and name in (ITEMS, CURVES, PRODUCED, JUDGED):
                client.download_artifacts(run_id, name, str(folder))
        path = Path(client.download_artifacts(run_id, RESULT, str(folder)))
        write_text(folder / RESULT, path.read_text(encoding="utf-8"))
