"""`harness longskywork ...`: interleave one's own documents, make tables, draw a run's needle grid."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.data.jsonl import write_jsonl
from harness.errors import UsageError
from harness.tools import quiet_libraries, read_result, run_folder
from harness.tools.options import Results


def tools(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("interleave")(interleave_)
    app.command("tables")(tables_)
    app.command("heatmap")(heatmap_)


def interleave_(
    documents: Annotated[str, typer.Option(help="Text: a file, a folder of them, hub:, pypi: or builtin:.")],
    out: Annotated[Path, typer.Option(help="The jsonl to write: a window a line.")],
    window: Annotated[int, typer.Option(help="Tokens a window.")] = 32_768,
    chunks: Annotated[int, typer.Option(help="Chunks a document is cut into; 1 concatenates.")] = 2,
    tokenizer: Annotated[str, typer.Option(help="A hub id or folder; empty: single characters.")] = "",
    lines: Annotated[bool, typer.Option("--lines", help="Each line of a text file is a document.")] = False,
    seed: Annotated[int, typer.Option(help="Of the cut points.")] = 0,
    results: Results = Path("results"),
) -> None:
    """Fill windows with interleaved chunks: harness longskywork interleave --documents mine/ --out cip.jsonl

    A line has `input_ids`, `position_ids` (which run over the window) and `documents` (for a mask by document).
    """
    from harness_longskywork.streams import TokenStream, write_windows

    quiet_libraries()
    stream = TokenStream(documents, tokenizer, lines, chunks, results / "stages" / "sources")
    told = write_windows(stream, out, window, chunks, seed)
    print(f"{out}: {told.windows} windows of {window} tokens from {stream.read} documents")
    if told.remainder:
        print(f"the last window has the {told.remainder} tokens that remain")
    if stream.short:
        print(f"left out: {stream.short} documents with fewer tokens than {chunks} chunks")
    print("tokens between a chunk and the next of its document:")
    for low, count in sorted(told.distances.items()):
        print(f"{low:>9,} to {2 * low if low else 1:>9,}  {count:>7,}")


def tables_(
    out: Annotated[Path, typer.Option(help="The jsonl to write: a conversation a line.")],
    count: Annotated[int, typer.Option(help="How many tables.")] = 1000,
    tokens: Annotated[str, typer.Option(help="Least and most tokens a table, log-uniform.")] = "2000:100000",
    split: Annotated[str, typer.Option(help="train or test: other schemas and wordings.")] = "train",
    tokenizer: Annotated[
        str, typer.Option(help="A hub id or folder that counts; empty: words, digits, marks.")
    ] = "",
    seed: Annotated[int, typer.Option(help="Of everything drawn.")] = 0,
) -> None:
    """Make tables with questions, every answer checked: harness longskywork tables --count 10 --out synl.jsonl

    Each line has `messages` in chat form, as TRL, Axolotl and LLaMA-Factory read them, and what is asked beside.
    """
    from harness_longskywork.checking import errors
    from harness_longskywork.synl import plain_length, tables

    least, colon, most = tokens.partition(":")
    if not (least.isdigit() and (most.isdigit() or not colon)):
        raise UsageError(f"--tokens={tokens} is no range: write 2000:100000, or one number")
    length: Any = plain_length
    if tokenizer:
        from transformers import AutoTokenizer

        words = AutoTokenizer.from_pretrained(tokenizer)
        length = lambda text: len(words(text, add_special_tokens=False, verbose=False)["input_ids"])  # noqa: E731
    kinds: Counter[str] = Counter()

    def conversations() -> Iterator[dict[str, Any]]:
        for start in range(count):  # one at a time, so that a large set needs no memory
            (row,) = tables(1, (int(least), int(most or least)), seed * 1_000_003 + start, split, length)
            for error in errors([row]):
                raise RuntimeError(error)
            kinds.update(row["kind"])
            yield conversation(row)

    write_jsonl(out, conversations())
    told = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))
    print(
        f"{out}: {count} tables, {sum(kinds.values())} questions ({told}), every answer confirmed by DuckDB"
    )


def conversation(row: dict[str, Any]) -> dict[str, Any]:
    """Return a table with its questions as one conversation; reasoning answers show their work first."""
    messages = []
    for number, (asked, steps, answer) in enumerate(
        zip(row["questions"], row["steps"], row["answers"], strict=True)
    ):
        messages.append({"role": "user", "content": asked if number else f"{row['table']}\n{asked}"})
        told = "\n".join([*steps, f"Answer: {answer}"]) if steps else answer
        messages.append({"role": "assistant", "content": told})
    return {
        "messages": messages,
        **{name: row[name] for name in ("kind", "depth", "answers", "tokens", "form", "schema")},
    }


def heatmap_(
    run: Annotated[str, typer.Argument(help="A run's folder, or a method: its latest run.")],
    out: Annotated[Path, typer.Option(help="The picture to write (svg, png, pdf).")] = Path("needles.svg"),
    results: Results = Path("results"),
) -> None:
    """Draw a run's needle grid: harness longskywork heatmap cip_synl"""
    from harness_longskywork.heatmap import draw, grid

    folder = run_folder("longskywork", run, results)
    found = read_result(folder)
    if found is None or found.status != "finished":
        raise UsageError(f"{folder} holds no finished run: run it again")
    draw(grid(found.metrics), f"{found.config['name']}, seed {found.config['seed']}", out)
    print(f"{out}: exact match by length and depth")
