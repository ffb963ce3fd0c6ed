"""A GGUF file becomes an ordinary folder: the same weights, the same tokenizer, its chat template."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from harness.nn.gguf import unpack

WIDTH, HEADS, LAYERS, INNER = 32, 4, 2, 64
TEMPLATE = "{% for m in messages %}<|u|>{{ m['content'] }}<|e|>{% endfor %}"


@pytest.fixture
def tiny(tmp_path):
    """A Llama of random weights with a tokenizer of bytes, written by gguf's own writer."""
    gguf = pytest.importorskip("gguf")
    from tokenizers.pre_tokenizers import ByteLevel

    draw = np.random.default_rng(0)
    tokens = [*sorted(ByteLevel.alphabet()), "ab", "<|u|>", "<|e|>"]
    path = tmp_path / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([1] * (len(tokens) - 2) + [3, 3])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(len(tokens) - 2)
    writer.add_eos_token_id(len(tokens) - 1)
    writer.add_chat_template(TEMPLATE)

    def tensor(name, *shape):
        writer.add_tensor(name, draw.normal(0, 0.1, shape).astype(np.float32))

    tensor("token_embd.weight", len(tokens), WIDTH)
    tensor("output.weight", len(tokens), WIDTH)
    tensor("output_norm.weight", WIDTH)
    for i in range(LAYERS):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            tensor(f"blk.{i}.{name}.weight", WIDTH, WIDTH)
        tensor(f"blk.{i}.ffn_gate.weight", INNER, WIDTH)
        tensor(f"blk.{i}.ffn_up.weight", INNER, WIDTH)
        tensor(f"blk.{i}.ffn_down.weight", WIDTH, INNER)
        tensor(f"blk.{i}.attn_norm.weight", WIDTH)
        tensor(f"blk.{i}.ffn_norm.weight", WIDTH)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_an_unpacked_folder_is_the_file(tiny, tmp_path):
    unpack(tiny, tmp_path / "folder")
    ids = torch.randint(0, 200, (2, 9), generator=torch.Generator().manual_seed(0))
    theirs = AutoModelForCausalLM.from_pretrained(tiny.parent, gguf_file=tiny.name, dtype=torch.float32)
    ours = AutoModelForCausalLM.from_pretrained(tmp_path / "folder", dtype=torch.float32)
    with torch.inference_mode():
        assert torch.equal(ours(ids).logits, theirs(ids).logits)
    assert not hasattr(ours.config, "quantization_config")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "folder")
    turns = [{"role": "user", "content": "ab ab"}]
    assert tokenizer.apply_chat_template(turns, tokenize=False) == "<|u|>ab ab<|e|>"
    given = AutoTokenizer.from_pretrained(tiny.parent, gguf_file=tiny.name)
    assert tokenizer("ab <|e|>")["input_ids"] == given("ab <|e|>")["input_ids"]
