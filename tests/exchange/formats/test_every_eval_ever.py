"""Every Eval Ever: valid by its own schema, nothing lost on the way back, and judged there as here.

The two schemas are that project's, version 0.3.0: read out of its wheel, which asks for a later Python to be installed.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import replace
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.exchange.formats.every_eval_ever import exported, samples
from harness.exchange.judging import judge as judged
from harness.exchange.readers import read
from harness.papers.reduction import reduce
from harness.papers.statement import Items, Metric
from harness.runs.files import write_text
from harness.verdicts.scorecard import judge
from tests.records import PAPER, answers, write_run, write_sweep

THEIRS = "every-eval-ever==0.3.0"
METRICS = {
    "accuracy": Metric("higher", "right answers", range=(0.0, 1.0)),
    "perplexity": Metric("lower", "how surprised", "per word", reduce="exp_mean"),
    "rank": Metric("higher", "agreement", reduce="spearman", range=(-1.0, 1.0)),
}
ROOMY = replace(PAPER, metrics={**PAPER.metrics, **METRICS})


def written(folder, found):
    for place, text in found.items():
        write_text(folder / place, text)
    return folder


@cache
def wheel() -> zipfile.ZipFile:
    """Their wheel; skip where no index gives it."""
    with tempfile.TemporaryDirectory() as place:
        words = ["--no-deps", "--only-binary=:all:", "--python-version", "3.12", "--dest", place, THEIRS]
        done = subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", *words], capture_output=True
        )
        if done.returncode:
            pytest.skip(f"no package index gives {THEIRS}")
        return zipfile.ZipFile(BytesIO(next(Path(place).glob("*.whl")).read_bytes()))


def schema(name):
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    told = json.loads(wheel().read(f"every_eval_ever/schemas/{name}.schema.json"))
    jsonschema.Draft7Validator.check_schema(told)
    return jsonschema.Draft7Validator(told)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    return write_sweep(tmp_path_factory.mktemp("results"))


def test_every_record_and_every_item_is_valid_by_their_schema(swept):
    whole, item = schema("eval"), schema("instance_level_eval")
    found = exported("toy", PAPER, swept)
    logs = {place: json.loads(text) for place, text in found.items() if place.endswith(".json")}
    assert len(logs) == len(swept)
    for place, log in logs.items():
        whole.validate(log)
        lines = found[log["detailed_evaluation_results"]["file_path"]].strip("\n").split("\n")
        assert log["detailed_evaluation_results"]["total_rows"] == len(lines)
        assert log["detailed_evaluation_results"]["file_path"] == place.replace(".json", "_samples.jsonl")
        for line in lines:
            item.validate(json.loads(line))
    broken = {**log, "evaluation_results": [{**log["evaluation_results"][0], "score_details": {}}]}
    assert list(whole.iter_errors(broken))


def test_their_own_validator_finds_nothing(swept, tmp_path):
    command = shutil.which("every_eval_ever")
    if command is None:
        pytest.skip("every_eval_ever is not installed (it asks for Python 3.12)")
    folder = written(tmp_path, exported("toy", PAPER, swept))
    files = [str(path.relative_to(folder)) for path in sorted(folder.rglob("*.json*"))]
    done = subprocess.run([command, "validate", *files], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert f"{len(files)} passed, 0 warning-only, 0 failed" in done.stdout


def test_an_export_is_the_same_every_time(swept):
    assert exported("toy", PAPER, swept) == exported("toy", PAPER, list(reversed(swept)))


@st.composite
def runs(draw):
    """Return the metrics and items of one run: right or wrong, losses, pairs; with groups, draws, odd names."""
    count = draw(st.integers(2, 6))
    ids = draw(
        st.lists(
            st.text(st.characters(codec="utf-8"), max_size=6), min_size=count, max_size=count, unique=True
        )
    )
    number = st.floats(-1e6, 1e6)

    def column(value):
        return draw(st.lists(value, min_size=count, max_size=count))

    groups = {"document": [f"d{n % 2}" for n in range(count)]} if draw(st.booleans()) else {}
    fixed = ("document",) if groups and draw(st.booleans()) else ()
    right = draw(
        st.sampled_from(
            [
                [[float(draw(st.booleans())) for _ in range(3)] for _ in ids],
                column(st.sampled_from([0.0, 1.0])),
            ]
        )
    )
    items = {
        "accuracy": Items({"right": right}, ids, groups, fixed),
        "perplexity": Items(
            {"loss": column(st.floats(0, 5))}, ids, contiguous=not groups and draw(st.booleans())
        ),
        "rank": Items({"ours": column(number), "gold": column(number)}, ids),
    }
    chosen = draw(st.sets(st.sampled_from(sorted(items)), min_size=1))
    return {metric: items[metric] for metric in items if metric in chosen}


@given(runs(), st.integers(-3, 2**40), st.floats(allow_nan=False, allow_infinity=False))
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_is_exported_is_read_back_whole(tmp_path_factory, items, seed, memory):
    folder = tmp_path_factory.mktemp("trip")
    values = {metric: float(reduce(METRICS[metric], kept.columns)) for metric, kept in items.items()}
    values = {metric: value for metric, value in values.items() if np.isfinite(value)}
    record = write_run(folder, "toy", seed, {**values, "train_peak_memory": memory}, items=items)
    found = exported("toy", ROOMY, [record])
    (log,) = (json.loads(text) for place, text in found.items() if place.endswith(".json"))
    schema("eval").validate(log)
    details = log["model_info"]["additional_details"]
    assert json.loads(details["config"]) == record.result.config
    assert details["run_key"] == record.result.run_key
    told = {one["evaluation_result_id"]: one["score_details"]["score"] for one in log["evaluation_results"]}
    assert told == {**values, "train_peak_memory": memory}
    rows = [
        json.loads(line)
        for place, text in found.items()
        if "jsonl" in place
        for line in text.strip("\n").split("\n")
    ]
    for row in rows:
        schema("instance_level_eval").validate(row)
    back = samples(log, rows)
    assert back.keys() == values.keys()
    for metric, kept in back.items():
        own = record.items[metric]
        assert kept.ids == list(own.ids)
        assert (kept.groups, kept.fixed, kept.contiguous) == (own.groups, own.fixed, own.contiguous)
        assert kept.columns.keys() == own.columns.keys()
        for name, column in kept.columns.items():
            np.testing.assert_array_equal(column, own.columns[name])

    outcomes = {
        o.task.split(".")[1]: o for o in read([written(folder / "out", found)], "every-eval-ever").outcomes
    }
    assert {metric: o.values["score"] for metric, o in outcomes.items()} == told
    assert {o.seed for o in outcomes.values()} == {seed}
    assert {o.method for o in outcomes.values()} == {"paper-harness/toy-toy"}
    if "accuracy" in values:
        alone = {} if items["accuracy"].groups else dict.fromkeys(items["accuracy"].ids)
        assert dict.fromkeys(outcomes["accuracy"].items.get("score", {})) == alone


def test_what_comes_back_is_judged_as_here(swept, tmp_path):
    (card,) = judge("toy", PAPER, swept)
    claim = card["claims"][3]  # plain - toy on accuracy
    told = read([written(tmp_path, exported("toy", PAPER, swept))], "every-eval-ever")
    (part,) = [one for one in judged(told)["tasks"] if ".accuracy." in one["task"]]
    best, *others = part["methods"]
    names = {"paper-harness/toy-toy": "toy", "paper-harness/toy-plain": "plain"}
    (other,) = [row for row in others if row["method"] in names]
    assert other["seeds"] == best["seeds"] == [0, 1, 2, 3, 4]
    sign = 1 if names[best["method"]] == "plain" else -1
    ends = sorted([sign * claim["low"], sign * claim["high"]])
    assert other["ahead"]["value"] == pytest.approx(sign * claim["value"])
    assert [other["ahead"]["low"], other["ahead"]["high"]] == pytest.approx(ends)


def test_items_that_hang_together_are_judged_by_seeds_alone(tmp_path):
    kept = answers(0.5, 1)
    kept = Items(kept.columns, kept.ids, {"document": [i // 10 for i in range(len(kept.ids))]})
    value = float(np.mean(kept.columns["right"]))
    record = write_run(tmp_path, "toy", 0, {"accuracy": value}, items={"accuracy": kept})
    (outcome,) = read(
        [written(tmp_path / "out", exported("toy", PAPER, [record]))], "every-eval-ever"
    ).outcomes
    assert (outcome.items, outcome.errors, outcome.number) == ({}, {}, {})


def test_failed_runs_and_numbers_that_are_none_are_left_out(tmp_path):
    write = [
        write_run(tmp_path, "toy", 0, {"accuracy": 0.5, "perplexity_1L": None}),
        write_run(tmp_path, "toy", 1, {}, error={"type": "memory", "message": "too much"}),
        write_run(tmp_path, "toy", 2, {"perplexity_1L": None}),
    ]
    (text,) = exported("toy", PAPER, write).values()
    assert [one["evaluation_result_id"] for one in json.loads(text)["evaluation_results"]] == ["accuracy"]


def test_methods_whose_names_would_be_one_file_stay_apart(tmp_path):
    odd = [
        write_run(tmp_path, "toy", 0, {"accuracy": 0.5}, changes={"slope": n})
        for n in ("a/b", "a b", "../..")
    ]
    places = list(exported("toy", PAPER, odd))
    assert len({place.rpartition("/")[0] for place in places}) == 3
    assert all(".." not in place.split("/") and len(place.split("/")) == 5 for place in places)


@pytest.mark.parametrize("line", ["[]", "{}", "no json"])
def test_broken_samples_are_told_with_their_file(swept, tmp_path, line):
    found = exported("toy", PAPER, swept[:2])
    folder = written(tmp_path, found)
    place = next(place for place in found if place.endswith(".jsonl"))
    (folder / place).write_text(line + "\n", "utf-8")
    told = read([folder], "every-eval-ever").outcomes
    (trouble,) = {o.trouble for o in told if o.trouble}
    assert Path(place).name in trouble or "holds no samples" in trouble


def test_samples_of_another_record_judge_nothing(swept, tmp_path):
    found = exported("toy", PAPER, swept[:1])
    (place,) = [place for place in found if place.endswith(".jsonl")]
    found[place] = found[place].replace('"evaluation_id": "', '"evaluation_id": "not ')
    outcomes = read([written(tmp_path, found)], "every-eval-ever").outcomes
    assert not [o for o in outcomes if o.items]
    with pytest.raises(UsageError, match="there is no reader"):
        read([tmp_path], "every-eval")
