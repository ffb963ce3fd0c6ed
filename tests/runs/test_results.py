"""What is read of a run's folder: every past shape, and of a damaged file which it is, what is wrong, what to do."""

import dataclasses
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from harness.commands.listing import state
from harness.commands.report import show_report
from harness.papers.statement import Items
from harness.runs import files, results, shapes
from harness.runs.files import append_line, read_lines, write_json
from harness.runs.journal import read_journal
from harness.runs.results import (
    CURVES,
    ITEMS,
    PROGRESS,
    RESULT,
    Damaged,
    Newer,
    find_runs,
    read_curves,
    read_items,
    read_progress,
    read_record,
    read_result,
    whole,
    write_items,
)
from harness.runs.run import forget_after
from harness.runs.spec import Spec
from tests.records import answers, write_run, write_sweep

ROOT = Path(__file__).parents[2]
PAST = sorted((ROOT / "tests" / "data" / "results").iterdir())
REPEAT = "repeat the command that made the run"


@pytest.fixture(autouse=True)
def fresh():
    files.tell.cache_clear()


def damaged(results_folder: Path) -> tuple[list, list[str]]:
    told: list[str] = []
    return list(find_runs(results_folder, damage=told.append)), told


# Past shapes, and the published one


@pytest.mark.parametrize("folder", PAST, ids=lambda folder: folder.name)
def test_results_of_every_past_shape_are_read(folder, capsys):
    result = read_result(folder)
    assert result is not None
    assert result.config["paper"] == "alibi"
    assert result.status == ("failed" if "failed" in folder.name else "finished")
    if (folder / ITEMS).exists():
        items = read_record(folder).items
        nats = items["perplexity_1L"].columns
        assert np.exp(np.mean(next(iter(nats.values())))) == pytest.approx(result.metrics["perplexity_1L"])
    assert capsys.readouterr().err == ""


def test_the_published_schema_is_that_which_results_are_held_against():
    assert (ROOT / "docs" / "schemas" / "result.schema.json").read_text() == shapes.published()


def test_a_spec_writes_the_settings_that_the_schema_has():
    """Each key of `Config` is a field of `Spec`, or one of the two that have another name there."""
    plain = {f.name: f"the {f.name}" for f in dataclasses.fields(Spec)}
    told = Spec(**{**plain, "task": {"length": 128}, "sources": {}, "model_source": None}).config()
    assert list(told) == list(shapes.Config.__annotations__)
    renamed = {"method_declared": "the declared", "method_changes": "the changes", "task": {"length": 128}}
    assert told == {**{name: f"the {name}" for name in told}, **renamed, "task_digest": told["task_digest"]}


def test_a_result_and_its_items_bear_the_schema_number(tmp_path):
    import pyarrow.parquet as pq

    folder = write_run(tmp_path, "toy", 0, {"accuracy": 0.5}, items={"accuracy": answers(0.5, 0)}).folder
    assert json.loads((folder / RESULT).read_text())["schema"] == shapes.SCHEMA == 2
    assert pq.read_schema(folder / ITEMS).metadata[b"schema"] == b"2"


def test_keys_of_another_version_are_left_out_and_told_once(tmp_path, capsys):
    for seed in range(3):
        folder = write_run(tmp_path, "toy", seed, {"accuracy": 0.5}).folder
        change(folder / RESULT, colour="green")
    assert [r.result.metrics for r in find_runs(tmp_path)] == [{"accuracy": 0.5}] * 3
    told = capsys.readouterr().err.splitlines()
    assert told == ["harness: results have keys that this harness does not know and leaves out: colour"]


# Damage


def change(path: Path, **values) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


DAMAGES = {
    "empty": (b"", "is empty"),
    "cut": (b'{"run_key": "0", "sta', "is no JSON"),
    "scribbled": (b"\xff\xfe\x00PAR1", "is no JSON"),
    "a list": (b"[]", "is no result (input should be a valid dictionary)"),
    "deep": (b"[" * 100_000, "is no JSON"),
    "another thing": (b'{"a": 1}', "is no result (run_key: field required)"),
}


@pytest.mark.parametrize(("content", "what"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_result_is_told_with_what_to_do_and_the_others_are_read(tmp_path, content, what):
    good, bad = (write_run(tmp_path, "toy", seed, {"accuracy": 0.5}) for seed in range(2))
    (bad.folder / RESULT).write_bytes(content)
    (found,), told = damaged(tmp_path)
    assert found.result.run_key == good.result.run_key
    (line,) = told
    assert line.startswith(f"damaged: {bad.folder / RESULT} {what}")
    assert line.endswith(REPEAT)
    assert (state(bad.folder)["state"], state(good.folder)["state"]) == ("damaged", "finished")
    assert whole(bad.folder) is None  # so that the command makes it again


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        ("metrics", {"accuracy": "high"}, "metrics.accuracy: input should be a valid number"),
        ("metrics", None, "metrics: input should be a valid dictionary"),
        ("config", {"paper": "toy"}, "config.name: field required"),
        ("status", "half", "status: input should be 'finished' or 'failed'"),
        ("error", {"type": "oom"}, "error.message: field required"),
        ("environment", {"packages": []}, "environment.packages: input should be a valid dictionary"),
        ("code", {"definitions": {"a": 1}}, "code.definitions.a: input should be a valid string"),
        ("data", {"corpus": "x"}, "data.corpus: input should be a valid dictionary"),
    ],
)
def test_a_value_of_the_wrong_kind_is_damage_and_is_named(tmp_path, key, value, what):
    folder = write_run(tmp_path, "toy", 0, {"accuracy": 0.5}).folder
    change(folder / RESULT, **{key: value})
    with pytest.raises(Damaged, match=what.replace(".", r"\.")):
        read_result(folder)


def test_a_grid_of_the_wrong_kind_is_damage_and_is_named(tmp_path):
    folder = write_run(tmp_path, "toy", 0, {"accuracy": 0.5}, tuned={"by": "loss", "scores": [1]}).folder
    with pytest.raises(Damaged, match=r"config\.tuned\.scores\.0: input should be a valid dictionary"):
        read_result(folder)


def test_a_damaged_run_counts_as_failed_where_its_settings_can_still_be_read(tmp_path):
    record = write_run(tmp_path, "toy", 3, {"accuracy": 0.5})
    write_json(record.folder / "config.json", record.result.config)
    (record.folder / RESULT).write_text("")
    (found,), _ = damaged(tmp_path)
    assert (found.result.status, found.result.config["seed"]) == ("failed", 3)
    assert found.result.error["type"] == "damaged"
    assert state(record.folder)["seed"] == 3


def test_a_result_of_a_later_schema_is_told_and_never_made_again(tmp_path):
    folder = write_run(tmp_path, "toy", 0, {"accuracy": 0.5}).folder
    change(folder / RESULT, schema=99, metrics="in another form")
    _, (told,) = damaged(tmp_path)
    assert told == (
        f"newer: {folder / RESULT} was made by a newer harness (schema 99, this one reads up to 2): "
        "upgrade paper-harness"
    )
    assert state(folder)["state"] == "newer"
    with pytest.raises(Newer):
        whole(folder)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
KEYS = [
    *shapes.Config.__annotations__,
    "status",
    "config",
    "metrics",
    "error",
    "environment",
    "code",
    "schema",
]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    content=st.binary(max_size=200)
    | anything.map(lambda value: json.dumps(value).encode())
    | st.tuples(st.sampled_from(KEYS), anything)
)
@example(content=("schema", True))
@example(content=("schema", -1))
@example(content=("metrics", {"accuracy": 10**400}))
@example(content=b'{"status": "\\ud800"}')
def test_no_content_of_a_result_stops_what_reads_it(tmp_path, content):
    if not (tmp_path / "runs").exists():
        write_sweep(tmp_path, seeds=1)
    folder = sorted((tmp_path / "runs" / "toy" / "toy").iterdir())[0]
    good = (ROOT / "tests" / "data" / "results" / "schema-2" / RESULT).read_bytes()
    if isinstance(content, tuple):
        key, value = content
        whole = json.loads(good)
        (whole["config"] if key in whole["config"] else whole)[key] = value
        content = json.dumps(whole).encode()
    (folder / RESULT).write_bytes(content)
    found, _ = damaged(tmp_path)
    assert len(found) >= 2
    for path in (tmp_path / "runs").glob("*/*/*"):
        assert state(path)["state"] in ("finished", "failed", "damaged", "newer")


# Items


def with_items(tmp_path) -> Path:
    items = {"accuracy": answers(0.5, 0)}
    metrics = {"accuracy": float(np.mean(items["accuracy"].columns["right"]))}
    return write_run(tmp_path, "toy", 0, metrics, items=items).folder


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:500]),
        lambda path: path.write_bytes(path.read_bytes()[:4] + b"\0" * 500 + b"PAR1"),
        lambda path: path.write_bytes(path.read_bytes()[:-300] + b"\xaa" * 64 + path.read_bytes()[-236:]),
    ],
    ids=["gone", "empty", "cut", "hollow", "scribbled"],
)
def test_items_that_cannot_be_read_are_told_by_whoever_asks_for_them(tmp_path, damage):
    folder = with_items(tmp_path)
    damage(folder / ITEMS)
    with pytest.raises(Damaged, match=f"^{folder / ITEMS} .*{REPEAT}$"):
        _ = read_record(folder, lambda told: None).items


@pytest.mark.parametrize("left", [0, 3, 4, 500])
def test_a_run_whose_items_are_torn_is_made_again(tmp_path, left):
    folder = with_items(tmp_path)
    assert whole(folder) is not None
    (folder / ITEMS).write_bytes((folder / ITEMS).read_bytes()[:left])
    assert whole(folder) is None
    assert state(folder)["state"] == "damaged"
    _, (told,) = damaged(tmp_path)
    assert told == f"damaged: {folder / ITEMS} is torn: {REPEAT}"


def test_items_of_another_run_are_not_taken_for_those_of_this_one(tmp_path):
    folder = with_items(tmp_path)
    write_items(folder, {"accuracy": answers(0.5, 0, n=249)})
    with pytest.raises(Damaged, match="other items than"):
        _ = read_record(folder).items


def test_items_of_a_later_schema_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "SCHEMA", 3)
    write_items(tmp_path, {"accuracy": answers(0.5, 0)})
    monkeypatch.undo()
    with pytest.raises(Newer, match="upgrade"):
        read_items(tmp_path)


# Curves, journals, progress


def test_a_torn_line_is_left_out_silently_and_garbage_is_told(tmp_path, capsys):
    path = tmp_path / CURVES
    path.write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "lo')
    assert read_curves(tmp_path) == [{"step": 1, "loss": 2.0}]
    assert capsys.readouterr().err == ""
    path.write_text(
        '{"step": 1, "loss": 2.0}\n[3]\n\x00\x01\n{"loss": 1}\n\n{"step": 2, "loss": null, "a": "b"}\n'
    )
    assert read_curves(tmp_path) == [{"step": 1, "loss": 2.0}, {"step": 2, "loss": None}]
    assert capsys.readouterr().err == f"harness: {path}: 3 of 6 lines cannot be read and are left out\n"


def test_a_journal_is_read_as_far_as_it_can_be(tmp_path):
    journal = tmp_path / "sweep.jsonl"
    line = dict.fromkeys(("asked", "title", "paper", "run_key", "folder", "outcome", "error"), "x")
    journal.write_text(f'{json.dumps(line)}\n{{"outcome": "finished"}}\nnonsense\n{json.dumps(line)[:20]}')
    assert read_journal(journal) == [line]
    assert read_journal(tmp_path / "none.jsonl") == []


def test_forgetting_what_a_resume_logs_again_copes_with_garbage(tmp_path):
    path = tmp_path / CURVES
    path.write_text('{"step": 1, "loss": 2.0}\n{"step": "x"}\n[]\n{"step": 2, "loss": 1.0}\n{"st')
    forget_after(path, 1)
    assert path.read_text() == '{"step": 1, "loss": 2.0}\n'


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"done": "x", "total": 1}', b"\xff", b'{"done": 1'])
def test_progress_that_cannot_be_read_is_none(tmp_path, content):
    folder = tmp_path / "runs" / "toy" / "toy" / "0123456789abcdef"
    folder.mkdir(parents=True)
    (folder / PROGRESS).write_bytes(content)
    assert read_progress(folder) is None
    assert state(folder)["state"] == "interrupted"
    (folder / PROGRESS).write_text('{"done": 1, "total": 4, "seed": 2}')
    assert (state(folder)["progress"], state(folder)["seed"]) == (0.25, 2)


# Writing


@given(anything)
@settings(deadline=None)
def test_every_file_is_json_without_numbers_that_are_none(value):
    def refuse(word):
        raise AssertionError(word)

    json.loads(files.as_text(value), parse_constant=refuse)


def test_curves_are_json_too(tmp_path):
    append_line(tmp_path / CURVES, {"step": 1, "loss": float("nan"), "rate": float("inf")})
    assert (tmp_path / CURVES).read_text() == '{"step": 1, "loss": null, "rate": null}\n'
    assert read_lines(tmp_path / CURVES) == [{"step": 1, "loss": None, "rate": None}]


def test_a_result_is_on_the_disk_before_its_name_is_and_after_its_items(tmp_path, monkeypatch):
    happened = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: happened.append(_named(handle)) or fsync(handle))
    monkeypatch.setattr(os, "replace", lambda a, b: happened.append(f"to {Path(b).name}") or replace(a, b))
    folder = with_items(tmp_path)
    assert happened[-5:] == ["to items.parquet", ITEMS, ".result.json", "to result.json", folder.name]


def _named(handle: int) -> str:
    name = Path(os.readlink(f"/proc/self/fd/{handle}")).name
    return ".result.json" if name.startswith(".result.json") else name


# What a person sees


def test_report_judges_everything_else_and_says_what_is_damaged(tmp_path, monkeypatch, capsys):
    from harness.papers.plugins import Listing, Plugin
    from tests.records import PAPER

    listing = Listing("toy", "toy", "toy", "1", "")
    monkeypatch.setattr("harness.verdicts.rows.listed", lambda: [listing])
    monkeypatch.setattr("harness.verdicts.rows.load", lambda name: Plugin(listing, None, PAPER))
    monkeypatch.setattr("harness.commands.report.stale", lambda record: False)
    monkeypatch.setattr("harness.verdicts.rows.stale", lambda record: False)
    records = write_sweep(tmp_path)
    assert show_report([], tmp_path, "", as_json=True) == 0
    capsys.readouterr()
    torn, empty, future, edited = (r.folder for r in records[:4])
    (torn / ITEMS).write_bytes(b"PAR1")
    (empty / RESULT).write_bytes(b"")
    write_json(empty / "config.json", records[1].result.config)
    change(future / RESULT, schema=3)
    change(edited / RESULT, metrics={**records[3].result.metrics, "accuracy": 0.99})
    assert show_report([], tmp_path, "", as_json=True) == 1
    said = capsys.readouterr()
    (card,) = json.loads(said.out)
    assert sum(len(method["seeds"]) for method in card["methods"]) == len(records) - 2
    (failure,) = card["failures"]
    assert failure["type"] == "damaged"
    assert str(empty / RESULT) in failure["message"]
    asked = card["claims"][2]  # needs the items
    assert asked["verdict"] == "open"
    assert f"{torn / ITEMS} is torn" in asked["reason"]
    lines = said.err.splitlines()
    assert len(lines) == 4, lines
    for line, path in zip(
        sorted(lines), sorted((torn / ITEMS, empty / RESULT, future / RESULT, edited / RESULT)), strict=True
    ):
        assert str(path) in said.err, line
    assert "says accuracy = 0.99, its items give" in said.err
    for folder in (torn, empty, future, edited):
        shutil.rmtree(folder)
    assert show_report([], tmp_path, "", as_json=True) == 0


def test_items_with_other_names_are_written_and_read(tmp_path):
    write_items(tmp_path, {"a": Items({"x": [1.0, 2.0]}, ["p", "q"])})
    assert read_items(tmp_path)["a"].ids == ["p", "q"]
