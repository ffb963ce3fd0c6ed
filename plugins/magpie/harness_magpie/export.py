"""A finished set as others read it: `messages` in jsonl and parquet, a dataset card, a page with pictures.

TRL takes `messages` as it is; Axolotl and LLaMA-Factory need a few lines of config, which the card shows.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.jsonl import write_jsonl
from harness.errors import UsageError
from harness.tools import write_json, write_text
from harness_magpie.diversity import distinct
from harness_magpie.filters import preset_of
from harness_magpie.synthesis import Made, Recipe, provenance

KEPT = (
    "language", "words", "distance", "repeats", "cut", "finished", "category", "difficulty", "quality", "reward",
    "reward_difference",
)  # fmt: skip


def export(recipe: Recipe, made: Made, folder: Path) -> list[Path]:
    """Write train.jsonl, train.parquet, README.md, report.html and summary.json; return their paths."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not made.rows:
        raise UsageError(
            f"no row is left of {recipe.count} ({_counts(made.dropped)}; languages {_counts(made.languages)}): sample "
            "more, or take another --filter"
        )
    shared = provenance(recipe, made)
    rows = [as_record(row, shared) for row in made.rows]
    paths = [
        folder / name for name in ("train.jsonl", "train.parquet", "README.md", "report.html", "summary.json")
    ]
    write_jsonl(paths[0], rows)
    pq.write_table(pa.Table.from_pylist(rows), paths[1])
    facts = statistics(recipe, made)
    for path, template in ((paths[2], "card.md.jinja"), (paths[3], "page.html.jinja")):
        write_text(path, written(template, recipe, made, facts))
    write_json(paths[4], {**facts, "yields": made.yields, "cuts": made.cuts, "dropped": made.dropped})
    return paths


def as_record(row: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as it is published: the chat, its tags, and where it comes from."""
    return {
        "id": f"magpie-{row['id']}",
        "messages": row["messages"],
        **{name: row.get(name) for name in KEPT},
        **shared,
    }


def statistics(recipe: Recipe, made: Made) -> dict[str, Any]:
    """Return what the card and the page say in numbers."""
    words = np.array([row["words"] for row in made.rows])
    long = np.array([len(row["answer"]) for row in made.rows])
    languages = Counter(row.get("language") or "not told" for row in made.rows)
    turns = Counter(f"{len(row['messages']) // 2}" for row in made.rows)
    thoughts = sum("reasoning_content" in one for row in made.rows for one in row["messages"])
    return {
        "rows": len(made.rows),
        "share of the samples": round(len(made.rows) / recipe.count, 3),
        "median words of an instruction": float(np.median(words)),
        "median characters of an answer": float(np.median(long)),
        "answers that came to their end": round(float(np.mean([row["finished"] for row in made.rows])), 3),
        "distinct word pairs": round(distinct([row["instruction"] for row in made.rows]), 3),
        "median squared distance to the nearest other": round(
            float(np.median([row["distance"] for row in made.rows])), 3
        ),
        "languages": dict(languages.most_common()),
        "languages of all instructions": dict(made.languages.most_common()),
        "turns of a conversation": dict(sorted(turns.items())),
        "answers with thoughts, which are in reasoning_content": thoughts,
        "labels that are null": dict(made.nulls),
    }


def written(template: str, recipe: Recipe, made: Made, facts: Mapping[str, Any]) -> str:
    """Return the card or the page: a template that lies beside this file, filled."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("harness_magpie", "."),
        autoescape=template.endswith(".html.jinja"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "said": lambda value: _counts(value) if isinstance(value, Mapping) else str(value),
        "cell": lambda text: text.replace("|", "&#124;"),
        "json": lambda value: json.dumps(value, ensure_ascii=False),
    }
    number = len(made.rows)
    return environment.get_template(template).render(
        recipe=recipe,
        made=made,
        facts=facts,
        licence=recipe.licence or "unknown",
        size="n<1K" if number < 1000 else "1K<n<10K" if number < 10_000 else "10K<n<1M",
        sampling=provenance(recipe, made)["sampling"],
        preset=preset_of(recipe.preset),
        title=f"Magpie: {number} conversations by {recipe.model}",
        pictures=pictures(made) if template.startswith("page") else (),
    )


def pictures(made: Made) -> list[str]:
    """Return how long and how far apart the rows are, and what each step left, as SVG."""
    values = {
        "Words of an instruction": [row["words"] for row in made.rows],
        "Characters of an answer": [len(row["answer"]) for row in made.rows],
        "Squared distance to the nearest other instruction": [row["distance"] for row in made.rows],
    }
    bins = min(30, max(5, len(made.rows) // 4))
    drawn = [_drawn(title, lambda axes, x=x: axes.hist(x, bins=bins), "rows") for title, x in values.items()]
    names = list(made.yields)[::-1]
    widths = [made.yields[name] for name in names]
    return [*drawn, _drawn("Rows left after each step", lambda axes: axes.barh(names, widths), "")]


def _drawn(title: str, draw: Any, y: str) -> str:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": title}):
        figure = Figure(figsize=(7, 2.4), layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        axes.set_title(title, fontsize=10)
        axes.set_ylabel(y)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue().partition("<!DOCTYPE")[2].partition(">")[2]


def _counts(values: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in values.items() if count) or "none"
