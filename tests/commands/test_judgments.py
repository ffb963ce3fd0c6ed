"""Outcomes that people or models judge later: handed out blinded, read back as a metric with items."""

import json
from dataclasses import replace
from itertools import pairwise

import pytest

from harness import Claim, Metric, difference
from harness.commands import judgments
from harness.commands.judgments import show_judgments
from harness.errors import UsageError
from harness.papers.plugins import Listing, Plugin
from harness.runs.mirror import Mirror, fetch, stamp
from harness.runs.produced import JUDGED, write_produced
from harness.runs.results import find_runs, local_store
from harness.verdicts.scorecard import judge
from tests.commands.test_answers import valid
from tests.records import PAPER, write_run

HELPS = Metric("higher", "how far an answer helps", range=(1, 5), judged=True)
PAPER_ = replace(
    PAPER,
    metrics={**PAPER.metrics, "helps": HELPS},
    claims=[Claim("People like it", difference("helps", "toy", than="plain"), "table 1")],
)
ITEMS = 220


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Two methods, three seeds, 220 answers each; the paper's one claim is about what judges say of them."""
    for seed in range(3):
        for name in ("toy", "plain"):
            record = write_run(tmp_path, name, seed, {"accuracy": 0.5})
            texts = [f"{'a good' if name == 'toy' else 'an'} answer, seed {seed}, {i}" for i in range(ITEMS)]
            told = [{"item": f"q{i}", "asked": f"{i}?", "text": text} for i, text in enumerate(texts)]
            write_produced(record.folder, told, {})
    plugin = Plugin(Listing("toy", "toy", "toy", "0", ""), None, PAPER_)
    monkeypatch.setattr(judgments, "load", lambda name: plugin)
    return tmp_path


def handed_out(results) -> list[dict]:
    file = results / "texts.jsonl"
    assert show_judgments("toy", results, file, None) == 0
    return [json.loads(line) for line in file.read_text().splitlines()]


def read(results, rows) -> int:
    file = results / "judged.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return show_judgments("toy", results, None, file)


def opinion(row, harsh=0.0):
    return {**row, "helps": (4.0 if "good" in row["text"] else 2.0) + int(row["id"], 16) % 3 / 2 - harsh}


def card(results):
    (found,) = judge("toy", PAPER_, list(find_runs(results)))
    return found


def test_texts_are_handed_out_without_their_methods_in_an_order_that_tells_none(results):
    rows = handed_out(results)
    assert len(rows) == 6 * ITEMS
    assert all(set(row) == {"id", "item", "asked", "text", "helps"} and row["helps"] is None for row in rows)
    assert len({row["id"] for row in rows}) == len(rows)
    good = ["good" in row["text"] for row in rows]
    changes = sum(one != other for one, other in pairwise(good))
    assert changes > len(rows) / 3


def test_handing_out_and_reading_back_are_told_as_their_schema_says(results, capsys):
    rows = handed_out(results)
    capsys.readouterr()
    texts, judged = results / "texts.jsonl", results / "judged.jsonl"
    assert show_judgments("toy", results, texts, None, as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    valid("judgments", told)
    assert told == {"file": str(texts), "texts": 6 * ITEMS, "metrics": ["helps"]}
    judged.write_text("".join(json.dumps(opinion(row)) + "\n" for row in rows[:-1]))
    assert show_judgments("toy", results, None, judged, as_json=True) == 1
    told = json.loads(capsys.readouterr().out)
    valid("judgments", told)
    assert (told["texts"], told["unknown"], len(told["lacking"])) == (6 * ITEMS - 1, 0, 1)


def test_before_it_is_judged_a_claim_says_what_it_waits_for(results):
    (claim,) = card(results)["claims"]
    assert claim["verdict"] == "not tested"
    assert "not judged yet: harness judgments" in claim["reason"]


def test_judgments_are_a_metric_with_items_that_claims_are_decided_by(results):
    assert read(results, [opinion(row) for row in handed_out(results)]) == 0
    (claim,) = card(results)["claims"]
    assert (claim["verdict"], claim["items"]) == ("holds", ITEMS)
    assert claim["value"] == pytest.approx(2, abs=0.1)
    record = next(iter(find_runs(results)))
    assert record.items["helps"].ids[:2] == ["q0", "q1"]


def test_several_judges_are_draws_of_an_item(results):
    rows = handed_out(results)
    read(results, [opinion(row, harsh) for row in rows for harsh in (0, 1)])
    record = next(iter(find_runs(results)))
    first, second = record.items["helps"].columns["score"][1]
    assert first - second == 1
    assert record.result.metrics["helps"] == pytest.approx(
        sum(map(sum, record.items["helps"].columns["score"])) / 2 / ITEMS
    )


def test_a_run_counts_once_all_its_texts_are_judged(results, capsys):
    rows = [opinion(row) for row in handed_out(results)]
    assert read(results, rows[:-1]) == 1
    assert "lacks some helps" in capsys.readouterr().out
    assert sum("helps" in record.result.metrics for record in find_runs(results)) == 5
    assert read(results, rows[-1:]) == 0
    assert sum("helps" in record.result.metrics for record in find_runs(results)) == 6


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("no json", "line 1: give a JSON object"),
        ('{"id": 3}', "line 1: give a JSON object"),
        ('{"id": "x", "helps": "very"}', "helps is 'very': give a number from 1 to 5"),
        ('{"id": "x", "helps": 7}', "helps is 7: give a number from 1 to 5"),
        ('{"id": "x", "helped": 3}', "did you mean 'helps'?"),
        ('{"id": "x", "helps": 3}', "judges no text of these runs"),
    ],
)
def test_a_file_that_is_none_is_refused_in_one_sentence_and_changes_nothing(results, line, said):
    file = results / "judged.jsonl"
    file.write_text(line + "\n")
    with pytest.raises(UsageError, match=said.replace("?", "[?]")):
        show_judgments("toy", results, None, file)
    assert not list(results.rglob(JUDGED))


def test_a_paper_without_such_a_metric_says_how_to_declare_one(results, monkeypatch):
    plain = Plugin(Listing("toy", "toy", "toy", "0", ""), None, PAPER)
    monkeypatch.setattr(judgments, "load", lambda name: plain)
    with pytest.raises(UsageError, match="judged=True"):
        show_judgments("toy", results, results / "texts.jsonl", None)


def test_the_store_takes_judgments_that_came_later(results):
    record = next(iter(find_runs(results)))
    store = Mirror(local_store(results))
    store.copy(record.folder)
    before = stamp(record.folder)
    read(results, [opinion(row) for row in handed_out(results)])
    assert stamp(record.folder) != before
    store.copy(record.folder)
    (fetched,) = fetch(local_store(results), results / "fetched")
    assert fetched.result.metrics["helps"] == next(iter(find_runs(results))).result.metrics["helps"]
