"""What commands say with `--json`: valid by the schemas, on real output, and nothing else on standard output."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

from harness.cli import _app
from harness.commands.listing import schemas
from harness.exchange.answers import SAID, untrusted
from harness.papers.plugins import VERBS, listed, load
from tests.conftest import Harness

ROOT = Path(__file__).parents[2]
SMOKE = ("budget=smoke", "device=cpu", "tracking=off")
PAIR = ("method=alibi/alibi,alibi/learned", *SMOKE)


def closed(schema):
    """Return a schema that allows no key which it does not describe."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    more = {"additionalProperties": False} if "properties" in schema else {}
    return {**{key: closed(part) for key, part in schema.items()}, **more}


def valid(name: str, value: object) -> None:
    """Fail where a value is not of its schema, or holds what the schema does not describe."""
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    schema = json.loads(schemas()[name])
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(value, closed(schema), jsonschema.Draft202012Validator)


def objects(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def error_of(done, code: int) -> dict:
    """Return the error that the last line of an output holds, the sentence being told to people too."""
    told = json.loads(done.stdout.splitlines()[-1])
    valid("error", told)
    error = told["error"]
    assert error["exit_code"] == done.returncode == code
    assert "harness: " in done.stderr
    return error


@pytest.fixture(scope="module")
def swept(tmp_path_factory, text, warm):
    """A folder with a smoke sweep, and what `run --json` said of it."""
    harness = Harness(tmp_path_factory.mktemp("answers"), warm)
    done = harness("run", "--json", "-m", *PAIR, f"data.corpus={text}", "seed=0")
    return harness, objects(done.stdout)


def test_run_tells_its_beginning_each_end_and_how_it_came_out(swept):
    _, lines = swept
    for line in lines:
        valid("run", line)
    assert [line["event"] for line in lines] == ["sweep", "run", "run", "ended"]
    assert {(one["method"], one["seed"], one["outcome"]) for one in lines[1:3]} == {
        ("alibi", 0, "finished"),
        ("learned", 0, "finished"),
    }
    assert (lines[-1]["finished"], lines[-1]["failed"], lines[-1]["exit_code"]) == (2, 0, 0)


def test_run_again_tells_that_all_was_there(swept, text):
    harness, _ = swept
    lines = objects(harness("run", "-m", *PAIR, f"data.corpus={text}", "seed=0", "--json").stdout)
    assert [line.get("outcome") for line in lines] == [None, "skipped", "skipped", None]
    assert lines[-1]["skipped"] == 2


def test_a_failed_run_is_an_object_and_no_error_of_the_command(swept):
    harness, _ = swept
    (harness.folder / "empty.txt").write_text("")
    done = harness("run", "--json", "method=alibi/alibi", *SMOKE, "data.corpus=empty.txt", code=None)
    lines = objects(done.stdout)
    if "error" in lines[-1]:  # refused before anything ran
        valid("error", lines[-1])
    else:
        for line in lines:
            valid("run", line)
        assert lines[-1]["exit_code"] == done.returncode == 1
        assert lines[1]["error"]["message"]
        assert "error.message" in lines[1]["untrusted"]


COMMANDS = {
    "report": ("report", "alibi"),
    "compare": ("compare", "alibi/alibi", "alibi/learned"),
    "status": ("status",),
    "papers": ("papers", "-v"),
    "data": ("data", "alibi"),
    "over": ("report", "alibi", "--over", "data"),
    "export": ("export", "alibi"),
    "push": ("push", "alibi/alibi", "--to", "user/model"),
    "new": ("new", "some-paper"),
    "skill": ("skill",),
    "schema": ("schema",),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_what_a_command_prints_is_valid_by_its_schema(swept, name):
    harness, _ = swept
    done = harness(*COMMANDS[name], "--json")
    valid(name, json.loads(done.stdout))


def test_a_bundle_and_its_verification_are_told_as_their_schemas_say(swept):
    harness, _ = swept
    valid("bundle", json.loads(harness("bundle", "alibi", "--out", "a.zip", "--json").stdout))
    valid("verify", json.loads(harness("verify", "a.zip", "--seed", "0", "--json", code=None).stdout))


def test_papers_without_importing_them_are_of_the_same_schema(harness):
    valid("papers", json.loads(harness("papers", "--json").stdout))


def test_plan_prices_as_its_schema_says(harness, text):
    words = ["plan", "method=alibi/alibi", "budget=small", f"data.corpus={text}", "--json"]
    valid("plan", json.loads(harness(*words).stdout))
    valid("plan", json.loads(harness(*words, "--price-per-hour", "2", "--gb", "0.1").stdout))


def test_judge_says_what_its_schema_says(harness):
    rows = "\n".join(f"{m},{s},{0.5 + 0.1 * (m == 'b') + 0.01 * s}" for m in "abc" for s in range(3))
    (harness.folder / "runs.csv").write_text(f"method,seed,value\n{rows}\n")
    done = harness("judge", "runs.csv", "--reader", "csv", "--json")
    valid("judge", json.loads(done.stdout))


@pytest.mark.slow
def test_decide_tells_looks_and_runs_as_they_come(harness, text):
    words = ["method=alibi/alibi,alibi/learned,alibi/sinusoidal", *SMOKE, f"data.corpus={text}"]
    done = harness("decide", *words, "--claims", "1", "--json", code=4)
    lines = objects(done.stdout)
    for line in lines:
        valid("decide", line)
    assert lines[0]["event"] == "sweep"
    assert {"sweep", "run", "look", "ended"} == {line["event"] for line in lines}
    assert lines[-1]["event"] == "ended"
    assert lines[-1]["exit_code"] == 4
    assert lines[-1]["open"]


PROGRAM = """
import argparse, json
p = argparse.ArgumentParser(); p.add_argument("--seed", type=int); p.add_argument("--add", type=float)
a = p.parse_args(); print(json.dumps({"score": a.add + 0.01 * ((a.seed * 7 + a.add * 3) % 5)}))
"""


@pytest.mark.parametrize(("add", "code"), [("1", 0), ("0", 3)])
def test_gate_tells_runs_and_looks_as_they_come(harness, add, code):
    (harness.folder / "train.py").write_text(PROGRAM)
    run = f"{sys.executable} train.py --seed {{seed}} --add {{change}}"
    done = harness("gate", "0", add, "--run", run, "--better", "higher", "--json", code=code)
    lines = objects(done.stdout)
    for line in lines:
        valid("gate", line)
    assert lines[-1]["event"] == "ended"
    assert lines[-1]["exit_code"] == code
    if not code:
        assert lines[-2]["event"] == "look"
        assert {line["event"] for line in lines[:-2]} == {"run"}


@pytest.mark.slow
def test_check_says_each_part_as_its_schema_says(harness):
    found = json.loads(harness("check", "alibi", "--json").stdout)
    valid("check", found)
    assert [one["name"] for one in found if not one["passed"] or one["untried"]] == []


def test_ui_says_where_it_opens_before_it_does(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "harness", "ui", "--port", "5987", "--json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        told = json.loads("".join(iter(process.stdout.readline, "}\n")) + "}")
    finally:
        process.terminate()
        process.communicate()
    valid("ui", told)
    assert told["url"] == "http://127.0.0.1:5987"


WRONG = {
    "an option": ("report", "--no-such", "--json"),
    "an argument too few": ("compare", "alibi/alibi", "--json"),
    "a value": ("ui", "--port", "here", "--json"),
    "a command": ("rport", "--json"),
    "an override": ("run", "--json", "method=alibi/alibi", "no.such=1"),
    "an override that cannot be read": ("run", "--json", "method=alibi/alibi", "task.length=[1"),
    "a method": ("run", "--json", "method=alibi/alibo"),
    "Hydra's own flag": ("run", "--json", "--no-such"),
    "a decision": ("decide", "method=alibi/alibo", "--json"),
    "a paper": ("check", "no_such_paper", "--json"),
    "a schema": ("schema", "reprot", "--json"),
    "help as text": ("run", "--help", "--json"),
    "a paper's own command": ("rdass", "score", "--json"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_usage_is_an_error_in_json_with_a_fix(harness, what):
    error = error_of(harness(*WRONG[what], code=2), 2)
    assert error["type"] == "UsageError"
    assert error["fix"], error
    assert error["fix"] in error["message"]


def test_without_json_nothing_is_printed_of_an_error(harness):
    assert harness("report", "--no-such", code=2).stdout == ""
    assert harness("run", "no.such=1", code=2).stdout == ""


def test_the_seed_of_a_word_after_two_dashes_asks_for_no_json(harness):
    assert harness("report", "--", "--json", code=2).stdout == ""


def test_what_a_library_prints_to_standard_output_is_no_line_of_json(swept, text, tmp_path):
    """Hydra, loggers, a plugin in the driver's own process."""
    harness, _ = swept
    words = ["run", "--json", "method=alibi/alibi", *SMOKE, f"data.corpus={text}", "seed=5", "isolate=false"]
    done = harness(*words, "hydra.verbose=true", code=None)
    assert all(isinstance(one, dict) for one in objects(done.stdout))


@pytest.mark.parametrize("sort", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_command_with_an_error_in_json(tmp_path, sort):
    (tmp_path / "train.py").write_text("import time\nopen('begun', 'w').close()\ntime.sleep(60)\n")
    words = [
        "gate",
        "a",
        "b",
        "--run",
        f"{sys.executable} train.py {{change}} {{seed}}",
        "--better",
        "higher",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "harness", *words, "--json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background job ignores it
    )
    while not (tmp_path / "begun").exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(sort)
    out, err = process.communicate(timeout=60)
    done = subprocess.CompletedProcess(words, process.returncode, out, err)
    error = error_of(done, 128 + sort)
    assert error["type"] == sort.name
    assert error["fix"].startswith("repeat the command")


def test_a_locale_without_letters_gets_json_all_the_same(harness):
    done = harness("papers", "-v", "--json", LC_ALL="C", PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    valid("papers", json.loads(done.stdout))


def test_every_command_has_json_and_a_schema():
    commands = typer.main.get_command(_app([])).commands  # type: ignore[attr-defined]
    assert set(VERBS) == set(commands)
    for verb, command in commands.items():
        assert verb == "run" or any("--json" in one.opts for one in command.params), verb
        assert verb in SAID, f"harness/exchange/answers.py says nothing of {verb}"


def test_the_published_schemas_are_those_of_the_code():
    folder = ROOT / "docs" / "schemas"
    assert {path.name.partition(".")[0]: path.read_text("utf-8") for path in folder.iterdir()} == schemas()


def test_text_that_came_from_elsewhere_is_marked_in_the_schema_and_in_what_is_printed(swept):
    harness, _ = swept
    (card,) = json.loads(harness("report", "alibi", "--json").stdout)
    assert {"claims[].reason", "failures[].message", "absent.*.*"} <= set(card["untrusted"])
    assert set(card["untrusted"]) <= set(untrusted("report"))
    marked = [n for n, text in schemas().items() if '"x-untrusted": true' in text]
    assert {n for n in SAID if untrusted(n)} == set(marked)


def test_a_schema_is_printed_as_it_is(harness):
    assert json.loads(harness("schema", "report").stdout) == json.loads(schemas()["report"])


@pytest.mark.parametrize("paper", [listing.name for listing in listed()])
def test_a_papers_own_commands_have_json_too(paper):
    plugin = load(paper)
    if not plugin.implements("tools"):
        pytest.skip("it has no commands of its own")
    app = typer.Typer()
    plugin.hook("tools")(app=app)
    app.callback()(lambda: None)
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        assert any("--json" in parameter.opts for parameter in command.params), f"{paper} {name}"
