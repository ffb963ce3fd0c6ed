"""`harness plan`: what a run would cost, from the plugin's formulas and the meta device."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.data.sources import Source
    from harness.runs.spec import Spec

HOURS_AT = (("A100 (312 TFLOP/s bf16)", 312e12), ("H100 (989 TFLOP/s bf16)", 989e12))
UTILISATION = 0.4  # the share of a GPU's peak that a well-fed training loop reaches


def show_plan(overrides: Sequence[str], as_json: bool) -> None:
    """Compose the run that `overrides` describe and print its plan."""
    from harness.papers.plugins import load, load_all
    from harness.runs.run import open_run
    from harness.sweeps.compose import compose_one

    spec = compose_one(overrides, load_all(), resolved=False)
    if spec.model and any(word.lstrip("+").startswith("model=") for word in overrides):
        spec = dataclasses.replace(spec, model_source=_here(spec))
    plugin = load(spec.paper)
    if not plugin.implements("plan"):
        raise UsageError(f"{spec.paper} has no plan hook: it cannot be priced before it runs")
    plan = plugin.hook("plan")(run=open_run(spec, plugin))
    hours = {name: plan.flops / (peak * UTILISATION) / 3600 for name, peak in HOURS_AT}
    if as_json:
        print(json.dumps({**dataclasses.asdict(plan), "gpu_hours": hours}, indent=1))
        return
    table = Table("what", "how much", box=None, pad_edge=False, show_header=False)
    table.add_row("parameters", f"{plan.parameters:,} ({plan.parameters / 1e6:.1f} M)")
    without = plan.parameters_without_embeddings
    table.add_row("without embeddings", f"{without:,} ({without / 1e6:.1f} M)")
    table.add_row("training tokens", f"{plan.tokens:,}")
    table.add_row("training FLOPs", f"{plan.flops:.3g}")
    table.add_row("training memory", f"{plan.memory_bytes / 2**30:.2f} GiB")
    for name, value in hours.items():
        table.add_row(f"hours on one {name}, {UTILISATION:.0%} used", f"{value:.2f}")
    console = Console()
    console.print(table)
    console.print(f"[dim]{plan.formula}[/]")
    for remark in plan.notes:
        console.print(f"[dim]{remark}[/]")


def _here(spec: Spec) -> Source:
    """Return the model that a plan was asked for; UsageError where it is not on this machine."""
    from harness.data.files import there
    from harness.data.sources import resolve_model

    path = Path(spec.model.removeprefix("file:")).expanduser()
    if not there(path):
        raise UsageError(
            f"model={spec.model} is not here, and a plan fetches nothing: give its folder, or leave it out"
        )
    return resolve_model(spec.model, cache=spec.results / "stages" / "sources", allow_pickle=True)
