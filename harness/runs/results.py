"""A run's folder: `config.json`, `result.json` (written last), `items.parquet`, `metrics.jsonl`, `log.txt`.

The folder is the truth; everything else (tracking, report, status) reads it. Each file is written
under a temporary name and renamed, so a reader sees all of it or nothing. Disks and people damage files all
the same: a file that is not what it should be is `Damaged`, is told, and takes no other run with it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from harness.papers.statement import Items
from harness.runs.files import read_lines, sync, tell, write_json
from harness.runs.produced import judged_items
from harness.runs.shapes import AGAIN, SCHEMA, Config, Damaged, Newer, Progress, Result, check

PACKAGES, DIFF = "packages.json", "code.diff"
RESULT, CONFIG, ITEMS, CURVES, PROGRESS, LOG = (
    "result.json",
    "config.json",
    "items.parquet",
    "metrics.jsonl",
    "progress.json",
    "log.txt",
)


@dataclass(frozen=True)
class Record:
    """A result read back, with the folder it came from."""

    folder: Path
    result: Result

    @property
    def items(self) -> dict[str, Items]:
        """The items behind each metric, read from disk at each call.

        Raises Damaged where there are not those that the result says.
        """
        if lost := items_lost(self.folder, self.result):
            raise lost
        found = read_items(self.folder)
        counts = {metric: len(items.ids) for metric, items in found.items()}
        if self.result.items and counts != self.result.items:
            raise Damaged(f"{self.folder / ITEMS} holds other items than {RESULT} says: {AGAIN}")
        return found | judged_items(self.folder)


def local_store(results: Path) -> str:
    """Return the tracking URI of a results folder's own MLflow store."""
    return store_at(results / "mlflow.db")


def store_at(file: Path) -> str:
    """Return the tracking URI of a local store; its name may hold what has a meaning in a URI.

    Where it does, the driver is named: MLflow makes folders by the letters behind a plain `sqlite:///`.
    """
    name = str(file).replace("%", "%25").replace("?", "%3F")
    return f"{'sqlite' if name == str(file) else 'sqlite+pysqlite'}:///{name}"


def write_result(folder: Path, result: Result) -> None:
    """Write `result.json`. Written last: its presence means the run came to an end, also after a power cut."""
    if (folder / ITEMS).exists():
        sync(folder / ITEMS)
    write_json(folder / RESULT, {"schema": SCHEMA, **asdict(result)}, lasting=True)


def read_result(folder: Path) -> Result | None:
    """Read `result.json`, of whatever version up to this one; None where the run has not come to an end.

    Raises Damaged for a file that is no result, Newer for one of a later version.
    """
    path = folder / RESULT
    try:
        raw = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise _no_json(path, error) from None
    made_by = raw.get("schema", 1) if isinstance(raw, dict) else 1
    if isinstance(made_by, int) and made_by > SCHEMA:
        raise Newer(
            f"{path} was made by a newer harness (schema {made_by}, this one reads up to {SCHEMA}): "
            "upgrade paper-harness"
        )
    check(path, raw, Result)
    known = {f.name for f in fields(Result)}
    unknown = sorted(raw.keys() - known - {"schema"})
    if unknown:
        tell(f"results have keys that this harness does not know and leaves out: {', '.join(unknown)[:200]}")
    return Result(**{name: value for name, value in raw.items() if name in known})


def read_config(folder: Path) -> dict[str, Any] | None:
    """Read the settings of a run that has begun, or None where they cannot be read."""
    path = folder / CONFIG
    try:
        raw: dict[str, Any] = json.loads(path.read_bytes())
        check(path, raw, Config)
        return raw
    except (OSError, ValueError, RecursionError, Damaged):
        return None


def read_progress(folder: Path) -> dict[str, Any] | None:
    """Read what a run last said of its progress, or None where that cannot be read."""
    path = folder / PROGRESS
    try:
        raw: dict[str, Any] = json.loads(path.read_bytes())
        check(path, raw, Progress)
        return raw
    except (OSError, ValueError, RecursionError, Damaged):
        return None


def whole(folder: Path) -> Result | None:
    """Return the result of a run that is finished and whole; None where there is something to do for it.

    Raises Newer for a run that a newer harness made: it must not be made again by an older one.
    """
    try:
        result = read_result(folder)
    except Newer:
        raise
    except Damaged as error:
        tell(f"damaged: {error}")
        return None
    if result is None or result.status != "finished":
        return None
    if lost := items_lost(folder, result):
        tell(f"damaged: {lost}")
        return None
    return result


def read_record(folder: Path, damage: Callable[[str], None] = tell) -> Record | None:
    """Return an ended run, None for one that has not ended; what is wrong with its files is given to `damage`.

    A run whose result cannot be read counts as failed, as far as `config.json` says which run it was.
    """
    try:
        result = read_result(folder)
    except Damaged as error:
        damage(f"{error.kind}: {error}")
        config = read_config(folder)
        if config is None:
            return None
        result = Result(folder.name, "failed", config, error={"type": error.kind, "message": str(error)})
    if result is None:
        return None
    if lost := items_lost(folder, result):
        damage(f"damaged: {lost}")
    for metric, items in judged_items(folder).items():  # said since the run ended
        from harness.papers.reduction import by_item  # here, since numpy is not light

        result.metrics[metric] = float(by_item(items.columns["score"]).mean())
    return Record(folder, result)


def find_runs(results: Path, paper: str = "*", damage: Callable[[str], None] = tell) -> Iterator[Record]:
    """Yield every ended run under `results/runs`, in a stable order (see `read_record`)."""
    for path in sorted((results / "runs").glob(f"{paper}/*/*/{RESULT}")):
        record = read_record(path.parent, damage)
        if record is not None:
            yield record


def write_items(folder: Path, items: Mapping[str, Items]) -> None:
    """Write every metric's items as one table: `metric`, `id`, the columns any metric has, and `group:` columns.

    Of several draws an item the column holds the mean, and a `draws:` column what was drawn.

    Raises HarnessError for groups that cannot be used.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from harness.papers.reduction import by_item, check_groups  # here, since numpy is not light

    if not items:
        return
    for item in items.values():
        check_groups(item)
    drawn = {
        metric: [name for name, column in item.columns.items() if np.ndim(column) == 2]
        for metric, item in items.items()
    }
    tables = [
        pa.table(
            {
                "metric": pa.array([metric] * len(item.ids), pa.string()),
                "id": pa.array([str(i) for i in item.ids], pa.string()),
                **{name: pa.array(by_item(column), pa.float64()) for name, column in item.columns.items()},
                **{
                    f"draws:{name}": pa.array([list(map(float, row)) for row in item.columns[name]])
                    for name in drawn[metric]
                },
                **{
                    f"group:{name}": pa.array([str(group) for group in groups], pa.string())
                    for name, groups in item.groups.items()
                },
            }
        )
        for metric, item in items.items()
    ]
    order = {metric: list(item.columns) for metric, item in items.items()}
    table = pa.concat_tables(tables, promote_options="default")
    about = {
        metric: {"groups": list(item.groups), "fixed": list(item.fixed), "contiguous": item.contiguous}
        for metric, item in items.items()
        if item.groups or item.contiguous
    }
    told = {"columns": json.dumps(order), "groups": json.dumps(about), "schema": str(SCHEMA)}
    told["draws"] = json.dumps({metric: names for metric, names in drawn.items() if names})
    table = table.replace_schema_metadata(told)
    temporary = folder / f".{ITEMS}"
    pq.write_table(table, temporary)
    os.replace(temporary, folder / ITEMS)


def items_lost(folder: Path, result: Result) -> Damaged | None:
    """Return what is wrong with a run's items as far as a look at the file's ends tells, or None."""
    path = folder / ITEMS
    try:
        with path.open("rb") as file:
            begins = file.read(4)
            size = file.seek(-4, os.SEEK_END) + 4
            if (begins, file.read()) == (b"PAR1", b"PAR1") and size >= 12:
                return None
    except FileNotFoundError:
        return Damaged(f"{path} is gone: {AGAIN}") if result.items else None
    except OSError:
        pass
    return Damaged(f"{path} is torn: {AGAIN}")


def read_items(folder: Path) -> dict[str, Items]:
    """Read `items.parquet` back as `{metric: Items}` with numpy columns; empty where there is none.

    Raises Damaged for a file that is no such table.
    """
    try:
        return _items(folder)
    except Newer:
        raise
    except Exception as error:  # pyarrow has many for what a file can be
        raise Damaged(f"{folder / ITEMS} cannot be read ({_first_line(error)}): {AGAIN}") from None


def _items(folder: Path) -> dict[str, Items]:
    import numpy as np
    import pyarrow.parquet as pq

    if not (folder / ITEMS).exists():
        return {}
    # There is a file a run and hundreds of runs: read without threads, each name and id decoded once.
    file = pq.ParquetFile(folder / ITEMS, pre_buffer=False, read_dictionary=["metric", "id"])
    table = file.read(use_threads=False).unify_dictionaries().combine_chunks()
    if int(table.schema.metadata.get(b"schema", 1)) > SCHEMA:
        raise Newer(f"{folder / ITEMS} was made by a newer harness: upgrade paper-harness")
    file.close()
    order = json.loads(table.schema.metadata[b"columns"])
    about = json.loads(table.schema.metadata.get(b"groups", b"{}"))  # runs of before told none
    drawn = json.loads(table.schema.metadata.get(b"draws", b"{}"))
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
        told = about.get(metric, {"groups": [], "fixed": [], "contiguous": False})
        groups = {name: table[f"group:{name}"].take(rows).to_pylist() for name in told["groups"]}
        several = drawn.get(metric, [])
        found[metric] = Items(
            {
                name: _drawn(table[f"draws:{name}"].take(rows)) if name in several else columns[name][rows]
                for name in names
            },
            ids[known[rows]].tolist(),
            groups,
            tuple(told["fixed"]),
            told["contiguous"],
        )
    return found


def _drawn(column: Any) -> Any:
    """Return lists of draws as an (items, draws) array."""
    import numpy as np

    return np.array(column.to_pylist(), dtype=float)


def read_curves(folder: Path) -> list[dict[str, Any]]:
    """Read `metrics.jsonl`: one `{"step": ..., name: value}` per line; what is no number of a curve is left out."""
    rows = []
    for row in read_lines(folder / CURVES, ("step",)):
        points = {name: value for name, value in row.items() if value is None or _is_number(value)}
        if points.get("step") is not None:
            rows.append(points)
    return rows


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _no_json(path: Path, error: Exception) -> Damaged:
    if isinstance(error, OSError):
        return Damaged(f"{path} cannot be read ({error.strerror}): free it, or {AGAIN}")
    what = "is empty" if path.stat().st_size == 0 else f"is no JSON ({_first_line(error)})"
    return Damaged(f"{path} {what}: {AGAIN}")


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:120] or type(error).__name__
