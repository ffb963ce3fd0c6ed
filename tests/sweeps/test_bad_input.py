"""Each wrong thing one may type gets one sentence that names it and the fix, exit code 2, no traceback."""

import pytest

from harness.cli import main

SMOKE = ("method=alibi/alibi", "budget=smoke", "tracking=off")

MISTAKES = {
    "unknown paper": (["run", "method=albi/alibi"], ["albi/alibi", "did you mean 'alibi/alibi'"]),
    "unknown method": (["run", "method=alibi/sinusodal"], ["did you mean 'alibi/sinusoidal'"]),
    "no method": (["run"], ["method=<paper>/<method>"]),
    "unknown budget": (["run", "method=alibi/alibi", "budget=tiny"], ["tiny", "small"]),
    "unknown key": (["run", *SMOKE, "task.lenght=3"], ["lenght", "did you mean 'length'"]),
    "unknown key behind +": (["run", *SMOKE, "+task.lenght=3"], ["lenght", "did you mean 'length'"]),
    "unknown method key behind +": (["run", *SMOKE, "+method.slope=1"], ["slope", "learned_slopes"]),
    "code behind +": (["run", *SMOKE, "+method._target_=os.system"], ["_target_"]),
    "unknown setting": (["run", *SMOKE, "sed=3"], ["did you mean 'seed'"]),
    "wrong type": (["run", *SMOKE, "task.length=long"], ["task.length=long", "Integer"]),
    "wrong choice": (["run", *SMOKE, "device=tpu"], ["device=tpu", "cuda"]),
    "the kit's own device": (["run", *SMOKE, "device=pretend"], ["device=pretend", "cuda"]),
    "sweep without -m": (["run", "+experiment=alibi"], ["add -m"]),
    "sweep without -m, and a blank in it": (
        ["run", "+experiment=alibi", "keep=a b"],
        ["harness run -m +experiment=alibi 'keep=a b'"],
    ),
    "unknown experiment": (["run", "-m", "+experiment=alib"], ["did you mean 'alibi'"]),
    "a glob that matches nothing": (["run", "-m", "method=glob(nothing*)"], ["no jobs"]),
    "nothing at once": (
        ["run", "-m", *SMOKE, "hydra.launcher.n_jobs=0"],
        ["hydra.launcher.n_jobs=0 starts nothing", "-1 for all cores"],
    ),
    "unknown option": (["run", *SMOKE, "--fast"], ["--fast", "--help"]),
    "broken grammar": (["run", *SMOKE, "task.length=[1,"], ["task.length=[1,"]),
    "missing file": (["run", *SMOKE, "data.corpus=nowhere.txt"], ["nowhere.txt"]),
    "unknown source": (["run", *SMOKE, "data.corpus=builtin:bible"], ["bible", "python"]),
    "unknown data name": (["run", *SMOKE, "data.corpse=x.txt"], ["did you mean 'corpus'"]),
    "a model that is not read": (
        ["run", *SMOKE, "model=gpt2"],
        ["alibi/alibi starts from no model", "model=gpt2 would not be read", "retrofit"],
    ),
    "a model that is not read, priced": (["plan", *SMOKE, "model=gpt2"], ["starts from no model"]),
    "a model that is not here, priced": (
        ["plan", "method=alibi/retrofit", "model=gpt2"],
        ["model=gpt2 is not here", "give its folder"],
    ),
    "unknown command": (["rapport"], ["rapport", "report"]),
    "a setting to report": (["report", "results=mine"], ["results=mine", "--results FOLDER"]),
    "unknown paper to report": (["report", "albi"], ["did you mean 'alibi'"]),
    "unknown paper's data": (["data", "albi"], ["did you mean 'alibi'"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gets_one_sentence_with_the_mend(mistake, tmp_path, monkeypatch, capsys):
    words, said = MISTAKES[mistake]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line]
    assert line.startswith("harness: ")
    for part in said:
        assert part in line


def test_a_mistake_in_the_last_method_of_a_sweep_costs_no_run(harness):
    harness("run", "-m", "method=alibi/alibi,alibi/typo", "budget=smoke", "tracking=off", code=2)
    assert not (harness.folder / "results" / "runs").exists()


def test_a_traceback_is_there_for_those_who_ask(harness):
    done = harness("run", "method=alibi/typo", code=1, HYDRA_FULL_ERROR="1")
    assert "Traceback" in done.stderr


def test_reporting_nothing_says_what_to_run(harness):
    done = harness("report", code=1)
    assert "harness run -m +experiment=" in done.stderr


FILES = {
    "empty": (b"", "empty"),
    "binary": (bytes(range(256)) * 20, "binary"),
    "wrong encoding": ("한국어 문서입니다. ".encode("cp949") * 50, "utf-8"),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_cannot_be_read_is_named(harness, kind):
    content, said = FILES[kind]
    path = harness.folder / "mine.txt"
    path.write_bytes(content)
    done = harness("run", *SMOKE, f"data.corpus={path}", code=None)
    assert done.returncode in (1, 2)
    assert "mine.txt" in done.stderr
    assert said in done.stderr.lower()
    assert "Traceback" not in done.stderr


def test_a_corpus_shorter_than_a_window_says_which_setting_to_lower(harness):
    (harness.folder / "short.txt").write_text("too short to learn from\n" * 3)
    done = harness("run", *SMOKE, "data.corpus=short.txt", "task.length=4096", code=1)
    assert "task.length" in done.stderr
    assert "Traceback" not in done.stderr


def test_results_that_cannot_be_written_are_named_before_anything_runs(harness):
    (harness.folder / "taken").write_text("a file, not a folder")
    done = harness("run", *SMOKE, "results=taken/results", code=1)
    assert "taken/results" in done.stderr
    assert "results=" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_tracking_server_that_is_down_costs_no_run(harness, text):
    words = ["run", *SMOKE[:2], f"data.corpus={text}", "tracking.uri=http://127.0.0.1:9"]
    done = harness(*words, code=1)
    assert "http://127.0.0.1:9 does not answer" in done.stderr
    assert "Traceback" not in done.stderr
    again = harness("run", *SMOKE, f"data.corpus={text}")
    assert "1 already there" in again.stderr
