"""A sweep's parent run in MLflow carries the verdicts of its runs: a description, a table, a page."""

from __future__ import annotations

import json

import pytest

from harness.papers.plugins import load
from harness.reports.phrases import SIGNS, bound, claimed
from harness.reports.summary import DESCRIPTION, description, means, summary
from harness.runs.journal import Sweep
from harness.sweeps.watch import watched
from harness.verdicts.scorecard import judge
from tests.records import PAPER, write_run, write_sweep

CLAIMS = sum(not (claim.counter or claim.is_control) for claim in load("alibi").paper.claims)


@pytest.fixture
def journal(tmp_path):
    """Journal of a sweep of three runs of an installed paper, two methods, and a run of no sweep."""
    metrics = dict.fromkeys(load("alibi").paper.metrics, 3.0)
    lines = []
    for name, seed in (("alibi", 0), ("alibi", 1), ("rotary", 0), ("learned", 0)):
        record = write_run(tmp_path, name, seed, metrics, paper="alibi", curve={"loss": [3.0, 2.0]})
        line = {
            "asked": record.result.run_key,
            "title": name,
            "paper": "alibi",
            "run_key": record.result.run_key,
        }
        lines.append(
            {**line, "folder": str(record.folder), "outcome": "finished", "error": None, "seconds": 1.0}
        )
    path = tmp_path / "sweeps" / "20260101-000000-00001.jsonl"
    path.parent.mkdir()
    path.write_text("".join(json.dumps(line) + "\n" for line in lines[:-1]))
    return path


def test_a_sweeps_report_is_of_its_own_runs(journal):
    files = summary(journal, "alibi")
    assert [path.name for path in files] == ["scorecard.json", "summary.md", "report.html"]
    (card,) = json.loads(files[0].read_text())
    assert [(m["method"], m["seeds"]) for m in card["methods"]] == [("alibi", [0, 1]), ("rotary", [0])]
    assert "\n## alibi: " in description(files)


def test_a_description_begins_with_a_line_a_claim_that_runs_speak_of(journal):
    files = summary(journal, "alibi")
    (card,) = json.loads(files[0].read_text())
    lines = description(files).splitlines()
    assert lines[0].startswith(f"{CLAIMS} claims of the paper: ")
    spoken = [(n, claim) for n, claim in enumerate(card["claims"], 1) if claim["verdict"] != "not tested"]
    until = lines.index(next(line for line in lines if line.startswith("## ")))
    told = [line for line in lines[1:until] if line]
    assert len(told) == len(spoken) > 2
    for line, (number, claim) in zip(told, spoken, strict=True):
        assert line.startswith(f"- {SIGNS[claim['verdict']]} {number}. ")
        assert line.endswith(f", asked {bound(claim).replace('<', '&lt;')}")


def test_the_means_by_method_are_those_of_the_claims_metrics(journal):
    files = summary(journal, "alibi")
    found = means(files)
    assert found["alibi/perplexity_8L"] == found["rotary/perplexity_8L"] == 3.0
    (card,) = json.loads(files[0].read_text())
    assert {name.partition("/")[2] for name in found} == set(claimed(card))
    assert means([]) == {}


def test_several_settings_are_told_apart_in_means_and_description(tmp_path):
    (card,) = judge("toy", PAPER, write_sweep(tmp_path, seeds=3))
    path = tmp_path / "scorecard.json"
    path.write_text(json.dumps([card]))
    alone, one = means([path]), description([path])
    path.write_text(json.dumps([card, card]))
    assert means([path]) == {f"{place}/{name}": value for place in (1, 2) for name, value in alone.items()}
    first, second = description([path]).split("**2/** ")
    assert first.startswith("**1/** budget small · cpu")
    assert first.partition(". ")[2].strip() == second.partition(". ")[2].strip() == one.strip()


def test_a_long_description_ends_at_a_line_and_says_where_the_rest_is(tmp_path):
    (tmp_path / "summary.md").write_text("| a row |\n" * 1000)
    text = description([tmp_path / "summary.md"])
    assert len(text) <= DESCRIPTION
    assert text.endswith("| a row |\n\n(more in summary.md)")
    assert description([]) == ""


def test_nothing_ended_makes_no_files(tmp_path):
    assert summary(tmp_path / "none.jsonl", "alibi") == []


@pytest.mark.slow
def test_mlflow_keeps_it_with_the_parent_run(journal, tmp_path):
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    with watched(Sweep("20260101-000000-00001", "harness run", tmp_path, uri, ())) as behind:
        pass
    assert behind == []
    client = MlflowClient(tracking_uri=uri)
    (experiment,) = [e for e in client.search_experiments() if e.name == "alibi"]
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if "run_key" not in run.data.tags]
    names = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert {"scorecard.json", "summary.md", "report.html", journal.name} <= names
    assert parent.data.tags["mlflow.note.content"].startswith(f"{CLAIMS} claims of the paper: ")
    assert parent.data.metrics["rotary/perplexity_8L"] == 3.0
    assert len([run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]) == 3
