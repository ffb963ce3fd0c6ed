"""A run, a model and a device by a word."""

import os

import pytest

from harness.errors import UsageError
from harness.tools import device_of, fetched, finished, run_folder
from tests.records import write_run


@pytest.fixture
def results(tmp_path):
    for number, key in enumerate(["alpha/ab12", "alpha/ab34", "beta/cd56"]):
        folder = tmp_path / "runs" / "paper" / key
        folder.mkdir(parents=True)
        (folder / "result.json").write_text("{}")
        os.utime(folder / "result.json", (number, number))
    return tmp_path


@pytest.mark.parametrize(("word", "meant"), [("alpha", "ab34"), ("beta", "cd56"), ("ab1", "ab12")])
def test_a_method_means_its_latest_run_and_digits_the_run_whose_key_begins_so(results, word, meant):
    assert run_folder("paper", word, results).name == meant


def test_a_folder_means_itself(results):
    assert run_folder("paper", str(results), results) == results


def test_no_run_and_several_are_refused_with_what_to_do(results):
    with pytest.raises(UsageError, match="2 runs begin so: give more digits"):
        run_folder("paper", "ab", results)
    with pytest.raises(UsageError, match="check the spelling"):
        run_folder("other", "ab", results)


def test_only_a_finished_run_of_the_paper_is_taken(tmp_path):
    record = write_run(tmp_path, "a", 0, {"accuracy": 0.5}, paper="mine")
    assert finished(record.folder, "mine").run_key == record.result.run_key
    with pytest.raises(UsageError, match="is no finished run of other: give results/runs/other/"):
        finished(record.folder, "other")


def test_a_model_in_a_folder_is_that_folder(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert fetched(str(tmp_path), tmp_path / "results").path == tmp_path


def test_a_word_means_a_device_of_this_machine():
    assert device_of("cpu") == "cpu"
    with pytest.raises(UsageError, match="not on this machine"):
        device_of("cuda:99" if device_of("auto") == "cpu" else "tpu")
