"""`harness rdass score` and `compare`: RDASS and ROUGE of your own summaries, of one system or of two side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from harness.errors import UsageError, nearest
from harness.tools.options import Device, Json, Pooling, Prompt, Results, Trusted
from harness_rdass.tables import ENDINGS, Given, from_files, from_table, write

TOKENS = ("syllable", "morpheme", "eojeol")
NAMES = {"rdass": "RDASS", "reference": "s(p, r)", "document": "s(p, d)"}
NAMES |= {"rouge_1": "ROUGE-1", "rouge_2": "ROUGE-2", "rouge_l": "ROUGE-L"}
CUT = {"truncated": "documents", "truncated_reference": "references", "truncated_summary": "summaries"}
OF_THIS_FILE = (
    "TF-IDF is fitted on these documents and references: the same summary scores otherwise in another file"
)

Encoder = Annotated[
    str,
    typer.Option(help="A hub id, a folder, pypi:... or http://host:port; character TF-IDF where empty."),
]
Long = Annotated[str, typer.Option(help="Texts beyond the encoder's length: truncate, mean or max.")]
Tokens = Annotated[str, typer.Option(help="What ROUGE counts: syllable, morpheme or eojeol.")]


def score(
    table: Annotated[
        str, typer.Argument(help="A jsonl, csv, tsv or parquet with document, reference and summary.")
    ] = "",
    documents: Annotated[Path | None, typer.Option(help="A text file, one document a line.")] = None,
    references: Annotated[Path | None, typer.Option(help="A text file, one reference a line.")] = None,
    summaries: Annotated[Path | None, typer.Option(help="A text file, one summary a line.")] = None,
    encoder: Encoder = "",
    long: Long = "truncate",
    tokens: Tokens = "syllable",
    pooling: Pooling = "",
    prompt: Prompt = None,
    device: Device = "auto",
    out: Annotated[
        Path | None,
        typer.Option(help="Write an item a row there: a name in .csv, .json, .jsonl or .parquet."),
    ] = None,
    json_: Json = False,
    results: Results = Path("results"),
    trust_remote_code: Trusted = False,
) -> None:
    """Score your own summaries: s(p, r), s(p, d), RDASS and ROUGE, by item and in the mean.

    Example: harness rdass score --documents a.txt --references b.txt --summaries c.txt --out scores.csv
    """
    from harness.tools import outside

    _options(long, tokens, encoder)
    if out is not None:
        _one_of("the ending of --out", out.suffix, ENDINGS)
        outside(out, *(read for read in (table, documents, references, summaries) if read))
    given = from_table(table) if table else from_files([documents, references, summaries])
    model = _encoder(encoder, pooling, prompt, device, results, trust_remote_code)
    scored, marks, notes = _scores(given.columns, model, long, tokens)
    if not encoder:
        notes = [OF_THIS_FILE, *notes]
    shares = {name: float(np.mean(marks[name])) for name in CUT}
    report = {
        "items": len(given.groups),
        "documents": max(given.groups),
        **shares,
        "empty_summaries": int(np.sum(marks["empty"])),
        "long": long,
        "encoder": getattr(model, "told", {}).get("model") or encoder or "tfidf",
        "tokens": tokens,
        "notes": notes,
        "mean": {name: mean(values, given.groups) for name, values in scored.items()},
    }
    rows = [
        {
            "item": i + 1,
            **({"id": given.ids[i]} if given.ids else {}),
            "group": group,
            **{name: values[i] for name, values in scored.items()},
            **{name: marks[name][i] for name in marks},
        }
        for i, group in enumerate(given.groups)
    ]
    if out is not None:
        write(out, report, rows)
    if json_:
        print(json.dumps({**report, "scores": rows}, ensure_ascii=False, indent=1))
    else:
        _show(report, rows, out)


def compare(
    a: Annotated[str, typer.Argument(help="A table with summaries, or what `score --out` wrote of them.")],
    b: Annotated[str, typer.Argument(help="The other system's, of the same documents.")] = "",
    columns: Annotated[
        str, typer.Option(help="Of one table: the columns of the two systems' summaries, as in ours,theirs.")
    ] = "",
    encoder: Encoder = "",
    long: Long = "truncate",
    tokens: Tokens = "syllable",
    pooling: Pooling = "",
    prompt: Prompt = None,
    device: Device = "auto",
    json_: Json = False,
    results: Results = Path("results"),
    trust_remote_code: Trusted = False,
) -> None:
    """Compare two systems' summaries item by item: the difference, its 95 % interval and a verdict.

    Example: harness rdass compare ours.csv theirs.csv --encoder my-encoder
    """
    from harness_rdass.comparing import compared, paired

    _options(long, tokens, encoder)

    def judge(given: Given) -> tuple[dict[str, list[float]], list[str]]:
        model = _encoder(encoder, pooling, prompt, device, results, trust_remote_code)
        scored, _, notes = _scores(given.columns, model, long, tokens)
        return scored, notes

    pairs = paired(a, b, columns, judge)
    report = compared(pairs)
    if json_:
        print(json.dumps(report, ensure_ascii=False, indent=1))
    else:
        _show_compared(report)


def tools(app: typer.Typer) -> None:
    """Add the commands to `harness rdass`."""
    app.command()(score)
    app.command()(compare)


def _options(long: str, tokens: str, encoder: str) -> None:
    from harness.engines import is_address
    from harness_rdass.judging import LONG

    _one_of("--long", long, LONG)
    _one_of("--tokens", tokens, TOKENS)
    if is_address(encoder) and long != "truncate":
        raise UsageError(
            f"--long {long} cuts texts by the encoder's tokens, which a server does not tell: leave it out"
        )


def _one_of(what: str, given: str, known: Sequence[str]) -> None:
    if given not in known:
        raise UsageError(f"{what} cannot be {given!r}: {nearest(given, known)}")


def _encoder(
    name: str, pooling: str, prompt: str | None, device: str, results: Path, trust_remote_code: bool
) -> Any:
    """Return the encoder of that name; None without one."""
    if not name:
        return None
    from harness.tools import encoder_named

    return encoder_named(
        name, results, pooling=pooling, prompt=prompt, device=device, trust_remote_code=trust_remote_code
    )


def _scores(
    columns: Mapping[str, Sequence[str]], model: Any, long: str, tokens: str
) -> tuple[dict[str, list[float]], dict[str, list[bool]], list[str]]:
    """Return each score by item, what was cut or empty by item, and what a reader must know."""
    from rich.progress import Progress

    from harness_rdass.judging import rdass
    from harness_rdass.overlap import rouge

    with Progress(transient=True) as bar:
        task = bar.add_task("encoding", total=None)
        judged = rdass(
            columns["document"],
            columns["reference"],
            columns["summary"],
            model,
            long=long,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
        bar.update(task, description=f"ROUGE by {tokens}")
        overlap = rouge(columns["reference"], columns["summary"], tokens)
    found = {name: getattr(judged, name) for name in ("rdass", "reference", "document")}
    found |= {name: getattr(overlap, name) for name in ("rouge_1", "rouge_2", "rouge_l")}
    marks = {name: getattr(judged, name).tolist() for name in (*CUT, "empty")}
    notes = [judged.doubt] if judged.doubt else []
    return {name: values.tolist() for name, values in found.items()}, marks, notes


def mean(values: Sequence[float], groups: Sequence[int] | None = None) -> dict[str, float | None]:
    """Return the mean and its 95 % t interval, over whole groups of items; none with fewer than three groups."""
    from scipy import stats

    n = len(values)
    middle = sum(values) / n
    codes = np.unique(np.arange(n) if groups is None else groups, return_inverse=True)[1]
    number = int(codes.max()) + 1
    if number < 3:
        return {"value": middle, "low": None, "high": None}
    sums = np.bincount(codes, np.asarray(values) - middle)
    error = float(np.sqrt((sums**2).sum() * number / (number - 1))) / n
    half = error * float(stats.t.ppf(0.975, number - 1))
    return {"value": middle, "low": middle - half, "high": middle + half}


def _show(report: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], out: Path | None) -> None:
    """Print the first items and the means."""
    from rich.console import Console
    from rich.table import Table

    table = Table("item", *NAMES.values(), box=None, pad_edge=False)
    for row in rows[:20]:
        table.add_row(str(row.get("id", row["item"])), *(f"{row[name]:.3f}" for name in NAMES))
    if len(rows) > 20:
        table.add_row("...")
    table.add_row("[bold]mean[/]", *(f"[bold]{report['mean'][name]['value']:.3f}[/]" for name in NAMES))
    if report["mean"]["rdass"]["low"] is not None:
        halves = [(report["mean"][n]["high"] - report["mean"][n]["low"]) / 2 for n in NAMES]
        table.add_row("95 %", *(f"± {half:.3f}" for half in halves))
    console = Console(highlight=False)
    console.print(table)
    cut = ", ".join(f"{report[name]:.0%} of the {what}" for name, what in CUT.items())
    several = f" of {report['documents']} documents" if report["documents"] < report["items"] else ""
    console.print(
        f"[dim]{report['items']} items{several}, vectors: {report['encoder']}, ROUGE by {report['tokens']}; "
        f"{cut} are longer than the encoder reads ({report['long']})"
        f"{f'; every item is in {out}' if out else ''}[/]"
    )
    if report["empty_summaries"]:
        console.print(f"empty summaries, which score 0: {report['empty_summaries']}")
    for note in report["notes"]:
        console.print(f"note: {note}")


def _show_compared(report: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    a, b = report["a"], report["b"]
    table = Table("", a, b, "difference", "95 %", "", box=None, pad_edge=False)
    for name, row in report["scores"].items():
        ends = "" if row["low"] is None else f"[{row['low']:.3f}, {row['high']:.3f}]"
        numbers = (f"{row[key]:.3f}" for key in ("a", "b", "difference"))
        table.add_row(NAMES.get(name, name), *numbers, ends.replace("[", "\\["), row["verdict"])
    console = Console(highlight=False)
    console.print(table)
    console.print(
        f"[dim]{report['items']} items of {report['documents']} documents, paired by {report['paired_by']}[/]"
    )
    for note in report["notes"]:
        console.print(f"note: {note}")
