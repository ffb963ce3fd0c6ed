"""Small random models, and something for them to read."""

import torch
from torch import nn

from harness.nn.decoder import Decoder, DecoderConfig


def decoder(seed: int = 0, **settings) -> Decoder:
    """Return a small random causal language model in eval mode."""
    torch.manual_seed(seed)
    sizes = {"vocab_size": 50, "width": 32, "layers": 2, "heads": 2, "feedforward": 64, "length": 16}
    return Decoder(DecoderConfig(**{**sizes, "tie_word_embeddings": False, **settings})).eval()


def llama(seed: int = 0):
    """Return a small random Llama, tied, with fewer heads for keys than for queries."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    sizes = {"vocab_size": 50, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    return LlamaForCausalLM(
        LlamaConfig(**sizes, num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True)
    ).eval()


def roberta(seed: int = 0, labels: int = 2):
    """Return a small random encoder with a classifier."""
    from transformers import RobertaConfig, RobertaForSequenceClassification

    torch.manual_seed(seed)
    sizes = {"vocab_size": 50, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    return RobertaForSequenceClassification(
        RobertaConfig(**sizes, num_attention_heads=2, max_position_embeddings=40, num_labels=labels)
    ).eval()


def ids(rows: int = 2, length: int = 12) -> torch.Tensor:
    """Return the same token numbers each time, (rows, length)."""
    return torch.randint(3, 50, (rows, length), generator=torch.Generator().manual_seed(7))


def stirred(model: nn.Module) -> nn.Module:
    """Give every B something to say, as training would."""
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model
