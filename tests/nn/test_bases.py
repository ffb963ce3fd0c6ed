"""A model's source as a folder: unpacked where it is a GGUF file, once, and as it is otherwise."""

from types import SimpleNamespace

import pytest
import torch

from harness.data.sources import resolve_model
from harness.errors import UsageError
from harness.nn import Decoder, DecoderConfig
from harness.nn.bases import config_of, folder_of, tokenizer_of
from harness.runs.run import Run
from harness.runs.stages import stage
from tests.nn.test_gguf import tiny  # noqa: F401  (a fixture)


def run_of(tmp_path, model):
    folders = dict.fromkeys(("data_dir", "output_dir", "folder"), tmp_path)
    plain = {"budget": "small", "seed": 0, "device": "cpu", "precision": "float32"}
    return Run("p", "m", None, None, {}, model, **plain, **folders, stages_dir=tmp_path / "stages")


def test_a_folder_is_itself_and_asks_for_no_stage(tmp_path):
    Decoder(DecoderConfig(vocab_size=5, width=8, layers=1, heads=2)).save_pretrained(tmp_path / "model")
    source = resolve_model(str(tmp_path / "model"), cache=tmp_path)
    assert folder_of(source, None) == tmp_path / "model" == run_of(tmp_path, source).base()


def test_a_gguf_file_is_unpacked_once_and_its_tokenizer_is_the_folders(tiny, tmp_path):  # noqa: F811
    from transformers import AutoConfig, AutoTokenizer

    source = resolve_model(str(tiny), cache=tmp_path)
    made = []

    def counted(name, inputs, make):
        made.append(stage(tmp_path, name, inputs, make))
        return made[-1]

    folder = folder_of(source, counted)
    first = (folder / "model.safetensors").stat()
    assert folder_of(source, counted) == folder
    assert (folder / "model.safetensors").stat() == first
    words = "ab ba"
    assert tokenizer_of(source)(words) == AutoTokenizer.from_pretrained(folder)(words)
    assert config_of(source).vocab_size == AutoConfig.from_pretrained(folder).vocab_size
    assert run_of(tmp_path, source).base().name.startswith("p-unpacked-")


def test_without_a_model_the_papers_own_is_made_once_for_the_same_inputs(tmp_path):
    run, made = run_of(tmp_path, None), []

    def make(folder):
        made.append(folder)
        Decoder(DecoderConfig(vocab_size=5, width=8, layers=1, heads=2)).save_pretrained(folder)

    first = run.base(make, {"width": 8})
    assert first == run.base(make, {"width": 8}) != run.base(make, {"width": 9})
    assert len(made) == 2
    assert isinstance(Decoder.from_pretrained(first), torch.nn.Module)


def test_a_paper_without_a_small_model_asks_for_one(tmp_path):
    with pytest.raises(UsageError, match="add model="):
        run_of(tmp_path, None).base()


def test_a_decoder_takes_its_size_from_the_task():
    task = SimpleNamespace(width=8, layers=1, heads=2, length=9, dropout=0.1, steps=5, position="ignored")
    config = Decoder.of(task, 5, position="rotary", dropout=0.2).config
    assert (config.width, config.layers, config.heads, config.length) == (8, 1, 2, 9)
    assert (config.feedforward, config.dropout, config.vocab_size, config.position) == (32, 0.2, 5, "rotary")


def test_a_decoder_takes_of_a_task_with_a_small_base_only_that():
    task = SimpleNamespace(base_width=8, base_layers=1, base_heads=2, length=9, width=64)
    config = Decoder.of(task, 5, "base_", position="learned", length=7).config
    assert (config.width, config.feedforward, config.length) == (8, 32, 7)


def test_a_small_model_is_trained_where_prepare_left_its_text(tmp_path):
    from harness.data.sources import Document
    from harness.data.tokens import small_text
    from harness.nn.bases import load_model

    run = run_of(tmp_path, None)
    sizes = {"base_width": 8, "base_layers": 1, "base_heads": 2, "base_length": 8}
    run.task = SimpleNamespace(**sizes, base_batch_size=2, base_steps=3, base_learning_rate=1e-2, steps=1)
    tokenizer = small_text([Document("one", "abc " * 20)], tmp_path)
    folder = run.base()
    assert load_model(folder).config.vocab_size == len(tokenizer)
    before = (folder / "model.safetensors").stat()
    run.task.steps = 2  # not the base's
    assert run.base() == folder
    assert (folder / "model.safetensors").stat() == before
    run.task.base_steps = 4
    assert run.base() != folder


def test_a_run_writes_with_its_own_seed(tmp_path):
    from harness.nn.generate import generate

    model = Decoder(DecoderConfig(vocab_size=9, width=8, layers=1, heads=2)).eval()
    run = run_of(tmp_path, None)
    run.seed = 3
    wanted = generate(model, [[1, 2], [3]], max_new_tokens=6, seed=3)
    assert run.generate(model, [[1, 2], [3]], max_new_tokens=6) == wanted
    assert run.generate(model, [[1, 2], [3]], max_new_tokens=6, seed=4) != wanted
