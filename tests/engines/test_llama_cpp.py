"""A real server: llama.cpp's, by llama-cpp-python, with the weights of a random Llama written as GGUF.

It must be compiled, so it is looked for in the Python that HARNESS_LLAMA_PYTHON names: `make engines`.
"""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from harness.engines import Ask, Embeddings, engine, gap
from harness.engines.inside import Transformers

pytestmark = [pytest.mark.oracle, pytest.mark.xdist_group("llama_cpp")]
PYTHON = os.environ.get("HARNESS_LLAMA_PYTHON", sys.executable)
PROMPTS = ["The sea", "A name", "Why is", "Tell me three", "a b c d e f g", "x"]


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A random Llama with its tokenizer, as an engine of this process, and its folder."""
    import torch
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    signs = ["Ġ", "Ċ", *map(chr, range(33, 127)), "th"]
    inner = Tokenizer(models.BPE({sign: i for i, sign in enumerate(signs)}, [("t", "h")]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens([AddedToken("<|end|>", special=True)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|end|>")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, initializer_range=0.2, max_position_embeddings=256, bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("llama")
    model = LlamaForCausalLM(config).eval()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_gguf(model, tokenizer, folder / "tiny.gguf")
    return Transformers(model, tokenizer), folder


def write_gguf(model, tokenizer, path):
    """Write a Llama of transformers with a byte-level tokenizer as a GGUF file."""
    import gguf

    config, state = model.config, {name: t.float().numpy() for name, t in model.state_dict().items()}
    out = gguf.GGUFWriter(str(path), "llama")
    out.add_context_length(config.max_position_embeddings)
    out.add_embedding_length(config.hidden_size)
    out.add_block_count(config.num_hidden_layers)
    out.add_feed_forward_length(config.intermediate_size)
    out.add_head_count(config.num_attention_heads)
    out.add_head_count_kv(config.num_key_value_heads)
    out.add_layer_norm_rms_eps(config.rms_norm_eps)
    out.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    out.add_rope_freq_base(10_000.0)
    out.add_vocab_size(config.vocab_size)
    out.add_pooling_type(gguf.PoolingType.MEAN)
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("gpt-2")
    out.add_token_list(tokenizer.convert_ids_to_tokens(range(len(tokenizer))))
    out.add_token_types([gguf.TokenType.NORMAL] * (len(tokenizer) - 1) + [gguf.TokenType.CONTROL])
    out.add_token_merges(["t h"])
    out.add_eos_token_id(tokenizer.eos_token_id)
    out.add_bos_token_id(tokenizer.eos_token_id)  # else a sign is taken for it
    out.add_add_bos_token(False)
    names = {
        "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
        "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    }  # fmt: skip
    heads = {"self_attn.q_proj": config.num_attention_heads, "self_attn.k_proj": config.num_key_value_heads}
    for layer in range(config.num_hidden_layers):
        for theirs, ours in names.items():
            weight = state[f"model.layers.{layer}.{theirs}.weight"]
            if theirs in heads:  # llama.cpp turns neighbours, transformers halves
                n = heads[theirs]
                weight = (
                    weight.reshape(n, 2, weight.shape[0] // n // 2, -1).swapaxes(1, 2).reshape(weight.shape)
                )
            out.add_tensor(f"blk.{layer}.{ours}.weight", np.ascontiguousarray(weight))
    out.add_tensor("token_embd.weight", state["model.embed_tokens.weight"])
    out.add_tensor("output_norm.weight", state["model.norm.weight"])
    out.add_tensor("output.weight", state["lm_head.weight"])
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


@pytest.fixture(scope="module")
def serve(here, tmp_path_factory):
    """Start a server with these options; return its address."""
    found = subprocess.run([PYTHON, "-c", "import llama_cpp.server.app"], capture_output=True, text=True)
    if found.returncode:
        pytest.skip(
            "llama-cpp-python[server] is not installed: HARNESS_LLAMA_PYTHON names the Python that has it"
        )
    running = []

    def start(*options):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        log = (tmp_path_factory.mktemp("server") / "log.txt").open("w")
        words = [
            PYTHON, "-m", "llama_cpp.server", "--model", str(here[1] / "tiny.gguf"), "--model_alias", "tiny",
            "--port", str(port), "--n_ctx", "256", "--n_threads", "1", "--n_threads_batch", "1", *options,
        ]  # fmt: skip
        running.append(subprocess.Popen(words, stdout=log, stderr=log))
        until = time.monotonic() + 60
        while time.monotonic() < until and running[-1].poll() is None:
            with socket.socket() as knock:
                if knock.connect_ex(("127.0.0.1", port)) == 0:
                    return f"http://127.0.0.1:{port}"
            time.sleep(0.1)
        raise AssertionError(Path(log.name).read_text()[-3000:])

    yield start
    for process in running:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def there(here, serve):
    tiny, folder = here
    return engine(serve("--logits_all", "true"), "tiny", folder, tiny.tokenizer)


def test_the_log_probabilities_are_those_of_transformers(here, there):
    tiny = here[0]
    ends = (tiny.tokenizer.eos_token_id,)
    prompts = [tiny.tokenizer(text)["input_ids"] for text in PROMPTS]
    written = there.complete(prompts, Ask(24, ends=ends, log_probs=True), seeds=range(len(prompts)))
    found = gap(tiny.model, prompts, written)
    print(f"\n{found}")
    assert found.tokens > 50
    assert found.largest < 0.02


def test_greedy_answers_are_those_of_transformers(here, there):
    tiny = here[0]
    ask = Ask(24, temperature=0.0, ends=(tiny.tokenizer.eos_token_id,))
    assert [one.tokens for one in there.complete(PROMPTS, ask)] == [
        one.tokens for one in tiny.complete(PROMPTS, ask)
    ]


def test_what_it_samples_is_the_model_s_own_distribution(here, there):
    """No sampler of the server's own is left on: first tokens are as frequent as they are probable."""
    import torch
    from scipy.stats import chisquare

    tiny, n = here[0], 600
    prompt = tiny.tokenizer("Why")["input_ids"]
    made = there.complete([prompt] * n, Ask(1), seeds=range(n))
    with torch.inference_mode():
        probable = tiny.model(input_ids=torch.tensor([prompt])).logits[0, -1].double().softmax(-1).numpy()
    counts = np.bincount([one.tokens[0] for one in made if one.tokens], minlength=len(probable))
    shown = np.array([p for i, p in enumerate(probable) if i != tiny.tokenizer.eos_token_id])
    counts = np.delete(counts, tiny.tokenizer.eos_token_id)
    often = shown * counts.sum() / shown.sum() >= 5
    expected = np.append(shown[often], shown[~often].sum())
    seen = np.append(counts[often], counts[~often].sum())
    assert chisquare(seen, expected / expected.sum() * seen.sum()).pvalue > 0.001


def test_vectors_are_those_of_transformers(here, serve):
    import torch

    tiny = here[0]
    found = Embeddings(serve("--embedding", "true")).encode(PROMPTS)
    for text, vector in zip(PROMPTS, found, strict=True):
        with torch.inference_mode():
            states = tiny.model.model(
                input_ids=torch.tensor([tiny.tokenizer(text)["input_ids"]])
            ).last_hidden_state
        ours = states[0].mean(0).numpy()
        cosine = ours @ vector / np.linalg.norm(ours) / np.linalg.norm(vector)
        assert cosine == pytest.approx(1, abs=1e-4)
