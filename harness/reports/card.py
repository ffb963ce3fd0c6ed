"""A model card: what a method's runs measured, and the verdicts on the claims that they judge.

Its head is what the hub reads (`model-index`, written by huggingface_hub), its body Markdown. One card a method, with a
part for each setting that it was run in; data and names are escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.exchange.formats.naming import hub_set, model_of, slug
from harness.numbers import plus_minus, printable
from harness.papers.statement import Paper
from harness.reports.phrases import SIGNS, asked, flags, ours, said, setting, stance, theirs, why
from harness.reports.text import escaped, table
from harness.runs.results import Record

Card = Mapping[str, Any]
README = "README.md"


def exported(name: str, paper: Paper, cards: Sequence[Card], records: Sequence[Record]) -> dict[str, str]:
    """Return `<paper>-<method>/README.md` for each method with finished runs."""
    config = {record.result.run_key: record.result.config for record in records}
    parts: dict[str, list[tuple[Card, Card, Mapping[str, Any]]]] = {}
    for card in cards:
        for method in card["methods"]:
            ran = next((config[key] for key in method["run_keys"] if key in config), None)
            if ran is not None:
                parts.setdefault(model_of(ran), []).append((card, method, ran))
    return {f"{model}/{README}": _text(name, paper, model, found) for model, found in parts.items()}


def _text(name: str, paper: Paper, model: str, parts: Sequence[tuple[Card, Card, Mapping[str, Any]]]) -> str:
    """Return one method's card: its head as YAML, then what was measured and judged at each setting."""
    from huggingface_hub import ModelCard, ModelCardData

    results = [result for part in parts for result in _results(*part)]
    bases = [found.id for *_, ran in parts if (found := hub_set(str(ran["model"])))]
    sets = [f.id for card, *_ in parts for source in card["data"].values() if (f := hub_set(str(source)))]
    head = ModelCardData(
        model_name=model,
        base_model=list(dict.fromkeys(bases)) or None,  # type: ignore[arg-type]
        datasets=list(dict.fromkeys(sets)) or None,
        tags=["paper-harness", slug(name)],
        eval_results=results or None,
    )
    method = parts[0][1]
    lines = [
        f"# {escaped(name)}/{escaped(method['method'])}\n",
        f"{escaped(method['text'])}\n" if method["text"] else "",
        f"A method of *{escaped(paper.title)}* ({escaped(paper.url)}), trained and judged by paper-harness. "
        "The verdicts below are about the claims at this setting, with 95 % intervals over seeds and test items.\n",
    ]
    for card, own, _ in parts:
        lines += _part(card, own)
    whole = ModelCard(f"---\n{head.to_yaml()}\n---\n" + "\n".join(lines))
    return str(whole).rstrip() + "\n"


def _results(card: Card, method: Card, ran: Mapping[str, Any]) -> list[Any]:
    from huggingface_hub import EvalResult

    read = {name: str(source) for name, source in card["data"].items() if source}
    source = next(iter(read.values()), "none")
    on_hub = hub_set(source)
    return [
        EvalResult(
            task_type="other",
            task_name=f"{card['paper']}, budget {card['budget']}",
            dataset_type=on_hub.id if on_hub else slug(source),
            dataset_name=", ".join(printable(one) for one in read.values()) or "none",
            dataset_revision=(on_hub.revision if on_hub and on_hub.revision else card["task_digest"]),
            metric_type=metric,
            metric_name=f"{card['metrics'][metric]['text']} ({card['metrics'][metric]['better']} is better)",
            metric_value=summary["mean"],
        )
        for metric, summary in method["metrics"].items()
        if summary["mean"] is not None
    ]


def _part(card: Card, method: Card) -> list[str]:
    """Return a setting's part: where, what was measured, and each claim that reads this method."""
    metrics = [("metric", "what it is", "mean ± half the 95 % interval")] + [
        (
            f"{name} {'↑' if card['metrics'][name]['better'] == 'higher' else '↓'}",
            card["metrics"][name]["text"],
            plus_minus(summary),
        )
        for name, summary in method["metrics"].items()
    ]
    own = method["method"]
    claims = [
        (
            claim["text"] + (f" ({stance(claim)})" if stance(claim) else ""),
            theirs(claim),
            asked(claim),
            ours(claim),
            ", ".join([f"{SIGNS[claim['verdict']]} {said(card, claim)}", *flags(claim)]),
            why(claim),
        )
        for claim in card["claims"]
        if own in (claim["method"], claim["than"], *claim["of"])
    ]
    seeds = ", ".join(map(str, method["seeds"]))
    return [
        f"## {escaped(setting(card))}\n",
        f"{escaped(card['note'])} Seeds {seeds}; runs {', '.join(key[:16] for key in method['run_keys'])}.\n",
        *table(metrics, escaped),
        "",
        *(
            [
                "### Verdicts\n",
                *table(
                    [("claim", "the paper", "asked", "here, 95 % interval", "verdict", "why"), *claims],
                    escaped,
                ),
                "",
            ]
            if claims
            else []
        ),
        f"    {printable(card['command'])}\n",
    ]
