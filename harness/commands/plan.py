"""`harness plan`: what a run would cost, of the model that would run, and which settings near by fit the device.

Prices are for GPUs: bfloat16 unless `precision=` says otherwise. A plan fetches nothing. A model that is not on this
machine is priced by its known shape, which a note then says, or refused.
"""

from __future__ import annotations

import bisect
import dataclasses
import math
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from harness.commands.door.answers import answer
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.data.sources import Source
    from harness.papers.statement import Plan
    from harness.runs.spec import Spec

HOURS_AT = (("A100 (312 TFLOP/s bf16)", 312e12), ("H100 (989 TFLOP/s bf16)", 989e12))
UTILISATION = 0.4  # the share of a GPU's peak that a well-fed training loop reaches
SHARDED = ("weights", "gradients", "optimiser states", "base")
Settings = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Fit:
    """Whether a plan fits `devices` of `gb` (10^9 bytes); if not, the nearest `settings` that do."""

    gb: float
    devices: int
    bytes_each: int
    fits: bool
    settings: dict[str, Any] | None = None
    settings_bytes_each: int | None = None
    devices_needed: int | None = (
        None  # where no setting does, with the model sharded; None: activations alone do not
    )


def show_plan(
    overrides: Sequence[str], as_json: bool, gb: float = 80.0, price_per_hour: float | None = None
) -> None:
    """Compose the run that `overrides` describe and print its plan."""
    plan, fit = priced(overrides, gb)
    hours = {name: plan.flops / (peak * UTILISATION) / 3600 for name, peak in HOURS_AT}
    price = None if price_per_hour is None else {name: h * price_per_hour for name, h in hours.items()}
    if as_json:
        told = {
            **dataclasses.asdict(plan),
            "gpu_hours": hours,
            "price": price,
            "fit": dataclasses.asdict(fit),
        }
        answer("plan", told)
        return
    table = Table("what", "how much", box=None, pad_edge=False, show_header=False)
    table.add_row("parameters", f"{plan.parameters:,} ({plan.parameters / 1e6:.1f} M)")
    without = plan.parameters_without_embeddings
    table.add_row("without embeddings", f"{without:,} ({without / 1e6:.1f} M)")
    table.add_row("training tokens", f"{plan.tokens:,}")
    table.add_row("training FLOPs", f"{plan.flops:.3g}")
    for phase, parts in plan.memory.items() or {"training": {}}.items():
        table.add_row(f"{phase} memory", _gib(sum(parts.values()) or plan.memory_bytes))
        for part, size in parts.items():
            table.add_row(f"  {part}", _gib(size))
    for name, value in hours.items():
        cost = "" if price is None else f", {price[name]:,.2f} at {price_per_hour:g} an hour"
        table.add_row(f"hours on one {name}, {UTILISATION:.0%} used", f"{value:.2f}{cost}")
    console = Console()
    console.print(table)
    console.print(_said(fit))
    console.print(f"[dim]{plan.formula}[/]")
    for remark in plan.notes:
        console.print(f"[dim]{remark}[/]")


def priced(overrides: Sequence[str], gb: float = 80.0) -> tuple[Plan, Fit]:
    """Return the plan of the run that `overrides` describe, and how it fits the budget's devices of `gb` each."""
    from harness.nn.pricing import recomputing
    from harness.papers.plugins import load, load_all
    from harness.runs.run import open_run
    from harness.sweeps.compose import compose_one

    plugins = load_all()
    spec = compose_one(overrides, plugins, resolved=False)
    plugin = load(spec.paper)
    if not plugin.implements("plan"):
        raise UsageError(f"{spec.paper} has no plan hook: it cannot be priced before it runs")
    typed = any(word.lstrip("+").startswith("model=") for word in overrides)
    asked = any(word.lstrip("+").startswith("precision=") for word in overrides)
    with _model(spec, typed) as (source, notes):

        def price(more: Settings) -> Plan:
            words = [*overrides, *_words(more)]
            spec = dataclasses.replace(
                compose_one(words, plugins, resolved=False) if more else first, model_source=source
            )
            spec = spec if asked else dataclasses.replace(spec, precision="bfloat16")
            with recomputing(spec.fit.checkpoint_activations), warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # of names that transformers will drop
                found: Plan = plugin.hook("plan")(run=open_run(spec, plugin))
            return dataclasses.replace(found, notes=(*notes, *found.notes))

        assert plugin.paper is not None
        first = spec
        devices = spec.processes if spec.fit.shard else plugin.paper.devices.get(spec.budget, 1)
        plan = price({})
        return plan, fitted(plan, price, gb, devices)


def fitted(plan: Plan, price: Callable[[Settings], Plan], gb: float, devices: int = 1) -> Fit:
    """Return whether a plan fits; where it does not, search its levers, as few and as mild as do."""
    most = gb * 1e9
    each = on_each(plan, devices)
    if each <= most:
        return Fit(gb, devices, each, True)

    def tried(more: Settings) -> Plan | None:
        try:
            return price(more)
        except UsageError:  # a method may refuse what its model could do
            return None

    def fits(more: Settings) -> bool:
        found = tried(more)
        return found is not None and on_each(found, devices) <= most

    found = nearest(plan.levers, fits)
    if found:
        return Fit(gb, devices, each, False, found, on_each(price(found), devices))
    free = {name: values[-1] for name, values in plan.levers.items() if name.startswith("fit.") and values}
    least = (tried(free) if free else None) or plan
    return Fit(gb, devices, each, False, devices_needed=needed(least, most))


def nearest(levers: Mapping[str, Sequence[Any]], fits: Callable[[Settings], bool]) -> dict[str, Any]:
    """Return the fewest of `levers` that fit, the first ones before others, each at its mildest value; else {}."""
    usable = {name: values for name, values in levers.items() if values}
    for number in range(1, len(usable) + 1):
        for names in combinations(usable, number):
            found = {name: usable[name][-1] for name in names}
            if not fits(found):
                continue
            for name in reversed(
                names
            ):  # memory falls along a lever, so the first value that fits is searched by halves
                values, without = usable[name], dict(found)
                found[name] = values[
                    bisect.bisect_left(values, True, key=lambda value: fits({**without, name: value}))
                ]
            return found
    return {}


def on_each(plan: Plan, devices: int) -> int:
    """Return the bytes that each of `devices` holds of the largest phase: weights and what goes with them sharded."""
    phases = list(plan.memory.values()) or [{"all": plan.memory_bytes}]
    return max(_split(parts, devices, plan.gathered) for parts in phases)


def needed(plan: Plan, most: float) -> int | None:
    """Return on how many devices of `most` bytes a plan fits with its weights sharded; None where on none."""
    if not plan.memory:
        return None
    numbers = []
    for parts in plan.memory.values():
        sharded = sum(parts.get(name, 0) for name in SHARDED)
        room = most - (sum(parts.values()) - sharded) - plan.gathered
        if room <= 0:
            return None
        numbers.append(math.ceil(sharded / room))
    return max(numbers)


def _split(parts: Mapping[str, int], devices: int, gathered: int) -> int:
    total = sum(parts.values())
    if devices == 1:
        return total
    sharded = sum(parts.get(name, 0) for name in SHARDED)
    return total - sharded + math.ceil(sharded / devices) + gathered


def _said(fit: Fit) -> str:
    """Say whether a plan fits, and what would."""
    on = f"{fit.gb:g} GB" if fit.devices == 1 else f"{fit.devices} x {fit.gb:g} GB, sharded"
    if fit.fits:
        return f"fits in {on} ({_gib(fit.bytes_each)} each)"
    if fit.settings:
        words = " ".join(_words(fit.settings))
        return f"does not fit in {on}: {words} does ({_gib(fit.settings_bytes_each or 0)})"
    if fit.devices_needed:
        return (
            f"does not fit in {on}, whatever its settings: sharded over {fit.devices_needed} devices it does"
        )
    return f"does not fit in {on}, nor sharded over any number: what one row keeps is too large"


def _words(settings: Settings) -> list[str]:
    return [
        f"{name}={str(value).lower() if isinstance(value, bool) else value}"
        for name, value in settings.items()
    ]


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"


@contextmanager
def _model(spec: Spec, typed: bool) -> Iterator[tuple[Source | None, tuple[str, ...]]]:
    """Give the model that a run would start from, and what is assumed of it; UsageError where neither is known."""
    from harness.nn.pricing import known

    if not spec.model:
        yield None, ()
        return
    here = _here(spec)
    shape = known(spec.model)
    if here is not None:
        yield here, (f"priced for {spec.model}",) if typed else ()
    elif shape is not None:
        from transformers import AutoConfig

        from harness.data.sources import Source

        with tempfile.TemporaryDirectory() as folder:
            AutoConfig.for_model(**shape).save_pretrained(folder)
            note = f"{spec.model} is not here: priced by its known shape"
            yield Source(spec.model, "assumed", Path(folder), spec.model), (note,)
    else:
        raise UsageError(
            f"model={spec.model} is not here, and a plan fetches nothing: give its folder, or leave it out"
        )


def _here(spec: Spec) -> Source | None:
    """Return the model that a run would start from, where it is on this machine."""
    from harness.data.files import there
    from harness.data.sources import resolve_model

    cache = spec.results / "stages" / "sources"
    if spec.model.startswith("pypi:"):
        from harness.data import packages

        if not packages.present(spec.model.removeprefix("pypi:"), cache):
            return None
    elif not there(Path(spec.model.removeprefix("file:")).expanduser()) and not _cached(spec.model):
        return None
    return resolve_model(spec.model, cache=cache, allow_pickle=True)


def _cached(name: str) -> bool:
    """Say whether the hub's model lies in its cache here, as it is fetched from where there is no network."""
    import os

    from huggingface_hub import try_to_load_from_cache

    address, _, revision = name.removeprefix("hub:").partition("#")[0].partition("@")
    if os.environ.get("HF_HUB_OFFLINE") != "1" or address.count("/") != 1:
        return False
    return isinstance(try_to_load_from_cache(address, "config.json", revision=revision or None), str)
