"""What is listed can be copied: names are whole in a narrow terminal, and a grid that is being tried is told."""

import json
from pathlib import Path

import pytest

from harness.commands.listing import show_papers, show_status
from harness.contract.statements import SUMMARY, TEMPLATE
from harness.errors import nearest
from harness.papers.plugins import load_all
from harness.runs.files import write_json
from tests.records import write_run

ROOT = Path(__file__).parents[2]


def test_papers_cuts_no_name_at_eighty_columns(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    show_papers(verbose=True, as_json=False)
    words = capsys.readouterr().out.split()
    assert {f"method={p.name}/{m}" for p in load_all() if p.paper for m in p.paper.methods} <= set(words)


def test_of_many_names_the_nearest_few_are_told():
    names = [f"paper/{letter * 3}{i}" for letter in "abcdefgh" for i in range(10)]
    said = nearest("zzz", names)
    assert said.startswith("the nearest of 80: ")
    assert said.count(",") == 4
    assert nearest("paper/aaa00", names) == "did you mean 'paper/aaa0'?"
    assert nearest("zzz", names[:3]) == "known: paper/aaa0, paper/aaa1, paper/aaa2"


def status(results, capsys) -> str:
    show_status("", results, as_json=False)
    return capsys.readouterr().out


def point(results, method: str, seed: int, progress: float = 0.0):
    """A setting of a grid: finished, or killed on its way."""
    written = write_run(results / "elsewhere", method, seed, {"accuracy": 0.5}).folder
    folder = results / "tuning" / "toy" / method / written.name
    folder.parent.mkdir(parents=True, exist_ok=True)
    written.rename(folder)
    if progress:
        (folder / "result.json").unlink()
        write_json(folder / "progress.json", {"done": progress, "total": 1.0, "seed": seed})


def test_a_grid_in_progress_is_shown_until_its_method_has_run(tmp_path, capsys):
    write_run(tmp_path, "plain", 0, {"accuracy": 0.5})
    point(tmp_path, "toy", 0)
    point(tmp_path, "toy", 1, progress=0.4)
    point(tmp_path, "plain", 0)
    said = status(tmp_path, capsys)
    assert "tuning toy/toy: 1 of 2 settings begun are done; interrupted 40%" in said
    assert "tuning toy/plain" not in said
    show_status("", tmp_path, as_json=True)
    rows = json.loads(capsys.readouterr().out)
    assert [(row["method"], row["tuning"]) for row in rows] == [
        ("plain", False),
        ("toy", True),
        ("toy", True),
    ]
    assert sorted(row["state"] for row in rows if row["tuning"]) == ["finished", "interrupted"]


def test_a_grid_alone_is_shown_too(tmp_path, capsys):
    point(tmp_path, "toy", 0)
    assert "tuning toy/toy: 1 of 1 settings begun are done" in status(tmp_path, capsys)


@pytest.mark.parametrize("words", [*TEMPLATE, SUMMARY])
def test_the_words_that_the_kit_looks_for_are_the_templates(words):
    package = ROOT / "harness" / "commands" / "template" / "package"
    assert any(words in (package / name).read_text() for name in ("README.md.jinja", "pyproject.toml.jinja"))


def test_overlays_are_not_offered_as_a_choice():
    from hydra.core.object_type import ObjectType

    from harness.sweeps.choices import Choices, offer

    offer(load_all())
    source = Choices("harness", "papers://")
    assert "overlay" not in source.list("", ObjectType.GROUP)
    assert source.list("overlay/alibi/alibi", ObjectType.CONFIG) == ["full", "small", "smoke"]
