"""A run's folder: `config.json`, `result.json` (written last), `items.parquet`, `metrics.jsonl`, `log.txt`.

The folder is the truth; everything else (tracking, report, status) reads it. Each file is written
under a temporary name and renamed, so a reader sees all of it or nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.papers.statement import Items
from harness.runs.files import write_json

PACKAGES, DIFF = "packages.json", "code.diff"
RESULT, CONFIG, ITEMS, CURVES, PROGRESS, LOG = (
    "result.json",
    "config.json",
    "items.parquet",
    "metrics.jsonl",
    "progress.json",
    "log.txt",
)


@dataclass
class Result:
    """What one run came to. `status` is "finished" or "failed"; `error` has `type`, `message`, `log`."""

    run_key: str
    status: str
    config: dict[str, Any]
    metrics: dict[str, float] = field(default_factory=dict)
    validation: dict[str, float] = field(default_factory=dict)
    measured: dict[str, float] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    environment: dict[str, Any] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    code: dict[str, Any] = field(default_factory=dict)

    @property
    def numbers(self) -> dict[str, float]:
        """All declared metrics: the repeatable ones, and those that were measured."""
        return {**self.metrics, **self.measured}


@dataclass(frozen=True)
class Record:
    """A result read back, with the folder it came from."""

    folder: Path
    result: Result

    @property
    def items(self) -> dict[str, Items]:
        """The items behind each metric, read from disk at each call."""
        return read_items(self.folder)


def local_store(results: Path) -> str:
    """Return the tracking URI of a results folder's own MLflow store."""
    return f"sqlite:///{results / 'mlflow.db'}"


def write_result(folder: Path, result: Result) -> None:
    """Write `result.json`. Written last: its presence means the run came to an end."""
    write_json(folder / RESULT, asdict(result))


def read_result(folder: Path) -> Result | None:
    """Read `result.json`, or None where the run has not come to an end."""
    try:
        return Result(**json.loads((folder / RESULT).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def read_config(folder: Path) -> dict[str, Any] | None:
    """Read the settings of a run that has begun, or None where they are not there."""
    try:
        found: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        return found
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def find_runs(results: Path, paper: str = "*") -> Iterator[Record]:
    """Yield every ended run under `results/runs`, in a stable order."""
    for path in sorted((results / "runs").glob(f"{paper}/*/*/{RESULT}")):
        result = read_result(path.parent)
        if result is not None:
            yield Record(path.parent, result)


def write_items(folder: Path, items: Mapping[str, Items]) -> None:
    """Write every metric's items as one table: `metric`, `id`, and the columns any metric has."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not items:
        return
    tables = [
        pa.table(
            {
                "metric": pa.array([metric] * len(item.ids), pa.string()),
                "id": pa.array([str(i) for i in item.ids], pa.string()),
                **{name: pa.array(column, pa.float64()) for name, column in item.columns.items()},
            }
        )
        for metric, item in items.items()
    ]
    order = {metric: list(item.columns) for metric, item in items.items()}
    table = pa.concat_tables(tables, promote_options="default")
    table = table.replace_schema_metadata({"columns": json.dumps(order)})
    temporary = folder / f".{ITEMS}"
    pq.write_table(table, temporary)
    os.replace(temporary, folder / ITEMS)


def read_items(folder: Path) -> dict[str, Items]:
    """Read `items.parquet` back as `{metric: Items}` with numpy columns; empty where there is none."""
    import numpy as np
    import pyarrow.parquet as pq

    if not (folder / ITEMS).exists():
        return {}
    # There is a file a run and hundreds of runs: read without threads, each name and id decoded once.
    file = pq.ParquetFile(folder / ITEMS, pre_buffer=False, read_dictionary=["metric", "id"])
    table = file.read(use_threads=False).unify_dictionaries().combine_chunks()
    file.close()
    order = json.loads(table.schema.metadata[b"columns"])
    if not table.num_rows:
        return {metric: Items({name: np.empty(0) for name in names}, []) for metric, names in order.items()}
    metric_of, id_of = (table[name].chunk(0) for name in ("metric", "id"))
    places = {name: i for i, name in enumerate(metric_of.dictionary.to_pylist())}
    belongs, ids = metric_of.indices.to_numpy(), np.array(id_of.dictionary.to_pylist(), dtype=object)
    known = id_of.indices.to_numpy()
    columns = {name: table[name].to_numpy() for names in order.values() for name in names}
    found: dict[str, Items] = {}
    for metric, names in order.items():
        rows = np.flatnonzero(belongs == places.get(metric, -1))
        found[metric] = Items({name: columns[name][rows] for name in names}, ids[known[rows]].tolist())
    return found


def read_curves(folder: Path) -> list[dict[str, float]]:
    """Read `metrics.jsonl`: one `{"step": ..., name: value}` per line; a torn last line is left out."""
    path = folder / CURVES
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows
