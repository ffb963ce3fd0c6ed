"""The GPU check is a plain command: it can be tried here, on the CPU, part by part."""

import argparse
import json
import os

import pytest

from benchmarks import gpu_check


def test_parts_are_named_once_and_take_no_more_than_a_quarter_of_an_hour_in_all():
    parts = gpu_check.parts()
    assert len({part.name for part in parts}) == len(parts)
    assert {part.name.partition(":")[0] for part in parts} == {
        "machine", "bf16", "flex", "speed", "contract", "small",
    }  # fmt: skip
    assert {part.name for part in parts if part.name.startswith("contract:")} == {
        f"contract:{folder.name}" for folder in gpu_check.PLUGINS
    }
    assert set(gpu_check.SMALL) == {folder.name for folder in gpu_check.PLUGINS}


def test_a_part_that_is_unknown_is_named(capsys):
    assert gpu_check.main(["--parts", "flux"]) == 2
    assert "no part begins with 'flux'" in capsys.readouterr().err


def test_a_part_is_skipped_by_the_names_of_what_it_lacks():
    asked = argparse.Namespace(device="cpu", toy=True)
    part = gpu_check.Part("x", ("json", "no_such_library"), 5, lambda device, toy: {})
    assert gpu_check.answer(part, asked, dict(os.environ), 5) == {
        "outcome": "skipped", "why": "lacks no_such_library",
    }  # fmt: skip


@pytest.mark.slow
def test_parts_are_asked_in_processes_of_their_own_and_once(tmp_path, capsys):
    results = tmp_path / "gpu-check.json"
    words = ["--device", "cpu", "--toy", "--parts", "machine,flex,small:magpie", "--results", str(results)]
    assert gpu_check.main(words) == 0
    found = json.loads(results.read_text())["parts"]
    assert found["machine"]["outcome"] == "ok"
    assert found["flex"]["found"]["losses_apart"] < 1e-5  # the formula is the bias matrix's
    assert found["small:magpie"]["why"].startswith("lacks the weights of SmolLM2")
    assert gpu_check.main(words) == 0
    assert capsys.readouterr().out.count("asked before") == 2
