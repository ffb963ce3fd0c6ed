"""The base of an adapter: what of it is new, which one it is, and what a merged folder takes over from it."""

import json
import shutil

import peft
import pytest
import torch
import transformers
from harness_lora import LoraConfig, inject, load_adapter, parameter_counts, save_adapter
from harness_lora.adapter import fingerprint, read_config
from harness_lora.forms import FORMS, convert, inspect, read
from harness_lora.heads import head_names, new_names
from lora_families import ENCODERS, folder_of, loaded, logits, trained, whole_folder_of
from safetensors import safe_open
from typer.testing import CliRunner

from harness.cli import _app
from harness.errors import UsageError


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("bases")


NEW = {
    "bert": ["classifier", "bert.pooler"],
    "roberta": ["classifier"],
    "distilbert": ["pre_classifier", "classifier"],
    "deberta-v2": ["pooler", "classifier"],
    "electra": ["classifier"],
    "albert": ["classifier", "albert.pooler"],
    "bart-classifier": ["classification_head"],
    "llama-classifier": ["score"],
}


@pytest.mark.parametrize("name", NEW)
def test_what_was_not_in_the_checkpoint_is_a_head_and_trained_whole(name, home):
    model = loaded(name, folder_of(name, home))
    assert head_names(model) == NEW[name]
    reported = type(model).from_pretrained(folder_of(name, home), num_labels=3, output_loading_info=True)[1][
        "missing_keys"
    ]
    assert new_names(model) == reported
    inject(model, LoraConfig(rank=2))
    assert reported <= {n for n, p in model.named_parameters() if p.requires_grad}
    assert parameter_counts(model)["head"] == sum(model.get_parameter(n).numel() for n in reported)


@pytest.mark.parametrize("name", ["bert", "distilbert", "deberta"])
def test_a_base_has_one_fingerprint_whatever_its_new_head_was_drawn_as(name, home):
    torch.manual_seed(1)
    first = loaded(name, folder_of(name, home))
    torch.manual_seed(2)
    second = loaded(name, folder_of(name, home), labels=5)
    assert fingerprint(first) == fingerprint(second) != fingerprint(loaded(name, whole_folder_of(name, home)))


def test_a_model_that_was_not_loaded_and_one_read_whole_have_nothing_new(home):
    assert (
        new_names(transformers.BertForSequenceClassification(transformers.BertConfig(**ENCODERS["bert"][1])))
        == set()
    )
    assert new_names(loaded("bert", whole_folder_of("bert", home))) == set()
    assert new_names(loaded("llama-tied", folder_of("llama-tied", home))) == set()


def test_no_head_on_purpose_is_none_here_and_none_in_peft(home, tmp_path):
    folder = whole_folder_of("roberta", home)
    ours = trained(inject(loaded("roberta", folder), LoraConfig(rank=2, heads=())))
    assert parameter_counts(ours)["head"] == 0
    save_adapter(ours, tmp_path / "ad")
    assert read_config(tmp_path / "ad")["task_type"] is None  # with SEQ_CLS PEFT wants a head in the file
    theirs = peft.PeftModel.from_pretrained(loaded("roberta", folder), tmp_path / "ad").eval()
    torch.testing.assert_close(logits(theirs), logits(ours), rtol=0, atol=1e-5)
    convert(tmp_path / "ad", "merged", tmp_path / "merged")
    torch.testing.assert_close(logits(read(tmp_path / "merged")), logits(ours), rtol=0, atol=1e-5)


@pytest.mark.parametrize("heads", [("lm_head",), ("embed_tokens",), ("embed_tokens", "lm_head")])
def test_a_head_that_was_tied_gets_a_matrix_of_its_own(heads, home, tmp_path):
    folder = folder_of("llama-tied", home)
    ours = trained(inject(loaded("llama-tied", folder), LoraConfig(rank=2, targets=("q_proj",), heads=heads)))
    base = loaded("llama-tied", folder)
    for name, module in (("lm_head", ours.lm_head), ("embed_tokens", ours.model.embed_tokens)):
        assert torch.equal(module.weight, base.lm_head.weight) == (name not in heads)
    want = logits(ours)
    theirs = peft.PeftModel.from_pretrained(base, save_adapter(ours, tmp_path / "ad")).eval()
    torch.testing.assert_close(logits(theirs), want, rtol=0, atol=1e-5)
    for form in FORMS:
        convert(tmp_path / "ad", form, tmp_path / form)
        torch.testing.assert_close(logits(read(tmp_path / form)), want, rtol=0, atol=1e-5)
    said = json.loads((tmp_path / "merged" / "config.json").read_text())
    assert said["tie_word_embeddings"] is False


@pytest.mark.parametrize("name", ["distilbert", "bart-classifier", "llama-classifier"])
def test_labels_and_their_names_come_with_the_adapter(name, home, tmp_path):
    names = {0: "down", 1: "even", 2: "up"}
    model = loaded(name, folder_of(name, home))
    model.config.id2label, model.config.label2id = names, {text: n for n, text in names.items()}
    save_adapter(trained(inject(model, LoraConfig(rank=2))), tmp_path / "ours")
    convert(tmp_path / "ours", "merged", tmp_path / "merged")
    assert read(tmp_path / "merged").config.id2label == names
    model = loaded(name, folder_of(name, home), labels=4)
    settings = {"target_modules": "all-linear", "task_type": "SEQ_CLS", "modules_to_save": NEW[name]}
    if name != "distilbert":  # on which PEFT fails
        peft.get_peft_model(model, peft.LoraConfig(**settings)).save_pretrained(tmp_path / "theirs")
        assert read(tmp_path / "theirs").config.num_labels == 4


def by_peft(folder, out, **settings):
    model = loaded("llama", folder)
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM", **settings)
    peft.get_peft_model(model, config).save_pretrained(out)
    return out


def test_an_adapter_of_peft_is_refused_by_the_weights_of_the_folder_that_it_names(
    home, tmp_path, monkeypatch
):
    folder, other = folder_of("llama", home), folder_of("qwen2", home)
    adapter = by_peft(folder, tmp_path / "ad")
    for wrong in (loaded("qwen2", other), transformers.LlamaForCausalLM(loaded("llama", folder).config)):
        wrong.config._name_or_path = str(other)
        with pytest.raises(UsageError, match=r"llama \(weights .*and this is"):
            load_adapter(wrong, adapter)
    moved = shutil.copytree(folder, tmp_path / "moved")
    load_adapter(loaded("llama", moved), adapter)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(
        _app(["lora"]), ["lora", "convert", "ad", "--to", "merged", "--base", str(other)]
    )
    assert "and this is" in str(done.exception)
    assert not (tmp_path / "ad-merged").exists()
    done = CliRunner().invoke(
        _app(["lora"]), ["lora", "convert", "ad", "--to", "merged", "--base", str(moved)]
    )
    assert done.exit_code == 0, done.output


def test_a_base_that_is_not_there_is_called_a_folder_where_it_is_a_path(home, tmp_path):
    folder = shutil.copytree(folder_of("llama", home), tmp_path / "gone")
    adapter = by_peft(folder, tmp_path / "ad")
    shutil.rmtree(folder)
    with pytest.raises(UsageError, match=r"there is no folder .*gone.*--base"):
        read(adapter)
    with pytest.raises(UsageError, match="llamb"):
        read(adapter, base=str(home / "llamb"))


def tiny_gguf(path):
    """Write a Llama of one layer and random weights, with a tokenizer of bytes, as GGUF."""
    import numpy as np
    from tokenizers.pre_tokenizers import ByteLevel

    writer = pytest.importorskip("gguf").GGUFWriter(path, "llama")
    draw, tokens = np.random.default_rng(0), [*sorted(ByteLevel.alphabet()), "ab", "<s>", "</s>"]
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_block_count(1)
    writer.add_feed_forward_length(64)
    writer.add_head_count(4)
    writer.add_head_count_kv(4)
    writer.add_rope_dimension_count(8)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([1] * (len(tokens) - 2) + [3, 3])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(len(tokens) - 2)
    writer.add_eos_token_id(len(tokens) - 1)
    square, wide, high = (32, 32), (64, 32), (32, 64)
    sizes = {"token_embd": (len(tokens), 32), "output": (len(tokens), 32), "output_norm": (32,)} | {
        f"blk.0.{name}": shape
        for name, shape in {
            "attn_q": square, "attn_k": square, "attn_v": square, "attn_output": square, "ffn_gate": wide,
            "ffn_up": wide, "ffn_down": high, "attn_norm": (32,), "ffn_norm": (32,),
        }.items()
    }  # fmt: skip
    for name, shape in sizes.items():
        writer.add_tensor(f"{name}.weight", draw.normal(0, 0.1, shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_gguf_file_serves_as_a_base(tmp_path, monkeypatch):
    from harness.nn.gguf import unpack

    monkeypatch.chdir(tmp_path)
    gguf = tiny_gguf(tmp_path / "tiny.gguf")
    unpack(gguf, tmp_path / "base")
    ours = trained(inject(read(tmp_path / "base"), LoraConfig(rank=2)))
    want = logits(ours)
    save_adapter(ours, tmp_path / "ad")
    shutil.rmtree(tmp_path / "base")
    words = ["lora", "convert", "ad", "--to", "merged", "--base", "tiny.gguf"]
    done = CliRunner().invoke(_app(["lora"]), words)
    assert done.exit_code == 0, done.exception
    torch.testing.assert_close(logits(read(tmp_path / "ad-merged")), want, rtol=0, atol=1e-5)
    assert transformers.AutoTokenizer.from_pretrained(tmp_path / "ad-merged")("ab")["input_ids"]
    done = CliRunner().invoke(_app(["lora"]), [*words[:-1], "tinny.gguf", "--out", "x"])
    assert isinstance(done.exception, UsageError)


def test_a_quantised_base_is_refused_by_name(home, tmp_path):
    folder = shutil.copytree(folder_of("llama", home), tmp_path / "four-bit")
    said = json.loads((folder / "config.json").read_text())
    said["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (folder / "config.json").write_text(json.dumps(said))
    adapter = by_peft(folder_of("llama", home), tmp_path / "ad")
    with pytest.raises(UsageError, match=r"quantised .bitsandbytes"):
        read(adapter, base=str(folder))
    model = torch.ao.quantization.quantize_dynamic(
        loaded("llama", folder_of("llama", home)), {torch.nn.Linear}
    )
    for targets in ("all-linear", ("q_proj",)):
        with pytest.raises(UsageError, match="is quantised"):
            inject(model, LoraConfig(targets=targets))


def test_fused_experts_are_left_alone_and_adapters_of_them_refused_by_name(tmp_path):
    from lora_families import GROUPED

    torch.manual_seed(0)
    config = transformers.MixtralConfig(**GROUPED, num_local_experts=2)
    transformers.MixtralForCausalLM(config).save_pretrained(tmp_path / "base")
    model = transformers.MixtralForCausalLM.from_pretrained(tmp_path / "base")
    with pytest.raises(UsageError, match="experts' matrices in one tensor"):
        inject(model, LoraConfig(targets=("w1",)))
    ours = trained(inject(model, LoraConfig(rank=2)))
    base = transformers.MixtralForCausalLM.from_pretrained(tmp_path / "base")
    theirs = peft.PeftModel.from_pretrained(base, save_adapter(ours, tmp_path / "ad")).eval()
    torch.testing.assert_close(logits(theirs), logits(ours), rtol=0, atol=1e-5)


TEMPLATE = "{% for m in messages %}<|{{ m['role'] }}|> {{ m['content'] }} {% endfor %}"


def tokenizer(folder, extra=0):
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {
        word: n for n, word in enumerate(["[UNK]", "[PAD]", "</s>", *(f"w{n}" for n in range(45 + extra))])
    }
    inner = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made = transformers.PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]", pad_token="[PAD]")
    made.chat_template = TEMPLATE
    made.save_pretrained(folder)


def test_a_merged_folder_has_all_of_the_tokenizer_and_the_type_of_its_base(home, tmp_path):
    folder = tmp_path / "base"
    transformers.LlamaForCausalLM.from_pretrained(
        folder_of("llama-tied", home), dtype=torch.bfloat16
    ).save_pretrained(folder)
    tokenizer(folder)
    more = (
        "added_tokens.json",
        "vocab.txt",
        "spm.model",
        "tokenizer.model",
        "merges.txt",
        "special_tokens_map.json",
    )
    for name in more:
        (folder / name).write_text("{}")
    (folder / "notes.txt").write_text("mine")
    model = trained(inject(read(folder), LoraConfig(rank=2)))
    want = logits(model)
    save_adapter(model, tmp_path / "ad")
    for out, dtype in (("merged", ""), ("float", "float32")):
        convert(tmp_path / "ad", "merged", tmp_path / out, dtype=dtype)
        with safe_open(tmp_path / out / "model.safetensors", "pt") as file:
            types = {file.get_tensor(name).dtype for name in file.keys()}  # noqa: SIM118
        assert types == {torch.float32 if dtype else torch.bfloat16}
    torch.testing.assert_close(logits(read(tmp_path / "float")), want, rtol=0, atol=1e-5)
    exact = read(tmp_path / "float").state_dict()
    for name, tensor in read(tmp_path / "merged").state_dict().items():
        assert torch.equal(tensor, exact[name].bfloat16().float()), name  # summed in float32, rounded once
    convert(tmp_path / "ad", "checkpoint", tmp_path / "checkpoint")
    convert(tmp_path / "checkpoint", "merged", tmp_path / "again")
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (
        tmp_path / "merged" / "model.safetensors"
    ).read_bytes()
    chat = [{"role": "user", "content": "w1"}]
    for out in ("merged", "again", "checkpoint"):
        there = transformers.AutoTokenizer.from_pretrained(tmp_path / out)
        assert there.apply_chat_template(chat, tokenize=False) == "<|user|> w1 "
        assert {p.name for p in folder.iterdir()} - {p.name for p in (tmp_path / out).iterdir()} == {
            "notes.txt"
        }


def test_a_tokenizer_beside_the_adapter_is_the_one_with_the_added_tokens(home, tmp_path):
    folder = shutil.copytree(folder_of("llama", home), tmp_path / "base")
    tokenizer(folder)
    model = loaded("llama", folder)
    model.resize_token_embeddings(50)
    peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(
        tmp_path / "ad"
    )
    tokenizer(tmp_path / "ad", extra=2)
    convert(tmp_path / "ad", "merged", tmp_path / "merged")
    assert len(transformers.AutoTokenizer.from_pretrained(tmp_path / "merged")) == 50
    assert transformers.AutoConfig.from_pretrained(tmp_path / "merged").vocab_size == 50


def test_inspect_counts_what_an_adapter_learns(home, tmp_path):
    for name, config in {
        "bert": LoraConfig(rank=2),
        "llama-tied": LoraConfig(rank=2, targets=("q_proj", "embed_tokens"), dora=True),
        "gpt2": LoraConfig(rank=2, tokens=(1, 4)),
    }.items():
        model = inject(loaded(name, folder_of(name, home)), config)
        save_adapter(model, tmp_path / name)
        counts, found = parameter_counts(model), inspect(tmp_path / name)
        for key in ("adapter", "head", "trainable"):
            assert found[f"{key}_parameters"] == counts[key], (name, key)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 4.5}, "rank=4.5 is not a whole number"),
        ({"rank": True}, "rank=True"),
        ({"rank": None}, "rank=None"),
        ({"alpha": "8"}, "alpha='8' is not a number"),
        ({"alpha": float("nan")}, "alpha=nan"),
        ({"dropout": 1.5}, "dropout=1.5 is not a share"),
        ({"dropout": "0.1"}, "dropout='0.1'"),
        ({"targets": ()}, "targets=.. is not something to adapt"),
        ({"targets": ""}, "targets='' is not"),
        ({"targets": ("q_proj", 3)}, "targets="),
        ({"heads": "classifier"}, "write .'classifier',."),
        ({"rslora": "no"}, "True or False"),
        ({"layers": (0,)}, "needs targets as a list"),
        ({"layers": ("0",), "targets": ("q_proj",)}, "whole numbers from 0"),
        ({"layers": (7,), "targets": ("q_proj",)}, "in other layers"),
        ({"exclude": "("}, "no regular expression"),
        ({"ranks": {"q_proj": 0}}, "whole numbers from 1"),
        ({"alphas": {"(": 2.0}}, "names or patterns"),
        ({"bias": "some"}, "none, all and lora_only"),
        ({"tokens": ("a",)}, "token numbers"),
        ({"tokens": (99,)}, "48 rows"),
        ({"heads": ("lm_hed",)}, "did you mean lm_head"),
    ],
)
def test_settings_that_cannot_be_meant_get_a_sentence(settings, message, home):
    with pytest.raises(UsageError, match=message):
        inject(loaded("llama", folder_of("llama", home)), LoraConfig(**settings))
