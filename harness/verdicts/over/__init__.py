"""A paper's claims over several data sets: what they have together, and what the next data set would show.

A verdict on one text speaks of that text. Here the estimate of each data set is one draw of what a method does on
data sets: random effects, every set counting alike (`synthesis`), from three sets on. Two are told apart and not
pooled; one is nothing to pool. The user's own set is kept out and placed in the interval of the next one (`sets`).
"""

from harness.verdicts.over.sets import over_data
from harness.verdicts.over.synthesis import SETS, Synthesis, beside, pooled

__all__ = ["SETS", "Synthesis", "beside", "over_data", "pooled"]
