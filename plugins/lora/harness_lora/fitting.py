"""Refuse, before a sweep starts, a model that a method cannot train."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.errors import UsageError
from harness.nn.bases import config_of
from harness.nn.pricing import copies
from harness_lora.bases import TASKS, refuse_labels_without_a_model, refuse_quantised
from harness_lora.preparation import kind_of
from harness_lora.settings import Lora
from harness_lora.training import adapt


def fits(data: Mapping[str, Any], model: Any, method: Lora) -> None:
    """Raise UsageError for what `train` would refuse: the model is adapted as a shape, without its weights."""
    kind = kind_of(data["train"])
    if model is None:
        refuse_labels_without_a_model(kind)
        return
    config = config_of(model)
    refuse_quantised(config, model.name)
    try:
        shape = copies(config, TASKS["SEQ_CLS" if kind == "labels" else "CAUSAL_LM"])
    except ValueError:  # transformers has no such class of this family
        wanted = "classifier" if kind == "labels" else "causal language model"
        raise UsageError(
            f"model={model.name} is a {config.model_type}, of which there is no {wanted}: give another model"
        ) from None
    adapt(shape, method)
