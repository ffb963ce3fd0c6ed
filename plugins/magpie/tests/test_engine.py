"""Magpie by an engine elsewhere: the rows end as they do here, what has come is kept, and the server is on record."""

import json

import pytest
from harness_magpie.generator import load_generator
from harness_magpie.preparation import tiny_chat_model
from harness_magpie.sampling import Sampling, asked_rows, continue_rows, ended_at
from harness_magpie.synthesis import synthesize
from harness_magpie.tagging import Tools
from magpie_models import recipe

from benchmarks.serving import Loopback
from harness.cli import main
from harness.contract.bench import smoke_spec
from harness.engines import engine
from harness.engines.address import KEY
from harness.engines.inside import Transformers
from harness.engines.wire import ServerError
from harness.errors import UsageError
from harness.papers.plugins import load
from harness.runs.results import read_result
from harness.runs.run import execute

SECRET = "sk-of-nobody-77ab"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("models") / "tiny"
    made.mkdir()
    tiny_chat_model(made)
    return made


@pytest.fixture(scope="module")
def here(folder):
    return load_generator(folder, "float32", "cpu")


@pytest.fixture
def server(here):
    with Loopback(Transformers(here.model, here.tokenizer)) as running:
        yield running


@pytest.fixture
def harness(tmp_path, monkeypatch, capsys):
    """Run the command in this process and an empty folder; return what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(*words, code=0):
        with pytest.raises(SystemExit) as left:
            main(list(words))
        done = capsys.readouterr()
        assert (left.value.code or 0) == code, done.err
        return done

    return run


def elsewhere(folder, server, keep=None):
    return load_generator(
        folder, "", "", opened=lambda tokenizer: engine(server.address, "tiny", folder, tokenizer, keep=keep)
    )


def test_greedy_rows_are_those_of_this_process(folder, here, server):
    there = elsewhere(folder, server)
    assert there.ends == here.ends
    prompts = [[5, 6, 7], [8], [9, 10]]
    sampling = Sampling(temperature=0.0, max_tokens=12)
    for breaks in (set(), {11, 12, 13, 14}):
        ours = continue_rows(here.model, prompts, range(3), sampling, here.ends, breaks)
        assert asked_rows(there.model, prompts, range(3), sampling, here.ends, breaks, at_once=2) == ours


def test_a_row_ends_with_its_break_and_with_its_words():
    over = lambda tokens: 1 if tokens[-2:] == [7, 8] else -1  # noqa: E731
    assert ended_at([1, 2, 3], False, {2}, None).tokens == [1, 2]
    assert ended_at([1, 7, 8, 9], False, {9}, over).tokens == [1, 7, 8]
    assert ended_at([1, 7, 8, 9], False, {9}, over).ended
    assert not ended_at([1, 2], False, {9}, over).ended


def test_a_set_is_made_and_its_rows_tell_by_what(folder, server, tmp_path):
    there = elsewhere(folder, server)
    made = synthesize(recipe(engine="completions: tiny"), there, Tools(), tmp_path / "a")
    again = synthesize(recipe(engine="completions: tiny"), there, Tools(), tmp_path / "b")
    assert made.rows
    assert made.rows == again.rows
    assert len({row["instruction"] for row in made.rows}) > 3  # every sample draws by a seed of its own
    with pytest.raises(UsageError, match="made with engine=completions: tiny, not"):
        synthesize(recipe(), there, Tools(), tmp_path / "a")


def test_a_server_that_dies_midway_costs_only_what_had_not_come(folder, here, server, tmp_path, monkeypatch):
    import tenacity

    monkeypatch.setattr(tenacity, "wait_exponential_jitter", lambda **_: lambda state: 0.01)
    whole = synthesize(recipe(), elsewhere(folder, server), Tools(), tmp_path / "whole").rows
    asked = len(server.asked) - 1
    keep = tmp_path / "set" / "stages" / "engine.jsonl"
    with Loopback(Transformers(here.model, here.tokenizer), dies_after=1 + 25) as dying:
        with pytest.raises(ServerError, match="repeat the command"):
            synthesize(recipe(), elsewhere(folder, dying, keep), Tools(), tmp_path / "set")
    kept = len(keep.read_text().splitlines())
    assert kept == 25
    before = len(server.asked)
    assert synthesize(recipe(), elsewhere(folder, server, keep), Tools(), tmp_path / "set").rows == whole
    assert len(server.asked) - before == 1 + asked - kept


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("http://127.0.0.1:9", "no server answers at http://127.0.0.1:9/v1"),
        ("vllm", "vLLM is not installed here"),
        ("trt", "engine=trt is not known"),
        (f"http://me:{SECRET}@127.0.0.1:9", "holds a user, a password or a query"),
    ],
)
def test_an_engine_that_cannot_be_is_one_sentence(harness, word, said):
    done = harness("magpie", "synthesize", "--model", "tiny", "--engine", word, "--count", "4", code=2)
    [line] = [line for line in done.err.splitlines() if line.strip()]
    assert said in line
    assert SECRET not in line


def test_the_command_makes_a_set_and_leaves_no_key_behind(harness, server, tmp_path, monkeypatch):
    server.key = SECRET
    monkeypatch.setenv(KEY, SECRET)
    done = harness(
        "magpie", "synthesize", "--model", "tiny", "--engine", server.address, "--count", "40", "--filter", "none",
        "--max-instruction-tokens", "24", "--max-answer-tokens", "6", "--batch-size", "4", "--turns", "2",
        "--out", "set",
    )  # fmt: skip
    assert f"completions: tiny at {server.address}/v1, prompts as tokens" in done.out
    assert server.most <= 4
    rows = [json.loads(line) for line in (tmp_path / "set" / "train.jsonl").read_text().splitlines()]
    assert rows
    assert {row["engine"] for row in rows} == {"completions: tiny"}
    assert "completions: tiny" in (tmp_path / "set" / "README.md").read_text()
    assert server.address not in (tmp_path / "set" / "train.jsonl").read_text()
    assert_nowhere(SECRET, tmp_path, done.out, done.err)


def test_questions_are_answered_by_a_server(harness, server, tmp_path):
    (tmp_path / "q.json").write_text(json.dumps([{"instruction": "tell me"}, {"instruction": "why is"}]))
    words = ("magpie", "answer", "q.json", "--model", "tiny", "--max-tokens", "6", "--precision", "float32")
    harness(*words, "--out", "here.json", "--device", "cpu")
    told = json.loads(harness(*words, "--out", "there.json", "--engine", server.address, "--json").out)
    assert (told["answers"], told["engine"]) == (2, "completions: tiny")
    here, there = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("here", "there"))
    assert here == there
    assert not list((tmp_path / "results" / "stages" / "engines").glob("*"))


def assert_nowhere(secret, folder, *texts):
    """No file below `folder` and no text holds the secret."""
    for path in folder.rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), path
    assert not [text for text in texts if secret in text]


def spec_of(folder, results, word):
    """Return the spec of a smoke run that only writes instructions."""
    plugin = load("magpie")
    method = next(name for name, one in plugin.paper.methods.items() if not one.config.student)
    return smoke_spec(plugin, method, results, 0, {"task.engine": f'"{word}"', "model": str(folder)})


def test_a_run_records_the_server_s_model_and_is_the_same_run_at_another_address(
    folder, server, tmp_path, monkeypatch
):
    monkeypatch.setenv(KEY, SECRET)
    server.key = SECRET
    spec = spec_of(folder, tmp_path / "results", server.address)
    assert spec.run_key == spec_of(folder, tmp_path / "results", "http://elsewhere:8000").run_key
    assert spec.run_key != spec_of(folder, tmp_path / "results", "").run_key
    one, other = (spec_of(folder, tmp_path / "results", f"{server.address}#org/{name}") for name in "ab")
    assert one.task["engine"].endswith("#org/a")
    assert one.run_key != other.run_key
    result = execute(spec, load("magpie"))
    assert result.status == "finished", result.error
    told = read_result(spec.folder).data["engine"]
    assert (told["model"], told["answers as"], told["engine"]) == ("tiny", "tiny", "completions")
    assert told["name"] == f"tiny at {server.address}/v1"
    assert_nowhere(SECRET, tmp_path)


def test_a_run_without_its_server_fails_by_one_sentence(folder, tmp_path):
    result = execute(spec_of(folder, tmp_path / "results", "http://127.0.0.1:9"), load("magpie"))
    assert result.status == "failed"
    assert result.error["message"].startswith("no server answers at http://127.0.0.1:9/v1")


@pytest.mark.parametrize("word", ["http://127.0.0.1:9", f"https://me:{SECRET}@host/v1", "trt"])
def test_a_sweep_with_an_engine_that_cannot_be_starts_no_run(harness, word, tmp_path):
    done = harness(
        "run", "method=magpie/magpie", "budget=smoke", "tracking=off", f"task.engine={word}", code=2
    )
    assert "engine=" in done.err or "address" in done.err
    assert_nowhere(SECRET, tmp_path, done.out, done.err)
    assert not list(tmp_path.rglob("config.json"))
