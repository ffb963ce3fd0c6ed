"""A plain toolbox of model parts: knows nothing of runs, hooks or Hydra.

May import: `papers`, `errors`, `data`, `fit`.
Importing it teaches `AutoConfig` and `AutoModelForCausalLM` to load a saved `Decoder`.
"""

from harness.nn.config import DecoderConfig
from harness.nn.decoder import Decoder
from harness.nn.positions import KINDS, Position

__all__ = ["KINDS", "Decoder", "DecoderConfig", "Position"]
