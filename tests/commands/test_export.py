"""`harness export` on real run folders of a paper: which runs, where to, and what is said."""

import json

import pytest

from harness.commands.export import FORMATS, show_export
from harness.errors import UsageError
from harness.papers.plugins import load
from tests.records import write_run

LENGTHS = {f"perplexity_{n}L": 20.0 + n for n in (1, 2, 4, 8, 16)}


@pytest.fixture
def results(tmp_path):
    """Two methods of ALiBi with three seeds each, as `run` writes them."""
    for name in ("alibi", "sinusoidal"):
        for seed in range(3):
            write_run(tmp_path, name, seed, {k: v + seed for k, v in LENGTHS.items()}, paper="alibi")
    return tmp_path


def files(results):
    reports = results / "reports"
    return sorted(path.relative_to(reports).as_posix() for path in reports.rglob("*") if path.is_file())


def test_every_format_that_fits_these_runs_is_written(results, capsys):
    for to in FORMATS.keys() - {"eval-results", "croissant"}:
        assert show_export(["alibi"], to, results, None) == 0
    printed = capsys.readouterr().out
    assert "6 files: " in printed
    assert "claims: " in printed
    assert {"claims.json", "card/alibi-alibi/README.md", "card/alibi-sinusoidal/README.md"} <= set(
        files(results)
    )


def test_runs_are_named_as_everywhere(results):
    show_export(["alibi/alibi"], "card", results, None)
    assert files(results) == ["card/alibi-alibi/README.md"]
    key = next((results / "runs" / "alibi" / "alibi").iterdir()).name
    show_export([key], "every-eval-ever", results, results / "reports" / "one")
    assert len(files(results)) == 2
    with pytest.raises(UsageError, match="names no run"):
        show_export(["alibi/rotary"], "card", results, None)
    with pytest.raises(UsageError, match="no paper 'alibu' is installed: did you mean 'alibi'"):
        show_export(["alibu"], "card", results, None)


def test_a_format_that_is_none_is_named_with_the_nearest(results):
    with pytest.raises(UsageError, match="did you mean 'croissant'"):
        show_export([], "croisant", results, None)


def test_json_names_the_files_and_out_the_place(results, capsys):
    show_export(["alibi"], "claims", results, results / "mine.json", True)
    assert json.loads(capsys.readouterr().out) == {"format": "claims", "files": [str(results / "mine.json")]}
    told = json.loads((results / "mine.json").read_text("utf-8"))
    assert len(told["papers"][0]["claims"]) == len(load("alibi").paper.claims)


def test_runs_that_failed_alone_leave_nothing_to_export(tmp_path):
    write_run(tmp_path, "alibi", 0, {}, paper="alibi", error={"type": "memory", "message": "too much"})
    for to in ("every-eval-ever", "card", "croissant"):
        with pytest.raises(UsageError, match=f"nothing to export to {to}"):
            show_export(["alibi"], to, tmp_path, None)
