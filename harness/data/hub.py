"""Data sets and models of the Hugging Face hub, pinned to a revision.

What a moving name (`main`) meant the first time is kept in the cache, so all runs of a sweep see one
revision; name a revision, or clear the cache, to move on. Offline (HF_HUB_OFFLINE=1) the hub's own
local cache answers. Data come as data: loading scripts of data sets are never run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from textwrap import shorten
from typing import Any, TypeVar

from harness.data.cache import once
from harness.data.files import TABLES, TEXTS, model_digest
from harness.errors import HarnessError, UsageError

ADDRESS = re.compile(r"([\w.-]+(?:/[\w.-]+)?)(?:@([^#]+))?(?:#(.*))?")
SAFE = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "*.md", "*.py", "LICENSE*"]
WEIGHTS = (".gguf", ".safetensors", ".bin", ".pt", ".pth", ".ckpt")
DATASET = "<id>[@revision][#[config/]split]"
PICKLED = ["*.bin", "*.pt", "*.pth"]

T = TypeVar("T")


def dataset(address: str, cache: Path) -> tuple[Path, dict[str, str]]:
    """Return `<id or folder>[@revision][#[config/]split]` as one parquet file, and its record.

    A folder has the hub's layout, and its content is its revision. The record has `address` (with the
    revision it was pinned to), `revision` and `licence`.
    """
    name, part, pin = _dataset(address, cache)
    target = _parquet(name, part, pin, cache)

    def export(path: Path) -> None:
        from datasets import Dataset, disable_progress_bars, load_dataset

        disable_progress_bars()
        origin, revision = name, None if Path(name).is_dir() else pin["revision"]
        if revision and _offline():
            origin, revision = _snapshot(name, "dataset", revision=revision), None
        config, _, split = part.rpartition("/")
        found = load_dataset(origin, config or None, split=split or None, revision=revision)
        if not isinstance(found, Dataset):
            splits = list(found)
            if len(splits) > 1:
                raise UsageError(f"hub:{address} has several splits: add #{' or #'.join(splits)}")
            found = found[splits[0]]
        found.to_parquet(path)

    _asking(address, lambda: once(target, export))
    pinned = name if Path(name).is_dir() else f"{name}@{pin['revision']}"
    return target, {**pin, "address": f"{pinned}#{part}" if part else pinned}


def present(address: str, cache: Path) -> bool:
    """Return whether the data set has been fetched."""
    if Path(_folder(address)[0]).is_dir():
        return True
    name, revision, part = _parts(address, DATASET)
    kept = _pin_file(name, revision, "dataset", cache)
    return kept.exists() and _parquet(name, part, json.loads(kept.read_text()), cache).exists()


def _dataset(address: str, cache: Path) -> tuple[str, str, dict[str, str]]:
    folder, part = _folder(address)
    if Path(folder).is_dir():
        path = Path(folder)
        return folder, part, {"revision": model_digest(path, cache), "licence": _licence(path)}
    name, revision, part = _parts(address, DATASET)
    return name, part, _pin(name, revision, "dataset", cache)


def _folder(address: str) -> tuple[str, str]:
    """Return the folder and the split that an address names, if it names a folder, which may have a # in it."""
    if "#" not in address or Path(address).is_dir():
        return address, ""
    folder, _, part = address.rpartition("#")
    return folder, part


def _parquet(name: str, part: str, pin: dict[str, str], cache: Path) -> Path:
    return _home(name, cache) / pin["revision"] / f"{_plain(part) or 'only'}.parquet"


def model(address: str, cache: Path, allow_pickle: bool) -> tuple[Path, dict[str, str]]:
    """Return the folder of `<id>[@revision]`, or the file of `...#<path inside>`, and its record."""
    name, revision, inside = _parts(address, "<id>[@revision][#file.gguf]")
    pin = _pin(name, revision, "model", cache)
    patterns = [inside] if inside else SAFE + (PICKLED if allow_pickle else [])
    folder = _asking(
        address, lambda: _snapshot(name, "model", revision=pin["revision"], allow_patterns=patterns)
    )
    path = Path(folder) / inside
    if not path.exists():
        raise UsageError(f"hub:{address} has no {inside!r} inside: look at the model's files on the hub")
    pinned = f"{name}@{pin['revision']}"
    return path, {**pin, "address": f"{pinned}#{inside}" if inside else pinned}


def path_like(address: str) -> bool:
    """Say whether what is not there can only have been meant as a path: no hub name begins or ends so."""
    name = re.split("[@#]", address)[0]
    return name.startswith((".", "/", "~")) or "\\" in name or name.lower().endswith(TABLES + TEXTS + WEIGHTS)


def _parts(address: str, form: str) -> tuple[str, str, str]:
    parts = ADDRESS.fullmatch(address)
    if not parts or path_like(address):
        raise UsageError(f"hub:{address} is not a folder here and not a hub name: write hub:{form}")
    return parts[1], parts[2] or "main", parts[3] or ""


def _home(name: str, cache: Path) -> Path:
    folder = Path(name)
    return cache / "hub" / _plain(folder.resolve().name if folder.is_dir() else name)


def _plain(name: str) -> str:
    return re.sub(r"[^\w.-]", "--", name)


def _pin(name: str, revision: str, kind: str, cache: Path) -> dict[str, str]:
    """Return the commit that `revision` names, and the licence; as it was the first time it was asked."""

    def ask(path: Path) -> None:
        if _offline():
            snapshot = Path(_snapshot(name, kind, revision=revision))
            found = {"revision": snapshot.name, "licence": _licence(snapshot)}
        else:
            from huggingface_hub import HfApi

            info: Any = HfApi().repo_info(name, revision=revision, repo_type=kind)
            card = info.card_data or {}
            found = {"revision": str(info.sha), "licence": str(card.get("license") or "")}
        path.write_text(json.dumps(found) + "\n", encoding="utf-8")

    kept = _pin_file(name, revision, kind, cache)
    _asking(name, lambda: once(kept, ask))
    found: dict[str, str] = json.loads(kept.read_text(encoding="utf-8"))
    return found


def _pin_file(name: str, revision: str, kind: str, cache: Path) -> Path:
    return _home(name, cache) / f"{kind}-{_plain(revision)}.json"


def _asking(address: str, ask: Callable[[], T]) -> T:
    """Return what `ask` gets from the hub, or its refusal as one sentence."""
    try:
        return ask()
    except HarnessError:
        raise
    except Exception as error:  # the hub's libraries raise a dozen kinds, all of which mean the same here
        told = " ".join(str(error).split("\n")[0].split())
        said = told if len(told) <= 200 else told[:200].rpartition(". ")[0] or shorten(told, 200)
        where = "the hub's local cache (offline)" if _offline() else "the hub"
        raise HarnessError(
            f"{where} did not give hub:{address} ({type(error).__name__}: {said}): check the id, revision, "
            "config and split, the network, and `hf auth login` for a gated one"
        ) from None


def _offline() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def _snapshot(name: str, kind: str, **options: Any) -> str:
    from huggingface_hub import snapshot_download

    return snapshot_download(name, repo_type=kind, local_files_only=_offline(), **options)


def _licence(folder: Path) -> str:
    """Return the licence that a hub card names at its head."""
    card = folder / "README.md"
    head = card.read_text(encoding="utf-8", errors="replace")[:5000] if card.exists() else ""
    found = re.search(r"\A---\n(?:.*\n)*?license:[ \t]*(\S+)", head)
    return found[1] if found else ""
