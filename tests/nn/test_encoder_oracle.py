"""Any folder gives the vectors that sentence-transformers gives for it: twenty families, every module, random weights.

The oracle is the library itself on the same folder, each text alone: with padding on the left and learned positions
its vectors depend on what else is in the batch.
"""

import json

import numpy as np
import pytest
import torch

from harness.errors import UsageError
from harness.nn.encoder import POOLINGS, Encoder, StaticEmbedding, dense, load_encoder
from harness.nn.encoder.library import Library

pytestmark = pytest.mark.oracle

TEXTS = [
    "a cat sat",
    "dogs bark at the cat on the mat",
    "한국어 문장도 있다",
    "두 줄\n그리고 😀",
    "a",
    "the mat " * 60,
    "a cat sat",
]
SMALL = {
    "vocab_size": 400,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}
CAUSAL = {**SMALL, "num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 4}
EIGHT = {**CAUSAL, "head_dim": 8}
ROBERTA = {**SMALL, "pad_token_id": 1, "max_position_embeddings": 66}
GPT2 = {"vocab_size": 400, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
T5 = {"vocab_size": 400, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
BART = {
    "vocab_size": 400,
    "d_model": 32,
    **{f"{side}_layers": 2 for side in ("encoder", "decoder")},
    **{f"{side}_attention_heads": 4 for side in ("encoder", "decoder")},
    **{f"{side}_ffn_dim": 48 for side in ("encoder", "decoder")},
    "max_position_embeddings": 64,
}
DISTIL = {
    "vocab_size": 400,
    "dim": 32,
    "n_layers": 2,
    "n_heads": 4,
    "hidden_dim": 48,
    "max_position_embeddings": 64,
}
MODERN = {
    **SMALL,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "cls_token_id": 1,
    "sep_token_id": 2,
}
FAMILIES = {
    "bert": ("BertModel", "BertConfig", SMALL),
    "bert-classifier": ("BertForSequenceClassification", "BertConfig", SMALL),
    "electra": ("ElectraModel", "ElectraConfig", {**SMALL, "embedding_size": 16}),
    "distilbert": ("DistilBertModel", "DistilBertConfig", DISTIL),
    "albert": ("AlbertModel", "AlbertConfig", {**SMALL, "embedding_size": 16}),
    "deberta-v2": ("DebertaV2Model", "DebertaV2Config", {**SMALL, "relative_attention": True}),
    "modernbert": ("ModernBertModel", "ModernBertConfig", MODERN),
    "mpnet": ("MPNetModel", "MPNetConfig", ROBERTA),
    "roberta": ("RobertaModel", "RobertaConfig", ROBERTA),
    "xlm-roberta": ("XLMRobertaModel", "XLMRobertaConfig", ROBERTA),
    "t5-encoder": ("T5EncoderModel", "T5Config", T5),
    "t5": ("T5ForConditionalGeneration", "T5Config", T5),
    "bart": ("BartForConditionalGeneration", "BartConfig", BART),
    "bart-base": ("BartModel", "BartConfig", BART),
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", GPT2),
    "gpt2-base": ("GPT2Model", "GPT2Config", GPT2),
    "llama": ("LlamaForCausalLM", "LlamaConfig", CAUSAL),
    "llama-base": ("LlamaModel", "LlamaConfig", CAUSAL),
    "qwen2": ("Qwen2ForCausalLM", "Qwen2Config", CAUSAL),
    "qwen3": ("Qwen3ForCausalLM", "Qwen3Config", EIGHT),
    "gemma": ("GemmaForCausalLM", "GemmaConfig", EIGHT),
    "gemma-2": ("Gemma2ForCausalLM", "Gemma2Config", EIGHT),
}


def tokenizer(**special):
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE(unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel()
    names = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "<eos>"]
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=names,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(TEXTS, trainer)
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    given = {
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "eos_token": "<eos>",
        "model_max_length": 64,
        **special,
    }
    return PreTrainedTokenizerFast(tokenizer_object=inner, **given)


def saved(home, family, **special):
    """Write a random model of a family, with a tokenizer."""
    import transformers

    kind, config, sizes = FAMILIES[family]
    torch.manual_seed(0)
    getattr(transformers, kind)(getattr(transformers, config)(**sizes)).save_pretrained(home)
    tokenizer(**special).save_pretrained(home)
    return home


def oracle(home, **options):
    from sentence_transformers import SentenceTransformer

    options = {"device": "cpu", "local_files_only": True, "model_kwargs": {"dtype": torch.float32}, **options}
    return SentenceTransformer(str(home), **options)


def same(home, atol=1e-6, **options):
    """Assert that `load_encoder` gives the library's vectors; return the encoder."""
    theirs = oracle(home)
    expected = np.concatenate([theirs.encode([text]) for text in TEXTS])
    ours = load_encoder(home, **options)
    found = ours.encode(TEXTS)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=atol * max(1, np.abs(expected).max()))
    return ours


@pytest.mark.parametrize("family", FAMILIES)
def test_a_plain_folder_of_any_family_gives_the_library_s_vectors(tmp_path, family):
    same(saved(tmp_path, family))


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama", "bart", "qwen2"])
def test_neither_the_padding_side_nor_a_missing_padding_token_counts(tmp_path, family):
    left = saved(tmp_path / "left", family, padding_side="left")
    same(left)
    none = saved(tmp_path / "none", family, pad_token=None, padding_side="left")
    np.testing.assert_allclose(load_encoder(none).encode(TEXTS), load_encoder(left).encode(TEXTS), atol=1e-6)


def test_a_chat_template_stands_around_each_text_as_in_the_library(tmp_path):
    template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    home = saved(tmp_path, "llama", chat_template=template)
    assert isinstance(same(home), Library)


def assembled(folder, home, *modules, **options):
    """Write a SentenceTransformer of a plain folder and modules over it."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer

    torch.manual_seed(1)
    SentenceTransformer(
        modules=[Transformer(str(folder)), *modules], device="cpu", **options
    ).save_pretrained(str(home))
    return home


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    home = tmp_path_factory.mktemp("plain")
    return {
        family: saved(home / family, family) for family in ("bert", "roberta", "qwen2", "gpt2", "t5-encoder")
    }


MODES = [*POOLINGS, ("mean", "max"), ("max", "cls", "lasttoken")]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("family", ["bert", "qwen2"])
def test_every_pooling_and_joined_ones(plain, tmp_path, family, mode):
    from sentence_transformers.sentence_transformer.modules import Pooling

    home = assembled(plain[family], tmp_path / "st", Pooling(32, pooling_mode=mode))
    ours = same(home)
    assert type(ours) is Encoder
    ours.save(tmp_path / "again")
    np.testing.assert_allclose(oracle(tmp_path / "again").encode(TEXTS), ours.encode(TEXTS), atol=1e-6)


def orders():
    from sentence_transformers.base.modules import Dense, Normalize
    from sentence_transformers.sentence_transformer.modules import CNN, Dropout, LayerNorm, Pooling

    mean, four = Pooling(32, "mean"), Dense(32, 8)
    return {
        "dropout": [mean, Dropout(0.5), four],
        "normalize, dense": [mean, Normalize(), four],
        "dense, normalize, dense, normalize": [mean, four, Normalize(), Dense(8, 4), Normalize()],
        "two dense": [mean, four, Dense(8, 4, activation_function=torch.nn.Identity())],
        "dense of another activation": [mean, Dense(32, 8, activation_function=torch.nn.SiLU())],
        "dense with a residual": [mean, Dense(32, 8, use_residual=True)],
        "layer norm": [mean, LayerNorm(32)],
        "cnn": [CNN(32, 8), Pooling(24, "mean")],
        "tokens through a dense layer": [
            Dense(32, 8, module_input_name="token_embeddings", module_output_name="token_embeddings"),
            Pooling(8, "mean"),
        ],
    }


@pytest.mark.parametrize("name", orders())
def test_the_modules_count_in_the_file_s_order(plain, tmp_path, name):
    same(assembled(plain["bert"], tmp_path / "st", *orders()[name]))


@pytest.mark.parametrize("family", ["bert", "roberta", "qwen2", "t5-encoder"])
@pytest.mark.parametrize("include", [True, False])
def test_a_default_prompt_and_truncate_dim_are_obeyed(plain, tmp_path, family, include):
    from sentence_transformers.sentence_transformer.modules import Pooling

    prompts = {"query": "the dogs: ", "passage": "mat "}
    pooling = Pooling(32, "mean", include_prompt=include)
    home = assembled(
        plain[family], tmp_path / "st", pooling, prompts=prompts, default_prompt_name="query", truncate_dim=12
    )
    same(home)
    theirs = oracle(home)
    for ours, given in (
        ("passage", {"prompt_name": "passage"}),
        ("", {"prompt": ""}),
        ("on ", {"prompt": "on "}),
    ):
        found = load_encoder(home, prompt=ours).encode(TEXTS)
        expected = np.concatenate([theirs.encode([text], **given) for text in TEXTS])
        np.testing.assert_allclose(found, expected, atol=1e-6)
    if include:
        load_encoder(home).save(tmp_path / "again")
        same(tmp_path / "again")


def test_a_default_prompt_that_the_folder_lacks_is_refused(plain, tmp_path):
    from sentence_transformers.sentence_transformer.modules import Pooling

    home = assembled(plain["bert"], tmp_path / "st", Pooling(32))
    said = json.loads((home / "config_sentence_transformers.json").read_text())
    (home / "config_sentence_transformers.json").write_text(
        json.dumps({**said, "default_prompt_name": "qurey"})
    )
    with pytest.raises(UsageError, match=r"default prompt 'qurey'.*'query'"):
        load_encoder(home)


def test_more_tokens_than_positions_are_never_read(plain, tmp_path):
    from sentence_transformers.sentence_transformer.modules import Pooling

    home = assembled(plain["roberta"], tmp_path / "st", Pooling(32))
    about = home / "sentence_bert_config.json"
    about.write_text(json.dumps({**json.loads(about.read_text()), "max_seq_length": 66}))
    assert load_encoder(home).max_length == 64
    assert np.isfinite(load_encoder(home).encode(TEXTS)).all()


def test_code_that_a_folder_brings_runs_only_where_it_is_trusted(plain, tmp_path):
    from sentence_transformers.sentence_transformer.modules import Pooling

    home = assembled(plain["bert"], tmp_path / "st", Pooling(32))
    (home / "theirs.py").write_text(
        "import torch\n\n\nclass Twice(torch.nn.Module):\n"
        "    def forward(self, features):\n"
        "        features['sentence_embedding'] = 2 * features['sentence_embedding']\n"
        "        return features\n\n"
        "    def save(self, *a, **k):\n        pass\n\n"
        "    @staticmethod\n    def load(path):\n        return Twice()\n"
    )
    modules = json.loads((home / "modules.json").read_text())
    modules.append({"idx": 2, "name": "2", "path": "2_Twice", "type": "theirs.Twice"})
    (home / "modules.json").write_text(json.dumps(modules))
    (home / "2_Twice").mkdir()
    with pytest.raises(UsageError, match=r"theirs\.Twice, which brings its own code"):
        load_encoder(home)
    theirs = oracle(home, trust_remote_code=True).encode(TEXTS)
    np.testing.assert_allclose(load_encoder(home, trust_remote_code=True).encode(TEXTS), theirs, atol=1e-6)


LONG = "the dogs bark at a cat " * 50  # 300 tokens and more


@pytest.mark.parametrize("kind", ["words", "t5-encoder"])
def test_a_saved_folder_reads_as_far_as_the_judge_did(plain, tmp_path, kind):
    own = tokenizer()
    own.backend_tokenizer.enable_truncation(16)
    own.backend_tokenizer.enable_padding(length=16)
    if kind == "words":
        made = Encoder(StaticEmbedding(torch.randn(400, 8)), own, head=torch.nn.Sequential(dense(8, 4)))
    else:
        own.model_max_length = 16
        made = Encoder(load_encoder(plain[kind]).model, own, "mean", max_length=400)
    made.eval()
    assert made.count([LONG])[0] > 300
    made.encode([LONG])
    made.save(tmp_path / "out")
    for text in (LONG, "a", "the cat"):
        expected = made.encode([text])
        np.testing.assert_allclose(oracle(tmp_path / "out").encode([text]), expected, atol=1e-6)
        np.testing.assert_allclose(load_encoder(tmp_path / "out").encode([text]), expected, atol=1e-6)


def test_word_vectors_that_their_tokenizer_cuts_are_cut_as_in_the_library(tmp_path):
    Encoder(StaticEmbedding(torch.randn(400, 8)), tokenizer()).save(tmp_path)
    path = tmp_path / "0_StaticEmbedding" / "tokenizer.json"
    cut = json.loads(path.read_text())
    cut["truncation"] = {"direction": "Right", "max_length": 5, "strategy": "LongestFirst", "stride": 0}
    path.write_text(json.dumps(cut))
    assert same(tmp_path).max_length == 5


def test_the_count_of_tokens_is_what_the_model_would_read_uncut(plain, tmp_path):
    template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    for home in (plain["bert"], saved(tmp_path, "llama", chat_template=template)):
        encoder = load_encoder(home, prompt="the mat ")
        whole = oracle(home).preprocess(
            TEXTS, prompt="the mat ", processing_kwargs={"text": {"truncation": False}}
        )
        assert encoder.count(TEXTS) == whole["attention_mask"].sum(1).tolist()
        assert encoder.count([LONG])[0] > encoder.max_length == 64
