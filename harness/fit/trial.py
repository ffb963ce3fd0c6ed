"""One training step on random tokens, for the hook `training_step`: does everything stay on one device?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

VOCABULARY = 128


def trial_step(
    build: Callable[[int], Any],
    loss: Callable[[Any, dict[str, Any]], Any],
    shape: tuple[int, ...],
    device: str,
    **columns: Any,
) -> None:
    """Do one step of `build(vocabulary)` on `device`: forward, `loss(model, batch)`, backward, AdamW.

    The batch holds random `input_ids` and `labels` of `shape`, and `columns`. A model with nothing to train does none.
    """
    import torch

    with torch.device(device):
        model = build(VOCABULARY)
        batch = {name: torch.randint(VOCABULARY, shape) for name in ("input_ids", "labels")}
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        return
    optimizer = torch.optim.AdamW(trained)
    loss(model, batch | columns).backward()
    optimizer.step()
