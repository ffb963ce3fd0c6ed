"""The one optimisation loop and its checkpoints: a plain toolbox that knows nothing of runs, hooks or Hydra.

May import: `errors`.
"""

from harness.fit.checkpoint import checkpoint_step
from harness.fit.loop import (
    Fitted,
    NonFiniteLoss,
    Stateful,
    fit,
    peak_memory,
    pick_device,
    pick_precision,
    rate,
    recipe,
    seed_everything,
    targets,
)
from harness.fit.precision import dtypes, fastest, for_writing
from harness.fit.sharding import whole
from harness.fit.trial import VOCABULARY, trial_step

__all__ = [
    "VOCABULARY",
    "Fitted",
    "NonFiniteLoss",
    "Stateful",
    "checkpoint_step",
    "dtypes",
    "fastest",
    "fit",
    "for_writing",
    "peak_memory",
    "pick_device",
    "pick_precision",
    "rate",
    "recipe",
    "seed_everything",
    "targets",
    "trial_step",
    "whole",
]
