"""`harness rdass score`: RDASS and ROUGE of your own summaries, with the mean and its interval."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.errors import UsageError, nearest
from harness.tools.options import Device, Json, Results

FIELDS = ("document", "reference", "summary")
TOKENS = ("syllable", "morpheme", "eojeol")
Column = Sequence[str]


def score(
    table: Annotated[
        str, typer.Argument(help="A jsonl, csv, tsv or parquet with document, reference and summary.")
    ] = "",
    documents: Annotated[Path | None, typer.Option(help="A text file, one document a line.")] = None,
    references: Annotated[Path | None, typer.Option(help="A text file, one reference a line.")] = None,
    summaries: Annotated[Path | None, typer.Option(help="A text file, one summary a line.")] = None,
    encoder: Annotated[
        str, typer.Option(help="A hub id, a folder or pypi:...; character TF-IDF where empty.")
    ] = "",
    long: Annotated[
        str, typer.Option(help="Documents beyond the encoder's length: truncate, mean or max.")
    ] = "truncate",
    tokens: Annotated[
        str, typer.Option(help="What ROUGE counts: syllable, morpheme or eojeol.")
    ] = "syllable",
    device: Device = "auto",
    out: Annotated[
        Path | None, typer.Option(help="Write an item a row there: a name in .csv or .json.")
    ] = None,
    json_: Json = False,
    results: Results = Path("results"),
    trust_remote_code: Annotated[bool, typer.Option(help="Let the encoder run code of its own.")] = False,
) -> None:
    """Score your own summaries: s(p, r), s(p, d), RDASS and ROUGE, by item and in the mean.

    Example: harness rdass score --documents a.txt --references b.txt --summaries c.txt --out scores.csv
    """
    from harness_rdass.judging import LONG

    _one_of("--long", long, LONG)
    _one_of("--tokens", tokens, TOKENS)
    if out is not None:
        _one_of("the ending of --out", out.suffix, (".csv", ".json"))
    columns = _from_table(table) if table else _from_files([documents, references, summaries])
    scored, cut = _scores(columns, encoder, long, tokens, device, results, trust_remote_code)
    whole = {"items": len(cut), "truncated": sum(cut) / len(cut), "long": long, "encoder": encoder or "tfidf"}
    report = {**whole, "tokens": tokens, "mean": {name: mean(values) for name, values in scored.items()}}
    rows = [
        {"item": i + 1, **{name: values[i] for name, values in scored.items()}, "truncated": cut[i]}
        for i in range(len(cut))
    ]
    if out is not None:
        _write(out, report, rows)
    if json_:
        print(json.dumps({**report, "scores": rows}, ensure_ascii=False, indent=1))
    else:
        _show(report, rows, out)


def tools(app: typer.Typer) -> None:
    """Add the command to `harness rdass`."""
    app.command()(score)


def _one_of(what: str, given: str, known: Sequence[str]) -> None:
    if given not in known:
        raise UsageError(f"{what} cannot be {given!r}: {nearest(given, known)}")


def _from_table(name: str) -> dict[str, Column]:
    from harness.data.sources import resolve

    with tempfile.TemporaryDirectory() as cache:
        rows = list(resolve(name, cache=Path(cache), columns=FIELDS).rows())
    for number, row in enumerate(rows, 1):
        for field in FIELDS:
            if not isinstance(row.get(field), str) or not row[field].strip():
                raise UsageError(
                    f"row {number} of {name} has an empty or no `{field}`: fill it in, or remove it"
                )
    return {field: [row[field] for row in rows] for field in FIELDS}


def _from_files(paths: Sequence[Path | None]) -> dict[str, Column]:
    """Read three text files of a line an item; the first trouble is named with its file and line."""
    given = [path for path in paths if path is not None]
    if len(given) < len(FIELDS):
        raise UsageError(
            "give --documents, --references and --summaries (text files, an item a line), or one table"
        )
    columns = {field: lines(path) for field, path in zip(FIELDS, given, strict=True)}
    counts = {len(column) for column in columns.values()}
    if len(counts) > 1:
        told = ", ".join(f"{path} {len(c)}" for path, c in zip(given, columns.values(), strict=True))
        raise UsageError(f"the files have different numbers of lines ({told}): line n of each is one item")
    return columns


def lines(path: Path) -> Column:
    """Return the lines of a UTF-8 text file; UsageError names the line that is empty or no UTF-8."""
    if not path.is_file():
        raise UsageError(f"there is no file {path}: check the name")
    found = []
    for number, line in enumerate(path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        try:
            found.append(line.decode("utf-8").strip())
        except UnicodeDecodeError as error:
            raise UsageError(
                f"{path} line {number} is not UTF-8 (byte {error.start + 1}): convert the file with "
                f"iconv -f CP949 -t UTF-8 (Korean) or -f LATIN1 (Western)"
            ) from None
    if found and not found[-1]:
        found.pop()  # after the last line break
    for number, text in enumerate(found, 1):
        if not text:
            raise UsageError(f"{path} line {number} is empty: fill it in, or remove that line from all three")
    if not found:
        raise UsageError(f"{path} is empty: give a line an item")
    return found


def _scores(
    columns: Mapping[str, Column],
    encoder: str,
    long: str,
    tokens: str,
    device: str,
    results: Path,
    trust_remote_code: bool,
) -> tuple[dict[str, list[float]], list[bool]]:
    """Return each score by item, and which documents were cut; with a progress bar on a terminal."""
    from rich.progress import Progress

    from harness.nn.encoder import load_encoder
    from harness.tools import device_of, fetched
    from harness_rdass.judging import rdass
    from harness_rdass.overlap import rouge

    model = None
    if encoder:
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # one bar is enough
        path = fetched(encoder, results).path
        model = load_encoder(path, device=device_of(device), trust_remote_code=trust_remote_code)
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
    return {name: values.tolist() for name, values in found.items()}, judged.truncated.tolist()


def mean(values: Sequence[float]) -> dict[str, float | None]:
    """Return the mean and its 95 % t interval over items; no interval with fewer than three."""
    from scipy import stats

    n = len(values)
    middle = sum(values) / n
    if n < 3:
        return {"value": middle, "low": None, "high": None}
    half = float(stats.sem(values) * stats.t.ppf(0.975, n - 1))
    return {"value": middle, "low": middle - half, "high": middle + half}


def _write(out: Path, report: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".json":
        out.write_text(json.dumps({**report, "scores": rows}, indent=1) + "\n", encoding="utf-8")
        return
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _show(report: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], out: Path | None) -> None:
    """Print the first items and the means."""
    from rich.console import Console
    from rich.table import Table

    names = {"rdass": "RDASS", "reference": "s(p, r)", "document": "s(p, d)"}
    names |= {"rouge_1": "ROUGE-1", "rouge_2": "ROUGE-2", "rouge_l": "ROUGE-L"}
    table = Table("item", *names.values(), box=None, pad_edge=False)
    for row in rows[:20]:
        table.add_row(str(row["item"]), *(f"{row[name]:.3f}" for name in names))
    if len(rows) > 20:
        table.add_row("...")
    table.add_row("[bold]mean[/]", *(f"[bold]{report['mean'][name]['value']:.3f}[/]" for name in names))
    if report["mean"]["rdass"]["low"] is not None:
        halves = [(report["mean"][n]["high"] - report["mean"][n]["low"]) / 2 for n in names]
        table.add_row("95 %", *(f"± {half:.3f}" for half in halves))
    console = Console(highlight=False)
    console.print(table)
    console.print(
        f"[dim]{report['items']} items, vectors: {report['encoder']}, ROUGE by {report['tokens']}; "
        f"{report['truncated']:.0%} of the documents are longer than the encoder reads ({report['long']})"
        f"{f'; every item is in {out}' if out else ''}[/]"
    )
