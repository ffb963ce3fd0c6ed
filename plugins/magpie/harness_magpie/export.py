"""A finished set as others read it: `messages` in jsonl and parquet, a dataset card, a page with pictures.

TRL takes `messages` as it is; Axolotl and LLaMA-Factory need a few lines of config, which the card shows.
"""

from __future__ import annotations

import html
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import UsageError
from harness.runs.files import write_json, write_text
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
            f"no row is left of {recipe.count}: {_counts(made.dropped)}; sample more, or take another --filter"
        )
    shared = provenance(recipe, made)
    rows = [as_record(row, shared) for row in made.rows]
    paths = [
        folder / name for name in ("train.jsonl", "train.parquet", "README.md", "report.html", "summary.json")
    ]
    write_text(paths[0], "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), paths[1])
    facts = statistics(recipe, made)
    write_text(paths[2], card(recipe, made, facts))
    write_text(paths[3], page(recipe, made, facts))
    write_json(paths[4], {**facts, "yields": made.yields, "cuts": made.cuts, "dropped": made.dropped})
    return paths


def as_record(row: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as it is published: the chat, its tags, and where it comes from."""
    return {
        "id": f"magpie-{row['id']}",
        "messages": [
            {"role": "user", "content": row["instruction"]},
            {"role": "assistant", "content": row["answer"]},
        ],
        **{name: row.get(name) for name in KEPT},
        **shared,
    }


def statistics(recipe: Recipe, made: Made) -> dict[str, Any]:
    """Return what the card and the page say in numbers."""
    words = np.array([row["words"] for row in made.rows])
    long = np.array([len(row["answer"]) for row in made.rows])
    languages: dict[str, int] = {}
    for row in made.rows:
        languages[row.get("language") or "not told"] = languages.get(row.get("language") or "not told", 0) + 1
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
        "languages": dict(sorted(languages.items(), key=lambda pair: -pair[1])),
        "labels that are null": dict(made.nulls),
    }


def card(recipe: Recipe, made: Made, facts: Mapping[str, Any]) -> str:
    """Return the dataset card, with the head that the hub and `datasets` read."""
    licence = recipe.licence or "unknown"
    size = "n<1K" if len(made.rows) < 1000 else "1K<n<10K" if len(made.rows) < 10_000 else "10K<n<1M"
    told = {**facts, "languages": _counts(facts["languages"])}
    told["labels that are null"] = _counts(facts["labels that are null"])
    lines = [
        "---",
        f"license: {licence.lower() if ' ' not in licence else 'other'}",
        "task_categories: [text-generation]",
        f"size_categories: [{size}]",
        "tags: [synthetic, magpie]",
        "configs:",
        "- config_name: default",
        "  data_files:",
        "  - split: train",
        "    path: train.parquet",
        "---",
        "",
        f"# {len(made.rows)} synthetic conversations by {recipe.model}",
        "",
        "Made with Magpie (Xu et al. 2024, arXiv:2406.08464): the model was given the start of its own chat template,",
        "wrote the user's question, and answered it greedily. No person wrote or checked any of it.",
        "",
        f"**Licence.** The text is the output of {recipe.model} (revision {recipe.revision or 'not told'}).",
        f"Its licence is *{licence}*; what that says of outputs holds for this set too.",
        "",
        "## How",
        "",
        "| what | value |",
        "| --- | --- |",
        *_rows(
            {
                "pre-query template": f"`{json.dumps(made.template, ensure_ascii=False)}`",
                "sampling of instructions": f"`{provenance(recipe, made)['sampling']}`, seed {recipe.sampling.seed}",
                "cleaning": recipe.mode,
                "answers": f"greedy, at most {recipe.answer_tokens} tokens",
                "filter": f"{recipe.preset}: {preset_of(recipe.preset).text}",
                "judge": recipe.judge or "none",
                "base for the reward difference": recipe.base or "none",
            }
        ),
        "",
        "## What is left after each step",
        "",
        "| step | rows |",
        "| --- | --- |",
        *_rows(made.yields),
        "",
        f"Instructions were cut or ended by: {_counts(made.cuts)}. Dropped: {_counts(made.dropped)}.",
        "",
        "## The set",
        "",
        "| what | value |",
        "| --- | --- |",
        *_rows(told),
        "",
        "Distances are squared and lie in 0 to 4. `finished` tells whether an answer came to its end.",
        "",
        "## Use",
        "",
        "TRL reads the folder as it is: `SFTTrainer(train_dataset=load_dataset('FOLDER', split='train'))`.",
        "Axolotl: `{path: FOLDER, type: chat_template, field_messages: messages}`. LLaMA-Factory, dataset_info.json:",
        '`{"magpie": {"file_name": "train.jsonl", "formatting": "sharegpt", "columns": {"messages": "messages"},',
        '"tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}}}`.',
        "",
    ]
    return "\n".join(lines)


def page(recipe: Recipe, made: Made, facts: Mapping[str, Any]) -> str:
    """Return the report: one HTML file that opens offline."""
    pictures = [
        ("Words of an instruction", [row["words"] for row in made.rows]),
        ("Characters of an answer", [len(row["answer"]) for row in made.rows]),
        ("Squared distance to the nearest other instruction", [row["distance"] for row in made.rows]),
    ]
    tables = {"The set": facts, "Rows left after each step": made.yields, "Dropped": made.dropped}
    body = "".join(
        f"<h2>{html.escape(title)}</h2><table>"
        + "".join(
            f"<tr><td>{html.escape(str(k))}</td><td>{html.escape(_said(v))}</td></tr>"
            for k, v in rows.items()
        )
        + "</table>"
        for title, rows in tables.items()
    )
    examples = "".join(
        f"<dt>{html.escape(row['instruction'])}</dt><dd>{html.escape(row['answer'])}</dd>"
        for row in made.rows[:20]
    )
    drawn = "".join(histogram(title, values) for title, values in pictures) + bars(made.yields)
    title = html.escape(f"Magpie: {len(made.rows)} conversations by {recipe.model}")
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{title}</title><style>body{{font:16px/1.5 system-ui;max-width:52rem;margin:2rem auto;padding:0 1rem}}"
        "td{padding:.1rem 1rem .1rem 0;vertical-align:top}dt{font-weight:600;margin-top:1rem}svg{max-width:100%}"
        "@media(prefers-color-scheme:dark){body{background:#15181c;color:#e6e8ea}svg{background:#fff}}</style>"
        f"<h1>{title}</h1>{body}{drawn}<h2>The first twenty</h2><dl>{examples}</dl></html>\n"
    )


def histogram(title: str, values: list[float]) -> str:
    """Return a histogram as SVG."""
    return _drawn(title, lambda axes: axes.hist(values, bins=min(30, max(5, len(values) // 4))), "rows")


def bars(yields: Mapping[str, int]) -> str:
    """Return the rows left after each step as SVG."""
    names = list(yields)[::-1]
    return _drawn("Rows left after each step", lambda axes: axes.barh(names, [yields[n] for n in names]), "")


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


def _rows(values: Mapping[str, Any]) -> list[str]:
    return [f"| {name} | {str(value).replace('|', '&#124;')} |" for name, value in values.items()]


def _counts(values: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in values.items() if count) or "none"


def _said(value: Any) -> str:
    return _counts(value) if isinstance(value, Mapping) else str(value)
