"""Options that the papers' own commands share: `def show(results: Results = Path("results")) -> None`."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "Batch",
    "Device",
    "Engine",
    "Json",
    "Model",
    "Pooling",
    "Precision",
    "Prompt",
    "Results",
    "Trusted",
]

Results = Annotated[Path, typer.Option(help="The results folder: runs, stages and fetched models.")]
Model = Annotated[str, typer.Option(help="A hub id, a folder, or pypi:. Default: the paper's small one.")]
Pooling = Annotated[
    str,
    typer.Option(help="cls, mean, max, lasttoken ..., joined by +, or pooler; empty: as the folder says."),
]
Prompt = Annotated[
    str | None,
    typer.Option(help="Put before every text, or the name of a prompt of the folder; default: its own."),
]
Trusted = Annotated[bool, typer.Option("--trust-remote-code", help="Let the model run code of its own.")]
Engine = Annotated[
    str,
    typer.Option(
        help="What writes: transformers where empty, vllm, or a server's http://host:8000[#its-model]."
    ),
]
Device = Annotated[str, typer.Option(help="auto, cuda, mps or cpu.")]
Precision = Annotated[
    str,
    typer.Option(
        help="bfloat16, float32, or auto: weights of bfloat16, products in what this machine is fast at."
    ),
]
Batch = Annotated[int, typer.Option(help="Rows at once.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
