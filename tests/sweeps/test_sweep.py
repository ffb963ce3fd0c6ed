"""One command runs, skips what is done, and says how it went; a failed run takes no other with it."""

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.xdist_group("sweep")  # one sweep that all look at
SMOKE = ("budget=smoke", "device=cpu")


@pytest.fixture(scope="module")
def swept(tmp_path_factory, text, warm):
    """A finished smoke sweep of two methods and two seeds, mirrored; and what it printed."""
    from tests.conftest import Harness

    folder = tmp_path_factory.mktemp("swept")
    words = ("run", "-m", "method=alibi/alibi,alibi/learned", "seed=0,1", *SMOKE, f"data.corpus={text}")
    done = Harness(folder)(*words)  # in a process of its own, and so with joblib's workers
    return Harness(folder, warm), words, done


def test_a_sweep_leaves_a_folder_a_run(swept):
    harness, _, done = swept
    assert "4 finished; 0 already there; 0 failed" in done.stderr
    folders = sorted((harness.folder / "results" / "runs" / "alibi").glob("*/*/result.json"))
    assert len(folders) == 4
    result = json.loads(folders[0].read_text())
    assert set(result) >= {
        "run_key",
        "status",
        "error",
        "config",
        "metrics",
        "environment",
        "timings",
        "data",
        "code",
    }
    assert result["status"] == "finished"
    assert result["environment"]["threads"] == 1
    assert result["run_key"].startswith(folders[0].parent.name)
    assert (folders[0].parent / "items.parquet").exists()
    assert (folders[0].parent / "metrics.jsonl").exists()


def test_a_run_records_all_that_made_it(swept, text):
    harness, _, _ = swept
    path = next((harness.folder / "results" / "runs" / "alibi" / "alibi").glob("*/result.json"))
    result = json.loads(path.read_text())
    config, around, code = (result[key] for key in ("config", "environment", "code"))
    assert config["task"]["length"] == 16
    assert config["seed"] in (0, 1)
    assert result["data"]["corpus"]["digest"] == hashlib.sha256(text.read_bytes()).hexdigest()
    assert (around["threads"], around["cores"], around["device"]) == (1, os.cpu_count(), "cpu")
    assert around["machine"] == platform.machine()
    assert around["processor"] or platform.machine() not in ("x86_64", "AMD64")
    assert abs(around["memory_gb"] - psutil.virtual_memory().total / 2**30) < 0.1
    assert len(around["leased"]) == 1
    known = json.loads((path.parent / "packages.json").read_text())
    for name in ("torch", "numpy", "mlflow", "pluggy"):  # those it uses and those it does not
        assert known[name] == metadata.version(name)
    assert len(known) > 100
    words = {"cwd": Path(__file__).parents[2], "capture_output": True, "text": True}
    assert code["git"] == subprocess.run(["git", "rev-parse", "HEAD"], **words).stdout.strip()
    own = ["harness", "conf", "plugins/*/harness_*"]
    changed = subprocess.run(["git", "diff", "HEAD", "--", *own], **words).stdout
    assert code["dirty"] == bool(changed)
    kept = path.parent / "code.diff"
    assert (kept.read_text() if kept.exists() else "") == changed


def test_what_was_changed_since_the_commit_is_kept_whole(tmp_path):
    shutil.copytree(Path(__file__).parents[2] / "harness", tmp_path / "harness")
    me = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "-A"], [*me, "commit", "-qm", "all"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    ask = (
        "import json, pathlib, harness; from harness.runs.provenance import commit, diff; "
        "print(json.dumps([commit(), diff()]))"
    )
    command = [sys.executable, "-c", ask]
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    told = [json.loads(subprocess.check_output(command, cwd=tmp_path, env=environ))]
    with (tmp_path / "harness" / "errors.py").open("a") as file:
        file.write("# one more line\n")
    told.append(json.loads(subprocess.check_output(command, cwd=tmp_path, env=environ)))
    (clean, nothing), (dirty, changed) = told
    assert (clean["dirty"], nothing) == (False, "")
    assert dirty["dirty"]
    assert dirty["git"] == clean["git"] != ""
    assert "+# one more line" in changed.splitlines()


def test_the_same_command_again_runs_nothing(swept):
    harness, words, _ = swept
    before = {p: p.stat().st_mtime for p in harness.folder.rglob("result.json")}
    assert "0 finished; 4 already there" in harness(*words).stderr
    assert before == {p: p.stat().st_mtime for p in harness.folder.rglob("result.json")}


def test_with_nothing_to_do_neither_torch_nor_mlflow_is_imported_and_no_process_is_started(swept):
    harness, words, _ = swept
    code = f"""
import subprocess, os, sys
from harness.cli import main
def refuse(*a, **k): raise AssertionError("a process was started")
subprocess.Popen.__init__ = refuse; os.fork = refuse; os.posix_spawn = refuse
try: main({list(words)!r})
except SystemExit as leave: assert not leave.code, leave.code
assert not {{"torch", "transformers", "mlflow"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=harness.folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "0 finished; 4 already there" in done.stderr


def test_a_store_that_lost_a_run_gets_it_again_from_the_folder(swept):
    from mlflow import MlflowClient

    harness, words, _ = swept
    client = MlflowClient(f"sqlite:///{harness.folder / 'results' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("alibi").experiment_id
    lost = client.search_runs([experiment], "tags.run_key != ''")[0]
    client.delete_run(lost.info.run_id)
    harness(*words)
    found = client.search_runs([experiment], f"tags.run_key = '{lost.data.tags['run_key']}'")
    assert [run.info.status for run in found] == ["FINISHED"]


def test_rerun_makes_a_run_again_with_the_same_numbers_and_the_store_has_the_new_run_alone(swept):
    from mlflow import MlflowClient

    harness, _, _ = swept
    path = min((harness.folder / "results" / "runs" / "alibi" / "learned").glob("*/result.json"))
    before = json.loads(path.read_text())
    corpus, seed = before["config"]["data"]["corpus"], before["config"]["seed"]
    harness("run", "method=alibi/learned", f"seed={seed}", *SMOKE, f"data.corpus={corpus}", "rerun=true")
    after = json.loads(path.read_text())
    assert after["timings"] != before["timings"]
    assert after["metrics"] == before["metrics"]
    client = MlflowClient(f"sqlite:///{harness.folder / 'results' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("alibi").experiment_id
    (run,) = client.search_runs([experiment], f"tags.run_key = '{path.parent.name}'")
    assert run.data.metrics["seconds/total"] == after["timings"]["total"]
    curves = [json.loads(line) for line in (path.parent / "metrics.jsonl").read_text().splitlines()]
    told = [point.value for point in client.get_metric_history(run.info.run_id, "loss")]
    assert told == [row["loss"] for row in curves if "loss" in row]


def test_what_cannot_exist_for_a_method_is_absent_with_its_reason(swept):
    harness, _, _ = swept
    path = next((harness.folder / "results" / "runs" / "alibi" / "learned").glob("*/result.json"))
    result = json.loads(path.read_text())
    assert "perplexity_1L" in result["metrics"]
    assert "perplexity_2L" not in result["metrics"]
    assert "end at L" in result["absent"]["perplexity_2L"]


def test_metrics_are_computed_from_the_items_that_are_kept(swept):
    from harness.papers.plugins import load
    from harness.papers.reduction import reduce
    from harness.runs.results import read_items

    harness, _, _ = swept
    path = next((harness.folder / "results" / "runs").rglob("result.json"))
    metrics = json.loads(path.read_text())["metrics"]
    items = read_items(path.parent)
    paper = load("alibi").paper
    assert items
    for name, item in items.items():
        assert reduce(paper.metrics[name], item.columns) == pytest.approx(metrics[name], rel=1e-12)


def test_status_shows_the_matrix_of_methods_and_seeds(swept):
    harness, _, _ = swept
    rows = json.loads(harness("status", "--json").stdout)
    assert {(row["method"], row["seed"], row["state"]) for row in rows} >= {
        (method, seed, "finished") for method in ("alibi", "learned") for seed in (0, 1)
    }
    assert "done" in harness("status").stdout


def test_a_report_is_written_three_ways_and_stays_offline(swept):
    harness, _, _ = swept
    printed = json.loads(harness("report", "alibi", "--json").stdout)
    folder = harness.folder / "results" / "reports"
    page = (folder / "alibi.html").read_text(encoding="utf-8")
    assert {c["verdict"] for card in printed for c in card["claims"]} <= {"open", "not tested"}
    assert "<svg" in page
    assert 'src="http' not in page
    assert 'href="http' not in page.replace('href="https://arxiv.org', "")
    assert (folder / "alibi.md").exists()


def test_two_seeds_are_too_few_for_a_verdict(swept):
    harness, _, _ = swept
    (card,) = json.loads(harness("report", "alibi", "--json").stdout)
    assert {claim["verdict"] for claim in card["claims"]} == {"open", "not tested"}


def test_mlflow_holds_the_sweep_as_parent_and_children_with_everything(swept):
    from mlflow import MlflowClient

    harness, _, _ = swept
    results = harness.folder / "results"
    client = MlflowClient(f"sqlite:///{results / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("alibi")
    runs = client.search_runs([experiment.experiment_id])
    children = [run for run in runs if "run_key" in run.data.tags]
    parents = {run.info.run_id: run for run in runs if "run_key" not in run.data.tags}
    assert len(children) == 4
    assert {run.info.status for run in runs} == {"FINISHED"}
    for run in children:
        assert run.data.tags["mlflow.parentRunId"] in parents
        assert run.data.params["task.length"] == "16"
        assert run.inputs.dataset_inputs[0].dataset.name == run.data.params["data.corpus"]
        names = {file.path for file in client.list_artifacts(run.info.run_id)}
        assert {"result.json", "items.parquet", "metrics.jsonl", "packages.json"} <= names
        steps = [point.step for point in client.get_metric_history(run.info.run_id, "loss")]
        assert steps == sorted(set(steps))
        assert steps


def test_a_run_that_the_store_has_twice_since_an_answer_was_lost_is_there_once_again(swept):
    from mlflow import MlflowClient

    harness, words, _ = swept
    client = MlflowClient(f"sqlite:///{harness.folder / 'results' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("alibi").experiment_id
    first = client.search_runs([experiment], "tags.run_key != ''")[0]
    client.create_run(experiment, tags={"run_key": first.data.tags["run_key"]})
    harness(*words)
    found = client.search_runs([experiment], f"tags.run_key = '{first.data.tags['run_key']}'")
    assert [(run.info.run_id, run.info.status) for run in found] == [(first.info.run_id, "FINISHED")]


def test_a_report_from_the_store_gives_the_same_verdicts_in_an_empty_folder(swept, tmp_path):
    from tests.conftest import Harness

    harness, _, _ = swept
    store = f"sqlite:///{harness.folder / 'results' / 'mlflow.db'}"
    here = json.loads(harness("report", "alibi", "--json").stdout)
    there = json.loads(Harness(tmp_path, harness.warm)("report", "alibi", "--json", "--from", store).stdout)
    assert [c["claims"] for c in there] == [c["claims"] for c in here]


def test_tracking_switched_off_is_caught_up_by_a_later_start(harness, text):
    from mlflow import MlflowClient

    words = ("run", "method=alibi/none", *SMOKE, f"data.corpus={text}")
    harness(*words, "tracking=off")
    assert not (harness.folder / "results" / "mlflow.db").exists()
    harness(*words)
    client = MlflowClient(f"sqlite:///{harness.folder / 'results' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("alibi")
    (run,) = client.search_runs([experiment.experiment_id], "tags.run_key != ''")
    assert run.info.status == "FINISHED"


@pytest.mark.parametrize(
    ("keep", "left"), [("metrics", set()), ("weights", {"output"}), ("all", {"output", "checkpoint"})]
)
def test_keep_says_what_stays_beside_the_numbers(harness, text, keep, left):
    words = ("run", "method=alibi/none", *SMOKE, f"data.corpus={text}", "tracking=off", f"keep={keep}")
    harness(*words, "fit.checkpoint_seconds=0")
    (path,) = (harness.folder / "results" / "runs").rglob("result.json")
    assert {folder.name for folder in path.parent.iterdir() if folder.is_dir()} == left
    assert {"items.parquet", "metrics.jsonl", "log.txt"} <= {file.name for file in path.parent.iterdir()}


def test_another_setting_is_another_run_and_a_row_of_its_own(harness, text):
    words = ("run", "method=alibi/alibi", *SMOKE, f"data.corpus={text}", "tracking=off")
    harness(*words)
    harness(*words, "method.half_heads=true")
    (card,) = json.loads(harness("report", "alibi", "--json").stdout)
    assert {method["method"] for method in card["methods"]} == {"alibi", "alibi (half_heads=True)"}


def test_a_diverging_run_fails_by_name_and_the_others_finish(harness, text):
    words = ("run", "-m", "method=alibi/alibi", "task.learning_rate=1e30,1e-3", *SMOKE, f"data.corpus={text}")
    done = harness(*words, "task.clip=1e30", "tracking=off", code=1)
    assert "1 finished; 0 already there; 1 failed" in done.stderr
    assert "nan: the loss" in done.stderr
    failed = [json.loads(p.read_text()) for p in harness.folder.rglob("result.json")]
    (error,) = [result["error"] for result in failed if result["status"] == "failed"]
    assert error["type"] == "nan"
    assert error["log"]


def test_flags_may_stand_anywhere_among_the_overrides():
    from harness.sweeps.sweep import in_order

    assert in_order(["results=x", "-m", "method=a,b"]) == ["-m", "results=x", "method=a,b"]
    assert in_order(["a=1", "--cfg", "job", "b=2"]) == ["--cfg", "job", "a=1", "b=2"]
    assert in_order(["--no-such-flag", "a=1"]) == ["--no-such-flag", "a=1"]


def test_the_help_page_is_there_at_once_however_many_papers_there_are(tmp_path):
    code = "import sys, time; from harness.cli import main\n"
    code += "try: main(['run', '-m', '+experiment=alibi', '--help'])\n"
    code += "finally: print(time.process_time(), file=sys.stderr)"
    command = ["bash", "-c", f'{sys.executable} -c "{code}" | head -2']
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.stdout.startswith("harness run: run a method of a paper")
    assert float(done.stderr) < 10  # seconds of processor time; a copy of every setting a group took a minute
