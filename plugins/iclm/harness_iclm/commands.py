"""`harness iclm order`: put any corpus in order. `harness iclm show`: read a window of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.data.jsonl import read_json
from harness.errors import UsageError
from harness.tools import device_of, digest, file_digest, outside, tokenizer_named
from harness.tools.bars import Bars
from harness.tools.options import Json, Pooling, Prompt, Results, Trusted

Corpus = Annotated[
    str, typer.Option(help="jsonl, parquet, csv, text or a folder of them; hub: and pypi: work too.")
]

WEIGHTS = (".safetensors", ".bin", ".pt", ".gguf")  # beside a tokenizer, no part of it


def order(
    documents: Corpus,
    out: Annotated[Path, typer.Option(help="The folder to write the order, windows and report to.")],
    window: Annotated[int, typer.Option(help="Tokens in a window.")] = 8192,
    model: Annotated[
        str, typer.Option(help="A sentence encoder: hub id, folder, pypi:...; TF-IDF + SVD where empty.")
    ] = "",
    pooling: Pooling = "",
    prompt: Prompt = None,
    trust_remote_code: Trusted = False,
    tokenizer: Annotated[
        str, typer.Option(help="A tokenizer: hub id or folder; UTF-8 bytes are counted where empty.")
    ] = "",
    neighbours: Annotated[int, typer.Option(help="Neighbours of each document.")] = 10,
    threshold: Annotated[
        float,
        typer.Option(
            help="Leave out what is so alike to a kept document: by cosine with --model (0: above .95), else by the "
            "three-word shingles both have (0: from .8; characters where words are few or unspaced). 1: leave none out."
        ),
    ] = 0.0,
    restart: Annotated[
        str, typer.Option(help="Where to go on when no neighbour is left: residual, static, random.")
    ] = "residual",
    index: Annotated[str, typer.Option(help="auto, or faiss's name: Flat, IVF1024,Flat ...")] = "auto",
    probes: Annotated[int, typer.Option(help="Lists searched, where the index has lists; 0: by size.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Decides ties and the windows' order.")] = 0,
    device: Annotated[str, typer.Option(help="Where the encoder runs: auto, cpu, cuda or mps.")] = "auto",
    to: Annotated[
        list[str] | None,
        typer.Option(
            help="Files for a trainer, in OUT/FORMAT: parquet (Hugging Face datasets), mds (mosaicml-streaming), "
            "megatron (.bin and .idx), text (jsonl in the new order). May be given several times."
        ),
    ] = None,
    until: Annotated[
        str,
        typer.Option(help="Stop after a step, for jobs that share it: documents, embeddings, neighbours."),
    ] = "",
    shard: Annotated[
        int, typer.Option(help="Documents in a shard; processes that run this command share the shards.")
    ] = 100_000,
    as_json: Json = False,
    results: Results = Path("results"),
) -> None:
    """Order a corpus so that a window holds related documents; writes numbers, and files for trainers by --to.

    Example: harness iclm order --documents corpus.jsonl --out order --window 2048
    """
    from harness.data.sources import resolve, resolve_model
    from harness_iclm.ordering import Recipe, demand, order_corpus

    if not model and (pooling or prompt is not None or trust_remote_code):
        raise UsageError(
            "--pooling, --prompt and --trust-remote-code are of a sentence encoder: add --model, or leave them out"
        )
    cache = results / "stages" / "sources"
    recipe = Recipe(
        window=window,
        k=neighbours,
        threshold=threshold,
        restart=restart,
        seed=seed,
        index=index,
        probes=probes,
        device=device_of(device) if model else "cpu",
        tokenizer=_tokenizer(tokenizer, results) if tokenizer else None,
        model=resolve_model(model, cache=cache) if model else None,
        pooling=pooling,
        prompt=prompt,
        trusted=trust_remote_code,
        to=tuple(to or ()),
        until=until,
        shard=shard,
    )
    demand(recipe, out)
    source = resolve(documents, cache=cache, columns=())
    outside(out, source)
    with Bars() as bars:
        report = order_corpus(source, recipe, out, results / "stages", bars)
    if as_json:
        print(json.dumps(report, indent=1, ensure_ascii=False))
    elif until:
        print(
            f"{until} of {report['documents']:,} documents are made: repeat the command without --until for the rest"
        )
    else:
        _show(report, out, recipe.to)
    if said := report.get("warning"):
        print(f"harness: {said}", file=sys.stderr)


def show(
    folder: Annotated[Path, typer.Argument(help="What `order` wrote.")],
    documents: Corpus,
    window: Annotated[int, typer.Option(help="Which window.")] = 0,
    width: Annotated[int, typer.Option(help="Characters shown of each document.")] = 100,
    results: Results = Path("results"),
    as_json: Json = False,
) -> None:
    """Show the documents of one window; refuses a corpus that is not the one that was ordered.

    Example: harness iclm show order --documents corpus.jsonl --window 3
    """
    import pyarrow.parquet as pq

    from harness.data.sources import resolve
    from harness_iclm.documents import read

    if not (folder / "report.json").is_file():
        raise UsageError(f"{folder} holds no order: make one with `harness iclm order --out {folder}`")
    report = read_json(folder / "report.json")
    source = resolve(documents, cache=results / "stages" / "sources", columns=())
    if source.digest != report["digest"]:
        raise UsageError(
            f"{documents} is not the corpus that was ordered (digest {source.digest[:12]}, then "
            f"{report['digest'][:12]}): order it again"
        )
    rows = pq.read_table(folder / "windows.parquet", filters=[("window", "=", window)]).to_pylist()
    if not rows:
        raise UsageError(f"there is no window {window}: they are numbered 0 to {report['windows'] - 1}")
    wanted = {row["document"] for row in rows}
    texts = {n: document for n, document in enumerate(read(source)) if n in wanted}
    shown = [
        {"id": texts[row["document"]].id, "first": row["first"], "end": row["end"]}
        | {"text": " ".join(texts[row["document"]].text.split())[:width]}
        for row in rows
    ]
    if as_json:
        told = {"window": window, "documents": shown, "untrusted": ["documents[].id", "documents[].text"]}
        print(json.dumps(told, ensure_ascii=False))
        return
    for one in shown:
        print(f"{one['id']}  [{one['first']}:{one['end']}]  {one['text']}")


def _tokenizer(name: str, results: Path) -> Any:
    """Return where a tokenizer lies: a folder as it is, without weights too, else a model of this name."""
    from harness.data.sources import Source, resolve_model

    folder = Path(name).expanduser()
    if not folder.is_dir():
        return resolve_model(name, cache=results / "stages" / "sources")
    tokenizer_named(name, results)  # says what is missing
    if (whole := folder / "tokenizer.json").is_file():
        return Source(name, "file", folder, file_digest(whole))
    files = [file for file in sorted(folder.iterdir()) if file.is_file() and file.suffix not in WEIGHTS]
    return Source(name, "file", folder, digest([[file.name, file_digest(file)] for file in files]))


def _show(report: dict[str, Any], out: Path, to: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("what", "in context", "random", box=None, pad_edge=False)
    for name, value in report["in_context"].items():
        table.add_row(name.replace("_", " "), f"{value:.3f}", f"{report['random'][name]:.3f}")
    console = Console()
    unit = "bytes" if report["counted_in"] == "bytes" else "tokens"
    console.print(
        f"{report['documents']:,} documents: {report['empty']:,} empty, {report['duplicates']:,} near duplicates, "
        f"{report['kept']:,} kept; {report['tokens']:,} {unit} in {report['windows']:,} windows"
    )
    console.print(table)
    took = ", ".join(f"{name} {value:.1f} s" for name, value in report["seconds"].items())
    console.print(f"[dim]{took}; path weight {report['path_weight']:.1f}, {report['jumps']:,} jumps[/]")
    console.print(
        f"order.parquet, windows.parquet, duplicates.parquet and report.json are in {out}", soft_wrap=True
    )
    for form in to:
        short = report["short_window"] if form != "text" else 0
        apart = f"; the last window, of {short:,} tokens, is apart in {out / form}-short" if short else ""
        console.print(f"{form}: {out / form}{apart}", soft_wrap=True)


def tools(app: typer.Typer) -> None:
    """Add the commands to `harness iclm`."""
    app.command()(order)
    app.command()(show)
