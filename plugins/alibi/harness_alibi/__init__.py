"""ALiBi: Attention with Linear Biases (Press, Smith, Lewis 2021, arXiv 2108.12409).

Train short, test long: without any position embedding, each head subtracts a fixed slope times the
distance between query and key from its scores. The paper claims that perplexity then stays good on
inputs longer than those trained on.
"""

from harness import lazy

__getattr__ = lazy(__name__, {"slopes": "bias", "alibi_bias": "bias"})
