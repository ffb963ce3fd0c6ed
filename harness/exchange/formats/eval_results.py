"""The hub's `.eval_results/*.yaml`: what a trained model scored on data sets of the hub, by huggingface_hub's writer.

Such an entry names a data set of the hub, so runs on other data have none. Its value is the mean over a method's
seeds, and its notes say so, with the interval, the budget and the keys of the runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.errors import UsageError
from harness.exchange.formats.naming import HubSet, hub_set, model_of, moment, slug
from harness.numbers import plus_minus
from harness.runs.results import Record

Card = Mapping[str, Any]


def exported(name: str, cards: Sequence[Card], records: Sequence[Record]) -> dict[str, str]:
    """Return `<paper>-<method>/.eval_results/<paper>.yaml` for each method that was run on data of the hub.

    Raises UsageError where none was.
    """
    import yaml
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    of_key = {record.result.run_key: record for record in records}
    entries: dict[str, list[EvalResultEntry]] = {}
    for card in cards:
        on_hub = [found for source in card["data"].values() if (found := hub_set(str(source)))]
        for method in card["methods"] if on_hub else ():
            runs = [of_key[key] for key in method["run_keys"] if key in of_key]
            if not runs:
                continue
            made = max(map(moment, runs)).isoformat()
            for metric, summary in method["metrics"].items():
                if summary["mean"] is not None:
                    told = _notes(card, method, metric, summary)
                    entries.setdefault(model_of(runs[0].result.config), []).extend(
                        _entry(EvalResultEntry, one, metric, summary["mean"], made, told) for one in on_hub
                    )
    if not entries:
        raise UsageError(
            f"no run of {name} read a data set of the hub, and .eval_results tells of no other: "
            f"run it with data.<name>=hub:<user>/<set>, or use --to card"
        )
    return {
        f"{model}/.eval_results/{slug(name)}.yaml": yaml.safe_dump(
            eval_result_entries_to_yaml(found), sort_keys=False, allow_unicode=True
        )
        for model, found in entries.items()
    }


def _entry(made: Any, on_hub: HubSet, metric: str, value: float, date: str, notes: str) -> Any:
    task = f"{on_hub.part}/{metric}" if on_hub.part else metric
    return made(on_hub.id, task, value, dataset_revision=on_hub.revision or None, date=date, notes=notes)


def _notes(card: Card, method: Card, metric: str, summary: Card) -> str:
    seeds = len(method["seeds"])
    over = "one run" if seeds == 1 else f"mean over {seeds} seeds"
    better = card["metrics"][metric]["better"]
    keys = ", ".join(key[:16] for key in method["run_keys"])
    return (
        f"{method['method']}: {over}, {plus_minus(summary)}, {better} is better; paper-harness, "
        f"{card['paper']}, budget {card['budget']}, runs {keys}"
    )
