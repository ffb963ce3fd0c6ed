"""`harness plan`: what a run would cost, from the plugin's formulas and the meta device."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from harness.errors import UsageError

HOURS_AT = (("A100 (312 TFLOP/s bf16)", 312e12), ("H100 (989 TFLOP/s bf16)", 989e12))
UTILISATION = 0.4  # the share of a GPU's peak that a well-fed training loop reaches


def show_plan(overrides: Sequence[str], as_json: bool) -> None:
    """Compose the run that `overrides` describe and print its plan."""
    from harness.papers.plugins import load, load_all
    from harness.runs.run import open_run
    from harness.sweeps.compose import compose_one

    spec = compose_one(overrides, load_all(), resolved=False)
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
