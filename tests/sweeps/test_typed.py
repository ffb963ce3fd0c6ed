"""What is typed behind `data.x=` and `model=` arrives as typed, whatever letters a name is made of."""

import os
import shlex
import subprocess
import sys
from itertools import product

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.papers.plugins import load_all
from harness.sweeps import inside
from harness.sweeps.choices import offer
from harness.sweeps.compose import compose
from harness.sweeps.typed import as_typed

NAMES = st.text("ab \t()[]{},=#'\"\\:;@&!?%~$*+|<>^-.한ü😀", min_size=1, max_size=9).filter(
    lambda name: name.strip() and name not in (".", "..") and "${" not in name
)
METHOD = ("method=alibi/alibi", "budget=smoke")


@pytest.fixture(scope="module", autouse=True)
def papers():
    offer(load_all())


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(words: list[str], multirun: bool = False) -> list[str]:
    """Return what Hydra's grammar reads behind `=`, in the first pass and in that of each job."""
    typed = as_typed([*(["-m"] if multirun else []), *words])
    parser = OverridesParser.create()
    jobs = inside.combinations(parser.parse_overrides([word for word in typed if word != "-m"]))
    return [parser.parse_override(word).value() for job in jobs for word in job]


def arrived(words: list[str], multirun: bool = False) -> list[str]:
    """Return what a command composes to, job by job."""
    typed = as_typed([*(["-m"] if multirun else []), *METHOD, *words])
    jobs = compose([word for word in typed if word != "-m"], multirun).jobs
    return [job.cfg.data.corpus for job in jobs]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=NAMES, key=st.sampled_from(["data.corpus", "+data.corpus", "++data.corpus"]))
def test_a_file_of_any_name_arrives_unchanged(place, name, key):
    (place / name).touch()
    try:
        assert read([f"{key}={name}"]) == [name]
        if "," not in name:
            assert read([f"{key}={name}"], multirun=True) == [name]
    finally:
        (place / name).unlink()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(NAMES, min_size=2, max_size=3, unique=True))
def test_a_sweep_over_files_of_any_names_without_commas_is_one_job_each(place, names):
    assume(not any("," in name or name != name.strip() or name[0] in "'\"" for name in names))
    assert read([f"data.corpus={','.join(names)}"], multirun=True) == names


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.tuples(NAMES, NAMES).map(lambda two: ",".join(two).replace("\t", "")))
def test_both_forms_of_a_refused_comma_mean_what_the_sentence_says(place, name):
    # What is quoted whole is meant so, each of many too; tabs are not shown in a sentence.
    assume(not any(part.strip().startswith(("'", '"')) for part in name.split(",")))
    (place / name).touch()
    try:
        with pytest.raises(UsageError, match="a comma separates values") as refused:
            read([f"data.corpus={name}"], multirun=True)
        shown = str(refused.value).partition(": write ")[2].rpartition(" for ")[0]
        one, many = shlex.split(shown.replace(" for that file, or ", "\n"))
        assert read([one], multirun=True) == [name]
        assert read([many], multirun=True) == [part.strip() for part in name.split(",")]
    finally:
        (place / name).unlink()


def test_a_name_reaches_the_settings_of_one_job_and_of_many(place):
    name = "x (1) [v2] {y} a=b #3 'q' \"r\" \\ 50% $x ~t.txt"
    (place / name).touch()
    assert arrived([f"data.corpus={name}"]) == [name]
    assert arrived([f"data.corpus={name},b.txt"], multirun=True) == [name, "b.txt"]


@pytest.mark.parametrize(
    ("typed", "values"),
    [
        ("a.txt,b.txt", ["a.txt", "b.txt"]),
        ("'a,b.txt',c.txt", ["a,b.txt", "c.txt"]),
        ("\"a b.txt\", 'c#d'", ["a b.txt", "c#d"]),
        ("choice(a.txt,b.txt)", ["a.txt", "b.txt"]),
        ("mine.tsv?text:body", ["mine.tsv?text:body"]),
        ("pypi:a==1#b.gguf", ["pypi:a==1#b.gguf"]),
        ("'pypi:a==1#b.gguf'", ["pypi:a==1#b.gguf"]),
        ("pypi:a==1#b.gguf,hub:x/y@main#c/d", ["pypi:a==1#b.gguf", "hub:x/y@main#c/d"]),
    ],
)
def test_sweeps_and_addresses_go_on_working(place, typed, values):
    assert read([f"data.corpus={typed}"], multirun=True) == values


def test_the_address_of_an_engine_arrives_with_its_model(place):
    word = "http://127.0.0.1:8000/v1#org/a model"
    assert read([f"task.engine={word}"]) == read([f"task.engine={word}"], multirun=True) == [word]


def test_what_is_not_a_name_is_left_to_hydra():
    words = ["task.length=3", "method=a,b", "seed=0,1", "-m", "~data.corpus", "model=", "hydra.sweeper.x=1,2"]
    assert as_typed(words) == words


def test_columns_behind_a_name_with_a_comma_are_seen_too(place):
    (place / "a,b.tsv").touch()
    with pytest.raises(UsageError, match="a comma separates values"):
        as_typed(["-m", "data.corpus=a,b.tsv?text:body"])
    with pytest.raises(UsageError, match=r"'a,b\.tsv'"):
        as_typed(["-m", "data.corpus=c.tsv,a,b.tsv"])


def test_a_sweep_without_m_is_told_as_such(place, capsys):
    from harness.cli import main

    for name in ("a.txt", "b.txt"):
        (place / name).write_text("text\n")
    with pytest.raises(SystemExit) as left:
        main(["run", *METHOD, "data.corpus=a.txt,b.txt"])
    assert left.value.code == 2
    assert "--multirun" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["run", "plan", "gate", "decide"])
def test_every_command_takes_them_so_and_asks_nothing(place, command):
    name = "x (1) [v2] a=b #3 'q' \"r\".txt"
    (place / name).write_text("too short\n")
    words = {
        "run": ["run", *METHOD, f"data.corpus={name}", "task.length=0"],
        "plan": ["plan", *METHOD, f"data.corpus={name}", "task.length=0"],
        "decide": ["decide", *METHOD, f"data.corpus={name}", "task.length=0"],
        "gate": ["gate", shlex.join([*METHOD, f"data.corpus={name}", "task.length=0"]), "task.width=64"],
    }[command]
    done = subprocess.run(
        [sys.executable, "-m", "harness", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 2, done.stderr  # for its length alone: the name has come through
    assert "length=0 is out of range" in done.stderr


@pytest.mark.parametrize(
    ("word", "says"),
    [
        *product(["seed=-1", "seed=4294967296"], ["the configuration: seed=", "out of range"]),
        ("task.steps=-3", "steps=-3 is out of range (training steps): give 1 or more"),
        ("task.dropout=1.5", "dropout=1.5 is out of range"),
        ("task.dropout=nan", "dropout=nan is out of range"),
        ("processes=0", "give 1 or more"),
        ("fit.micro_batch=0", "give 1 or more"),
        ("limits.minutes=-1", "minutes=-1.0 is out of range"),
        ("leases.per_gpu=0", "give 1 or more"),
    ],
)
def test_a_number_out_of_range_is_refused_before_any_work(place, word, says, capsys):
    from harness.cli import main

    for words in (["run", *METHOD, word], ["run", "-m", *METHOD, word], ["plan", *METHOD, word]):
        with pytest.raises(SystemExit) as left:
            main(words)
        assert left.value.code == 2
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line]
        assert says in line
    assert not (place / "results" / "runs").exists()
