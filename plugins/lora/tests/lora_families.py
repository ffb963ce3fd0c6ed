"""Small random models of every family that transformers offers small, as folders a user would have."""

from pathlib import Path
from typing import Any

import torch

SIZES = {
    "vocab_size": 48, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
}  # fmt: skip
GROUPED = {**SIZES, "num_key_value_heads": 1, "head_dim": 8}
LENGTH = {"max_position_embeddings": 40}
BART = {
    "vocab_size": 48, "d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "scale_embedding": True, **LENGTH,
}  # fmt: skip
T5 = {"vocab_size": 48, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2}
DISTIL = {"vocab_size": 48, "dim": 16, "hidden_dim": 24, "n_layers": 2, "n_heads": 2, **LENGTH}

# name: (config, its settings, the class that the folder was saved as)
GENERATORS: dict[str, tuple[str, dict[str, Any], str]] = {
    "llama": ("LlamaConfig", {**GROUPED, "tie_word_embeddings": False}, "LlamaForCausalLM"),
    "llama-tied": ("LlamaConfig", {**GROUPED, "tie_word_embeddings": True}, "LlamaForCausalLM"),
    "qwen2": ("Qwen2Config", GROUPED, "Qwen2ForCausalLM"),
    "qwen3": ("Qwen3Config", {**GROUPED, "tie_word_embeddings": True}, "Qwen3ForCausalLM"),
    "gemma2": ("Gemma2Config", GROUPED, "Gemma2ForCausalLM"),
    "gemma3": ("Gemma3TextConfig", GROUPED, "Gemma3ForCausalLM"),
    "phi": ("PhiConfig", {**SIZES, **LENGTH}, "PhiForCausalLM"),
    "phi3": ("Phi3Config", {**SIZES, "pad_token_id": 0}, "Phi3ForCausalLM"),
    "neox": ("GPTNeoXConfig", {**SIZES, **LENGTH}, "GPTNeoXForCausalLM"),
    "gpt2": (
        "GPT2Config",
        {"vocab_size": 48, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 40},
        "GPT2LMHeadModel",
    ),
    "t5": ("T5Config", T5, "T5ForConditionalGeneration"),
    "t5-gated": (
        "T5Config",
        {**T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
        "T5ForConditionalGeneration",
    ),
    "bart": ("BartConfig", BART, "BartForConditionalGeneration"),
}
ENCODERS: dict[str, tuple[str, dict[str, Any], str]] = {
    "bert": ("BertConfig", {**SIZES, **LENGTH}, "BertForMaskedLM"),
    "roberta": ("RobertaConfig", {**SIZES, **LENGTH}, "RobertaForMaskedLM"),
    "distilbert": ("DistilBertConfig", DISTIL, "DistilBertForMaskedLM"),
    "deberta": ("DebertaConfig", {**SIZES, **LENGTH, "pooler_hidden_size": 16}, "DebertaForMaskedLM"),
    "deberta-v2": ("DebertaV2Config", {**SIZES, **LENGTH, "pooler_hidden_size": 16}, "DebertaV2ForMaskedLM"),
    "electra": ("ElectraConfig", {**SIZES, **LENGTH, "embedding_size": 12}, "ElectraForPreTraining"),
    "albert": ("AlbertConfig", {**SIZES, **LENGTH, "embedding_size": 12}, "AlbertForMaskedLM"),
    "bart-classifier": ("BartConfig", {**BART, "eos_token_id": 2}, "BartModel"),
    "llama-classifier": ("LlamaConfig", {**GROUPED, "pad_token_id": 0}, "LlamaForCausalLM"),
    "gpt2-classifier": ("GPT2Config", {**GENERATORS["gpt2"][1], "pad_token_id": 0}, "GPT2LMHeadModel"),
}
# Query and value by the names that each family has for them.
ATTENTION = ["q_proj", "v_proj", "query", "value", "q_lin", "v_lin", "query_proj", "value_proj", "in_proj", "c_attn",
             "query_key_value", "qkv_proj", "q", "v"]  # fmt: skip


def folder_of(name: str, home: Path) -> Path:
    """Write the family's base into `home`, unless it is there, and return its folder."""
    import transformers

    if not (home / name).exists():
        config, sizes, kind = (GENERATORS | ENCODERS)[name]
        torch.manual_seed(sum(map(ord, name)))
        model = getattr(transformers, kind)(getattr(transformers, config)(**sizes))
        _shaken(model).save_pretrained(home / name)
    return home / name


def whole_folder_of(name: str, home: Path) -> Path:
    """Return the folder of a base of which nothing is new in a load: an encoder has its head in it."""
    folder = folder_of(name, home)
    if name not in ENCODERS:
        return folder
    if not (home / f"{name}-whole").exists():
        torch.manual_seed(3)
        _shaken(loaded(name, folder)).save_pretrained(home / f"{name}-whole")
    return home / f"{name}-whole"


def _shaken(model: Any) -> Any:
    """Make small weights larger, or logits hardly tell one model from another."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn(parameter.shape))
            elif parameter.std() < 0.1:
                parameter.mul_(0.15 / parameter.std())
    return model


def loaded(name: str, folder: Path, labels: int = 3) -> Any:
    """Load a family's base as a user would: a generator as itself, an encoder as a classifier with a new head."""
    import transformers

    if name in ENCODERS:
        auto = transformers.AutoModelForSequenceClassification
        return auto.from_pretrained(folder, num_labels=labels).eval()
    return getattr(transformers, GENERATORS[name][2]).from_pretrained(folder).eval()


def logits(model: Any) -> torch.Tensor:
    """Return the logits of the same tokens each time."""
    ids = torch.randint(4, 48, (3, 9), generator=torch.Generator().manual_seed(7))
    given = {"input_ids": ids}
    if model.config.is_encoder_decoder:
        ids[:, -1] = 2  # BART's classifier looks for the end
        if not type(model).__name__.endswith("Classification") and "ForSequence" not in str(
            type(_bare(model))
        ):
            given["decoder_input_ids"] = ids
    with torch.no_grad():
        return model(**given).logits


def _bare(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def trained(model: Any) -> Any:
    """Change whatever can be trained, as training would, and return the model in eval mode."""
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model.eval()
