"""What writes: prompts in, tokens and log-probabilities out, whoever has the weights.

Three engines are one interface (`Engine`): transformers in this process, any server of OpenAI's `completions`
(vLLM, SGLang, llama.cpp's), vLLM in this process. `engine("http://host:8000", ...)` opens one by its word;
`Embeddings` is an encoder whose vectors come from a server. HTTP is httpx's, trying again tenacity's.

May import: `errors`, `papers`, `nn`, `data`, `fit`.
"""

from harness.engines.address import decides, is_address
from harness.engines.asking import Ask, Engine, Written
from harness.engines.gap import Gap, gap
from harness.engines.opening import Embeddings, checked, engine

__all__ = [
    "Ask",
    "Embeddings",
    "Engine",
    "Gap",
    "Written",
    "checked",
    "decides",
    "engine",
    "gap",
    "is_address",
]
