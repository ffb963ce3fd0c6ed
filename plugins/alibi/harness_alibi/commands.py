"""`harness alibi lengths`: how far a model can read. `harness alibi export`: what a run trained, for others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.errors import UsageError, nearest
from harness.tools import (
    device_of,
    fetched,
    finished,
    folder_to_write,
    picture_to_write,
    quiet_libraries,
    run_folder,
)
from harness.tools.bars import Bars
from harness.tools.options import Device, Json, Precision, Results


def tools(app: typer.Typer) -> None:
    """Add the commands to `harness alibi`."""
    app.command()(lengths)
    app.command()(export)


def lengths(
    model: Annotated[
        str,
        typer.Argument(help="A causal language model: a folder, hub id, GGUF, pypi:, or a run."),
    ],
    data: Annotated[str, typer.Option(help="Text: a file, a folder of them, hub:, pypi: or builtin:python.")],
    lengths: Annotated[
        str, typer.Option(help="Window lengths: multiples of the model's own, or tokens.")
    ] = "0.5x,1x,2x,4x,8x",
    length: Annotated[int, typer.Option(help="The model's own length, where its config does not say.")] = 0,
    targets: Annotated[
        int, typer.Option(help="Tokens scored without overlap at each length; 0: 32,768 or a window.")
    ] = 0,
    windows: Annotated[int, typer.Option(help="Windows that slide, at each length; 0: none do.")] = 8,
    stride: Annotated[int, typer.Option(help="Tokens they move by; 0: a quarter of the own length.")] = 0,
    probes: Annotated[int, typer.Option(help="Items of the retrieval probe; 0: none.")] = 16,
    seed: Annotated[int, typer.Option(min=0, help="Of the probe's keys and values.")] = 0,
    out: Annotated[Path, typer.Option(help="The picture to write (svg, png, pdf).")] = Path("lengths.svg"),
    device: Device = "auto",
    precision: Precision = "float32",
    as_json: Json = False,
    results: Results = Path("results"),
) -> None:
    """Measure how far a model can read: its loss by window length and position, and what it can copy.

    Example: harness alibi lengths my-model --data books/ --lengths 0.5x,1x,2x
    """
    from harness.data.sources import resolve

    quiet_libraries()
    picture_to_write(out)
    if precision not in ("float32", "bfloat16"):
        raise UsageError(
            f"--precision={precision} is not known: {nearest(precision, ('float32', 'bfloat16'))}"
        )
    from harness_alibi.drawing import draw
    from harness_alibi.kinds import positions_of
    from harness_alibi.lengths import curve, plan_of, text_of, told
    from harness_alibi.models import config_of, demand_causal, load, tokenizer_at

    asked: dict[str, Any] = {
        "targets": targets, "windows": windows, "stride": stride, "probes": probes, "seed": seed,
    }  # fmt: skip
    text = resolve(data, cache=results / "stages" / "sources")
    folder, digest = _model(model, results)
    plan_of(lengths, positions_of(config_of(folder)), length, **asked)  # before the weights are read
    tokenizer = tokenizer_at(folder)
    loaded = load(folder, device_of(device), precision)
    demand_causal(loaded, model)
    where = positions_of(loaded.config, loaded)
    plan, beyond = plan_of(lengths, where, length, **asked)
    tokens = text_of(text.documents(), tokenizer, loaded.get_input_embeddings().num_embeddings, plan, data)
    with Bars() as bars:
        found = curve(loaded, tokens, plan, device_of(device), bars)
    found = {
        "name": Path(model.rpartition("#")[2] or model).name,
        "model": model,
        "model_digest": digest,
        "data": text.name,
        "data_digest": text.digest,
        "positions": {"kind": where.kind, "told": where.told, "limit": where.limit},
        "own": plan.own,
        "targets": plan.targets,
        "stride": plan.step,
        "sliding_windows": plan.windows,
        "probes": plan.probes,
        "seed": plan.seed,
        "precision": precision,
        "beyond_reach": list(beyond),
        **found,
    }
    draw(found, out)
    if as_json:
        print(json.dumps(found, indent=1, ensure_ascii=False))
        return
    print(f"{found['name']}: {where.told}; its own length is {plan.own:,} tokens")
    _table(("tokens", "of its own", "windows", "loss", "perplexity", "sliding", "copied"), told(found))
    for tokens_ in beyond:
        print(f"{tokens_:,} tokens: not scored, the model has {where.told}")
    print(f"{out}: the picture")


def export(
    run: Annotated[str, typer.Argument(help="A run's folder, a method (its latest run), or a key's digits.")],
    to: Annotated[str, typer.Option(help="bloom or mpt: the family of transformers it becomes.")],
    out: Annotated[Path, typer.Option(help="The folder to write.")],
    results: Results = Path("results"),
    as_json: Json = False,
) -> None:
    """Write what a run of alibi/alibi trained as a BLOOM or MPT folder, with the same logits.

    Example: harness alibi export alibi --to bloom --out my-bloom
    """
    from harness_alibi.exporting import FAMILIES, export

    quiet_libraries()
    if to not in FAMILIES:
        raise UsageError(f"--to={to} is not known: {nearest(to, FAMILIES)}")
    folder_to_write(out)
    folder = run_folder("alibi", run, results)
    if (folder / "result.json").is_file():
        finished(folder, "alibi")
        folder = _output(folder)
    told = export(folder, to, out)
    if as_json:
        print(json.dumps({"folder": str(out), "family": to, "told": told}))
    else:
        print(f"{out}: {told}")


def _model(name: str, results: Path) -> tuple[Path, str]:
    """Return the folder and the digest of a model; of a run, by folder or method, what it trained."""
    if (results / "runs" / "alibi" / name).is_dir() and not Path(name).exists():
        name = str(run_folder("alibi", name, results))
    if (Path(name) / "result.json").is_file():
        name = str(_output(Path(name)))
    source = fetched(name, results)
    return source.path, source.digest


def _output(run: Path) -> Path:
    if not (run / "output" / "config.json").is_file():
        raise UsageError(f"{run} kept no weights: run it again with keep=weights")
    return run / "output"


def _table(head: tuple[str, ...], rows: Any) -> None:
    widths = [max(len(str(row[i])) for row in (head, *rows)) for i in range(len(head))]
    for row in (head, *rows):
        print("  ".join(str(value).rjust(width) for value, width in zip(row, widths, strict=True)))
