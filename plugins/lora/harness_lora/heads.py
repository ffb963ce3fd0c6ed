"""Find what of a model is new, and so must be trained whole and kept with the adapter.

A classifier's head is what stands beside its body. Whatever else `from_pretrained` did not find in the checkpoint
(BERT's pooler behind a masked language model) is new in every load, whatever it is called: transformers marks
each parameter that it read.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from torch import nn

HEADS = ("score", "classifier")  # what a classifier's own layers are called where nothing else tells
CLASSIFIER = re.compile(r"For(\w*Classification|QuestionAnswering|MultipleChoice)$")


def head_names(model: Any) -> list[str]:
    """Return the paths of a classifier's own layers, and of whatever is new in this load; else none."""
    body = getattr(model, getattr(model, "base_model_prefix", "") or " ", None)
    if CLASSIFIER.search(type(model).__name__) and isinstance(body, nn.Module):
        own = [n for n, m in model.named_children() if m is not body and any(True for _ in m.parameters())]
    else:
        own = [n for n, _ in model.named_modules() if n.rpartition(".")[2] in HEADS]
    return own + [name for name in new_parts(model) if not any(f"{name}.".startswith(f"{o}.") for o in own)]


def new_parts(model: Any) -> list[str]:
    """Return the modules that hold the parameters of `new_names`, the outermost that hold nothing else."""
    new = new_names(model)
    found: list[str] = []
    for name, module in model.named_modules() if new else ():
        inside = {f"{name}.{n}" for n, _ in module.named_parameters()}
        direct = {f"{name}.{n}" for n, _ in module.named_parameters(recurse=False)}
        if (
            name
            and ((inside and inside <= new) or direct & new)
            and not any(name.startswith(f"{outer}.") for outer in found)
        ):
            found.append(name)
    return found


def new_names(model: Any) -> set[str]:
    """Return the parameters that were not in the checkpoint that the model was loaded from.

    A model that was not loaded has none, and what is known to be left out of checkpoints is not new.
    """
    named = dict(model.named_parameters())
    read = {name for name, p in named.items() if getattr(p, "_is_hf_initialized", False)}
    if not read:
        return set()
    known = [re.compile(pattern) for pattern in getattr(model, "_keys_to_ignore_on_load_missing", None) or ()]
    new = {n for n in named.keys() - read if not any(pattern.search(n) for pattern in known)}
    new = {n for n in new if named[n].is_floating_point()}  # other numbers are not trained
    return new - resized(model).keys()


def resized(model: Any) -> dict[str, nn.Parameter]:
    """Return the parameters of embedding and output layer, by all paths, where they have other rows than the base's.

    The base's config tells, where it is on this machine.
    """
    config = getattr(model, "config", None)
    rows, name = getattr(config, "vocab_size", None), getattr(config, "_name_or_path", "")
    if not rows or not name:
        return {}
    before = _rows_of(type(config), name, getattr(config, "_commit_hash", None))
    if before is None or before == rows:
        return {}
    ours = {id(p) for module in ends_of(model) for p in getattr(module, "base_layer", module).parameters()}
    return {n: p for n, p in model.named_parameters(remove_duplicate=False) if id(p) in ours}


def ends_of(model: Any) -> list[nn.Module]:
    """Return the input embedding and the output layer, as far as the model says them."""
    found = []
    for ask in ("get_input_embeddings", "get_output_embeddings"):
        try:
            found.append(getattr(model, ask)())
        except (AttributeError, NotImplementedError):
            continue
    return [module for module in found if module is not None]


def _rows_of(kind: Any, name: str, revision: str | None) -> int | None:
    """Return how many tokens the model of this name has; None where it is not on this machine."""
    try:
        options = {"revision": revision} if revision and not Path(name).is_dir() else {}
        return int(kind.from_pretrained(name, local_files_only=True, **options).vocab_size)
    except (OSError, ValueError, AttributeError, TypeError):
        return None
