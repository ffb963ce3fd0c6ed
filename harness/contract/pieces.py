"""Is `fit.micro_batch` the same training in less memory?

A smoke run is trained with one row at a time. At the first batch of every fit the gradient is taken twice, of the
whole batch and of its pieces, without dropout, and both must agree. A method that cuts its batches itself must show
the model fewer rows at once; that its gradient is the whole one is for its own tests.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.contract.bench import Altered, Bench
from harness.data.jsonl import read_json
from harness.errors import UsageError
from harness.runs.files import write_json

CLOSE = 1e-5  # of the largest entry of the gradient; sums in another order differ by less


def same_in_pieces(bench: Bench, method: str) -> str:
    """Return what to change where `fit.micro_batch=1` trains otherwise than the whole batch, or ""."""
    file = bench.folder / "results" / "pieces" / f"{method}.json"
    _, seen = bench.run(method, "pieces", plugin=Altered(bench.plugin, train=_cut(bench.plugin, file)))
    if not file.exists():
        return f"fix what ended its process ({seen.error or seen.exit_code})"
    found = read_json(file)
    if found.get("refused") or not found["fits"]:
        return ""
    if found["off"] > CLOSE:
        return (
            f"its gradient with fit.micro_batch=1 differs by {found['off']:.2g} of its largest entry from the whole "
            "batch's: give fit `weigh` where the loss is a mean over something else than rows, and draw what a row "
            "needs from its own seed"
        )
    if not found["handed"] and found["rows"] >= found["whole"] > 1:
        return "hand run.micro_batch on to fit, or refuse it with a UsageError: it has no effect"
    return ""


def _cut(plugin: Any, file: Path) -> Callable[[Any], None]:
    """Return the plugin's `train` with a row at a time, which leaves in `file` how its fits took it."""

    def train(run: Any) -> None:
        import torch
        from torch.nn.modules.module import register_module_forward_pre_hook

        from harness.fit import loop

        found: dict[str, Any] = {"fits": 0, "handed": 0, "off": 0.0, "rows": 0, "whole": 0}
        met: set[Any] = set()  # the models themselves: the id of one that is gone can come again
        accumulate = loop._accumulate

        def twice(
            accelerator: Any, model: Any, share: Any, whole: Any, step: Any, piece: Any, *rest: Any
        ) -> Any:
            if model not in met:
                met.add(model)
                found["fits"] += 1
                found["whole"] = max(found["whole"], len(next(iter(share.values()))))
                found["handed"] += piece == 1
                if piece == 1:
                    one, other = (
                        gradient(accelerator, model, share, whole, step, size, *rest) for size in (None, 1)
                    )
                    scale = max(float(g.abs().max()) for g in one) or 1.0
                    off = max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True))
                    found["off"] = max(found["off"], off / scale)
            return accumulate(accelerator, model, share, whole, step, piece, *rest)

        def gradient(accelerator: Any, model: Any, *rest: Any) -> list[Any]:
            training = [part for part in model.modules() if part.training]
            for part in training:
                part.training = False
            with torch.random.fork_rng(devices=[]):
                accumulate(accelerator, model, *rest)
            for part in training:
                part.training = True
            trained = [parameter for parameter in model.parameters() if parameter.grad is not None]
            found = [parameter.grad.clone() for parameter in trained]
            for parameter in trained:
                parameter.grad = None
            return found

        def counted(part: Any, inputs: Any) -> None:
            if part.training and isinstance(part, torch.nn.Embedding) and inputs[0].dim() == 2:
                found["rows"] = max(found["rows"], len(inputs[0]))

        vars(loop)["_accumulate"] = twice
        hook = register_module_forward_pre_hook(counted)
        run.micro_batch = 1
        try:
            plugin.hook("train")(run=run)
        except UsageError as error:
            found["refused"] = str(error)
            raise
        finally:
            hook.remove()
            vars(loop)["_accumulate"] = accumulate
            write_json(file, found)

    return train
