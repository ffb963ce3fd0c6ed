"""Tokenizers with the chat templates of the paper's families (in our own words), and a tiny chat model."""

from __future__ import annotations

from typing import Any

from harness_magpie.sampling import Sampling
from harness_magpie.synthesis import Recipe

CHATML = (
    "{% for m in messages %}{% if loop.first and m['role'] != 'system' and default %}"
    "<|im_start|>system\n{{ default }}<|im_end|>\n{% endif %}"
    "<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA_3 = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
    "{{ m['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{% for m in messages %}<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
    "{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
PHI_3 = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}<|user|>\n{{ m['content'] }}<|end|>\n"
    "<|assistant|>\n{% elif m['role'] == 'assistant' %}{{ m['content'] }}<|end|>\n{% endif %}{% endfor %}"
)
PHI_3_SMALL = (
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
INST = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]"
    "{% elif m['role'] == 'assistant' %} {{ m['content'] }}{{ eos_token }}"
    "{% else %}{{ raise_exception('no system role') }}{% endif %}{% endfor %}"
)
YI = (
    "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
VICUNA_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
    "detailed, and polite answers to the user's questions."
)
VICUNA = (
    VICUNA_SYSTEM
    + "{% for m in messages %}{{ '\n\nUSER: ' if m['role'] == 'user' else ' ASSISTANT: ' }}{{ m['content'] }}"
    "{% endfor %}{% if add_generation_prompt %} ASSISTANT:{% endif %}"
)
QWEN = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
SMOL = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
IM = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
TURNS = ("<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>")
PHI = ("</s>", "<s>", "<|endoftext|>", "<|user|>", "<|assistant|>", "<|system|>", "<|end|>")


def chatml(default: str) -> str:
    """Return a ChatML template that inserts this system message; "" for none."""
    return "{% set default = '" + default + "' %}" + CHATML


# family: (template, special tokens, BOS, EOS, the paper's pre-query template)
FAMILIES: dict[str, tuple[str, tuple[str, ...], str | None, str, str]] = {
    "Llama-3": (
        LLAMA_3,
        ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        "<|begin_of_text|>",
        "<|eot_id|>",
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n",
    ),
    "Qwen1.5": (chatml("You are a helpful assistant."), IM, None, "<|im_end|>", "<|im_start|>user\n"),
    "Qwen2-Math": (chatml("You are a helpful assistant."), IM, None, "<|im_end|>", "<|im_start|>user\n"),
    "Qwen2.5": (
        chatml(QWEN),
        IM,
        None,
        "<|im_end|>",
        f"<|im_start|>system\n{QWEN}<|im_end|>\n<|im_start|>user\n",
    ),
    "Gemma-1.1": (GEMMA, TURNS, "<bos>", "<eos>", "<bos><start_of_turn>user\n"),
    "Gemma-2": (GEMMA, TURNS, "<bos>", "<eos>", "<bos><start_of_turn>user\n\n"),
    "Phi-3": (PHI_3, PHI, "<s>", "<|endoftext|>", "<s> <|user|>\n"),
    "Phi-3 small": (PHI_3_SMALL, PHI[2:], "<|endoftext|>", "<|endoftext|>", "<|endoftext|><|user|>\n"),
    "Mistral-7B-v0.3": (INST, ("<s>", "</s>", "[INST]", "[/INST]"), "<s>", "</s>", "<s> [INST] "),
    "Llama-2": (INST, ("<s>", "</s>"), "<s>", "</s>", "<s> [INST] "),
    "Yi-1.5": (
        YI,
        ("<|startoftext|>", *IM),
        "<|startoftext|>",
        "<|im_end|>",
        "<|startoftext|><|im_start|>user\n",
    ),
    "Vicuna v1.5": (VICUNA, ("<s>", "</s>"), "<s>", "</s>", f"{VICUNA_SYSTEM}\n\nUSER: "),
    "SmolLM2": (
        chatml(SMOL),
        IM,
        "<|im_start|>",
        "<|im_end|>",
        f"<|im_start|>system\n{SMOL}<|im_end|>\n<|im_start|>user\n",
    ),
}


def tokenizer(family: str) -> Any:
    """Return a tokenizer of bytes with a family's special tokens and chat template."""
    template, special, bos, eos, _ = FAMILIES[family]
    made = byte_tokenizer(special, bos, eos)
    made.chat_template = template
    return made


def byte_tokenizer(special: tuple[str, ...], bos: str | None, eos: str) -> Any:
    """Return a tokenizer in which every byte is a token and `special` ones stand for themselves."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE({sign: i for i, sign in enumerate(alphabet)}, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens([AddedToken(name, special=True) for name in special])
    return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token=bos, eos_token=eos)


def tiny_generator(folder: Any) -> Any:
    """Return the tiny random chat model of budget=smoke, loaded."""
    from harness_magpie.generator import load_generator
    from harness_magpie.preparation import tiny_chat_model

    tiny_chat_model(folder)
    return load_generator(folder, "float32", "cpu")


def recipe(**changes: Any) -> Recipe:
    """The recipe of a small set by a tiny generator."""
    settings: dict[str, Any] = {
        "model": "tiny", "revision": "r1", "licence": "Apache-2.0", "count": 40, "system": None,
        "sampling": Sampling(1.0, 1.0, 24, 0), "mode": "whole", "answer_tokens": 6, "preset": "valid",
        "batch_size": 8, "precision": "float32",
    }  # fmt: skip
    return Recipe(**{**settings, **changes})
