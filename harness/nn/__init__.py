"""A plain toolbox of model parts: knows nothing of runs, hooks or Hydra.

Importing it teaches `AutoConfig` and `AutoModelForCausalLM` to load a saved `Decoder`.
"""

from harness.nn.decoder import Decoder, DecoderConfig
from harness.nn.positions import KINDS, Position

__all__ = ["KINDS", "Decoder", "DecoderConfig", "Position"]
