"""A bundle: runs with all that their verdicts rest on, each file hashed, and one digest over the whole.

It is laid out as a results folder is, so that what judges runs judges a bundle: `runs/` with settings, results, items,
curves, package versions and code difference; `claims.json`; and what the folder remembers of bounds and looks.
`manifest.json` lists it. A bundle is data from a stranger: names are those of a list, nothing leads outside, sizes are
limited before anything is read, and no file of a kind that can hold code is among them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO, Literal

from typing_extensions import TypedDict

from harness.errors import HarnessError, UsageError, said
from harness.numbers import printable
from harness.runs.files import digest, write_json

SCHEMA = 1  # of manifest.json
MANIFEST, CLAIMS, SIGNATURE = "manifest.json", "claims.json", "manifest.json.sigstore.json"
FILES, WHOLE, JSON = 20_000, 2**33, 2**26  # how many files, bytes of all, bytes of one that is parsed
PACKED, SMALL = 100, 2**28  # how many times as large an archive may become, once it is not small any more
CELLS = 5 * 10**7  # of one table of items
NAME = r"[A-Za-z0-9][A-Za-z0-9_.@+-]{0,99}"
RUN = rf"runs/{NAME}/{NAME}/[0-9a-f]{{16}}/"
PLACES = {  # what a bundle may hold, and how many bytes of it
    CLAIMS: JSON,
    r"(register|looks)\.jsonl": JSON,
    r"plans/[0-9a-f]{16}\.json": 2**20,
    rf"{RUN}(config|result|packages|produced|judgments)\.json": JSON,
    rf"{RUN}metrics\.jsonl": JSON,
    rf"{RUN}code\.diff": 2**24,
    rf"{RUN}items\.parquet": 2**29,
    rf"{RUN}output/({NAME}/){{0,3}}{NAME}\.(json|jsonl|txt)": JSON,
    rf"{RUN}output/({NAME}/){{0,3}}{NAME}\.(safetensors|npy)": 2**32,
}
EPOCH = (1980, 1, 1, 0, 0, 0)  # the date of every file in an archive: equal content, equal bytes


class Refused(HarnessError):
    """A bundle that is not what it should be: nothing of it is read any further."""

    kind = "refused"


class File(TypedDict):
    """A file's SHA-256 and size."""

    sha256: str
    bytes: int


class Ran(TypedDict):
    """A run of the bundle: its method as tables call it, the sweep that made it, and the digests of what it read."""

    method: str
    seed: int
    run_key: str
    status: Literal["finished", "failed"]
    sweep: str
    data: dict[str, str]
    folder: str


class Job(TypedDict):
    """What a sweep was asked for, and what came of it."""

    method: str
    seed: int
    run_key: str
    outcome: str


class Manifest(TypedDict):
    """What a bundle holds. `sweeps` is null where a sweep's journal was gone; `digest` is over all the rest."""

    schema: Literal[1]
    harness: str
    runs: list[Ran]
    sweeps: dict[str, list[Job] | None]
    files: dict[str, File]
    digest: str


@dataclass(frozen=True)
class Opened:
    """A bundle whose files are those that its manifest tells; `signed` says that a signature lies beside it."""

    folder: Path
    manifest: Manifest
    signed: bool = False


def whole(manifest: Mapping[str, Any]) -> str:
    """Return the one digest of a bundle: over its manifest, which holds every file's."""
    return digest({key: value for key, value in manifest.items() if key != "digest"})


def seal(folder: Path, runs: Sequence[Ran], sweeps: Mapping[str, list[Job] | None]) -> Manifest:
    """Hash every file of `folder` and write its manifest. Raises Refused for a file that no bundle may hold."""
    files: dict[str, File] = {}
    for name, path in _within(folder):
        if name not in (MANIFEST, SIGNATURE):
            size = path.stat().st_size
            _fits(name, size)
            with path.open("rb") as file:
                files[name] = {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": size}
    made: Any = {
        "schema": SCHEMA,
        "harness": version("paper-harness"),
        "runs": list(runs),
        "sweeps": dict(sweeps),
        "files": files,
    }
    manifest: Manifest = made | {"digest": whole(made)}
    (folder / SIGNATURE).unlink(missing_ok=True)  # of another manifest
    write_json(folder / MANIFEST, manifest)
    return manifest


def pack(folder: Path, archive: Path) -> None:
    """Write a bundle's folder as one zip archive: equal folders give equal bytes."""
    temporary = archive.with_name(f".{archive.name}")
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as zipped:
        for name, path in _within(folder):
            member = zipfile.ZipInfo(name, EPOCH)
            member.compress_type, member.create_system, member.external_attr = (
                zipfile.ZIP_DEFLATED,
                3,
                0o644 << 16,
            )
            member.file_size = path.stat().st_size
            with path.open("rb") as read, zipped.open(member, "w") as write:
                while block := read.read(2**20):
                    write.write(block)
    os.replace(temporary, archive)


def opened(bundle: Path, room: Path) -> Opened:
    """Return a bundle, an archive unpacked into the empty folder `room`, once its files are what its manifest says.

    Raises UsageError where there is no bundle, Refused for one that is not whole, holds more, or leads outside.
    """
    if bundle.is_dir():
        return _checked(bundle)
    if not bundle.is_file():
        raise UsageError(
            f"{bundle} does not exist: name a bundle, a folder or a .zip that harness bundle wrote"
        )
    try:
        with zipfile.ZipFile(bundle) as zipped:
            _unpack(zipped, bundle.stat().st_size, room)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise Refused(f"{bundle.name} is no whole zip archive ({said(error)}): ask for it again") from None
    return _checked(room)


def _unpack(zipped: zipfile.ZipFile, packed: int, room: Path) -> None:
    """Write an archive's members; every name and size is looked at before the first byte is."""
    members = zipped.infolist()
    names = [member.filename for member in members]
    if len(names) > FILES + 2 or len(set(names)) < len(names):
        raise Refused(f"it holds {len(names):,} members or one of them twice: at most {FILES:,}, each once")
    for member in members:
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise Refused(f"{_shown(member.filename)} is a link or no file: a bundle holds plain files")
        _fits(member.filename, member.file_size)
    size = sum(member.file_size for member in members)
    if size > WHOLE or (size > SMALL and size > PACKED * packed):
        raise Refused(
            f"{packed:,} bytes would unpack to {size:,}, beyond {WHOLE:,} or {PACKED} times as much"
        )
    for member in members:
        path = room / member.filename
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipped.open(member) as read, path.open("xb") as write:
            _copy(read, write, member.file_size, member.filename)  # type: ignore[arg-type]


def _copy(read: BinaryIO, write: BinaryIO, size: int, name: str) -> None:
    """Copy as many bytes as the archive told, and refuse more."""
    left = size
    while block := read.read(2**20):
        left -= len(block)
        if left < 0:
            raise Refused(f"{_shown(name)} is larger than the archive says")
        write.write(block)


def _fits(name: str, size: int) -> None:
    """Refuse a name that is no bundle's, which leads outside or is too large."""
    if name in (MANIFEST, SIGNATURE):
        most: int | None = JSON
    else:
        most = next((most for place, most in PLACES.items() if re.fullmatch(place, name)), None)
    if most is None:
        raise Refused(f"{_shown(name)} is no file of a bundle: its names and folders are those of a list")
    if not 0 <= size <= most:
        raise Refused(f"{_shown(name)} has {size:,} bytes: at most {most:,} of such a file are read")


def _within(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files below a folder by their names in it, in order. Raises Refused for links and the like."""
    found: dict[str, Path] = {}
    for root, folders, files in os.walk(folder, followlinks=False):
        for name in (*folders, *files):
            path = Path(root, name)
            kind = stat.S_IFMT(path.lstat().st_mode)
            inside = path.relative_to(folder).as_posix()
            if kind not in (stat.S_IFREG, stat.S_IFDIR):
                raise Refused(f"{_shown(inside)} is a link or no file: a bundle holds plain files")
            if kind == stat.S_IFREG:
                found[inside] = path
        if len(found) > FILES + 2:
            raise Refused(f"it holds more than {FILES:,} files")
    yield from sorted(found.items())


def _checked(folder: Path) -> Opened:
    """Return the bundle in `folder` if its files are those of its manifest, no less and no more."""
    there = dict(_within(folder))
    if MANIFEST not in there:
        raise UsageError(f"{folder.name} holds no {MANIFEST}: name a bundle that harness bundle wrote")
    for name, path in there.items():
        _fits(name, path.stat().st_size)
    manifest = _manifest(there[MANIFEST])
    told = manifest["files"]
    for name in sorted(told.keys() | there.keys() - {MANIFEST, SIGNATURE}):
        if name not in told:
            raise Refused(f"{_shown(name)} is not in the manifest")
        if name not in there:
            raise Refused(f"{_shown(name)} is in the manifest and not there")
        with there[name].open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        if content != told[name]["sha256"]:
            raise Refused(f"{_shown(name)} is not the file that the manifest tells: its SHA-256 is another")
        _harmless(name, there[name])
    if manifest["digest"] != whole(manifest):
        raise Refused(f"the digest of {MANIFEST} is not that of what it tells")
    return Opened(folder, manifest, SIGNATURE in there)


def _manifest(path: Path) -> Manifest:
    try:
        raw = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise Refused(f"{MANIFEST} is not JSON") from None
    made_by = raw.get("schema") if isinstance(raw, dict) else None
    if isinstance(made_by, int) and made_by > SCHEMA:
        raise Refused(f"{MANIFEST} is of schema {made_by}, this harness reads up to {SCHEMA}: upgrade it")
    from pydantic import TypeAdapter, ValidationError

    try:
        TypeAdapter(Manifest).validate_python(raw, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = printable(".".join(map(str, first["loc"])))[:100]
        raise Refused(f"{MANIFEST} is none ({where}: {first['msg']})") from None
    manifest: Manifest = raw
    return manifest


def _harmless(name: str, path: Path) -> None:
    """Refuse a table that would grow beyond all bounds when read, and an array that is a pickle."""
    if name.endswith(".parquet"):
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(path) as file:
                groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
                cells = sum(g.column(c).num_values for g in groups for c in range(g.num_columns))
                rows, size = file.metadata.num_rows, sum(g.total_byte_size for g in groups)
                cells = max(cells, rows * len(file.schema_arrow))
        except Exception as error:  # pyarrow has many for what a file can be
            raise Refused(f"{_shown(name)} is no table ({said(error)[:100]})") from None
        if cells > CELLS or size > 2**31:
            raise Refused(
                f"{_shown(name)} holds {cells:,} cells of {size:,} bytes: at most {CELLS:,} are read"
            )
    elif name.endswith(".npy"):
        import numpy as np

        try:
            np.load(path, mmap_mode="r", allow_pickle=False)
        except Exception as error:
            raise Refused(f"{_shown(name)} is no plain array ({said(error)[:100]})") from None


def _shown(name: str) -> str:
    return repr(printable(name)[:120])


def published() -> str:
    """Return the JSON Schema of a bundle's manifest.json."""
    from pydantic import TypeAdapter

    made = TypeAdapter(Manifest).json_schema()
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "manifest.json of a bundle",
        "description": f"What a bundle of paper-harness holds, schema {SCHEMA}.",
    }
    return json.dumps({**head, **{k: v for k, v in made.items() if k not in head}}, indent=1) + "\n"


if __name__ == "__main__":
    print(published(), end="")
