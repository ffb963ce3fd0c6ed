"""Code problems: programs are confined, leaving early is no way to pass, and reference solutions pass their tests."""

import json
import os
import socket
from pathlib import Path

import pytest
from harness_score.coding import asked, found_code, program, refuse_untested
from harness_score.sandbox import Program, passing, refusal
from harness_score.verifiers import VerifierError, code, rewards

from harness.errors import UsageError

confined = pytest.mark.skipif(bool(refusal()), reason=f"programs cannot be confined here: {refusal()}")
REFUSED = "try:\n    {}\nexcept OSError:\n    pass\nelse:\n    raise SystemExit('it was allowed')"


def passes(*parts, seconds=10.0, megabytes=1024):
    return passing([Program(parts)], seconds, megabytes)[0]


@confined
def test_a_program_passes_if_it_comes_to_its_end():
    assert passes("def f(x): return x + 1", "assert f(1) == 2")
    assert not passes("def f(x): return x", "assert f(1) == 2")
    assert not passes("def f(x:", "")


@confined
@pytest.mark.parametrize(
    "code",
    [
        "import os; os._exit(0)",
        "raise SystemExit(0)",
        "exit()",
        "assert = 1",
        "x = '''",
        "import os; os.abort()",
    ],
)
def test_leaving_early_is_no_way_to_pass(code):
    assert not passes(code, "assert False")


@confined
@pytest.mark.parametrize(
    "attempt",
    [
        "import socket; socket.socket()",
        "import socket; socket.create_connection(('127.0.0.1', {port}), 1)",
        "import os; os.fork()",
        "import os; os.posix_spawn('/bin/true', ['true'], {{}})",
        "import os; os.execv('/bin/true', ['true'])",
        "import os; os.kill(os.getppid(), 0)",
        "import os; os.kill(-1, 0)",
        "open({outside!r}, 'w')",
        "open({victim!r}, 'a')",
        "import os; os.remove({victim!r})",
        "import os; os.truncate({victim!r}, 0)",
        "import os; os.chmod({victim!r}, 0)",
        "import os; os.rename({victim!r}, 'mine')",
        "import os; os.mkdir({outside!r})",
        "import os; os.symlink({victim!r}, {outside!r})",
    ],
)
def test_what_a_program_must_not_do_is_refused(attempt, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("kept")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        told = attempt.format(port=port, outside=str(tmp_path / "outside"), victim=str(victim))
        assert passes(REFUSED.format(told.replace("; ", "\n    ")))
    assert victim.read_text() == "kept"
    assert not (tmp_path / "outside").exists()


@confined
def test_a_program_has_a_folder_and_an_environment_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "password")
    monkeypatch.chdir(tmp_path)
    assert passes(
        "import os, tempfile, threading",
        "open('a', 'w').write('x'); os.mkdir('b'); os.rename('a', 'b/a'); assert open('b/a').read() == 'x'",
        "assert 'SECRET' not in os.environ and 'HOME' not in os.environ",
        "seen = []; one = threading.Thread(target=seen.append, args=(1,)); one.start(); one.join(); assert seen",
    )
    assert not list(tmp_path.iterdir())


@confined
def test_time_memory_and_disk_are_bounded():
    assert not passes("while True: pass", seconds=1)
    assert not passes("import time; time.sleep(60)", seconds=0.5)
    assert not passes("x = bytearray(2 * 2**30)")
    assert not passes("f = open('x', 'wb')\nfor _ in range(64): f.write(bytes(2**20))")
    assert passes("for _ in range(10**4): print('x' * 100)")


def test_code_is_found_in_blocks_marks_or_as_it_is():
    assert found_code("def f(): pass") == "def f(): pass"
    assert found_code("So:\n```python\ndef f(): pass\n```\nUse:\n```\nf()\n```") == "def f(): pass\n"
    assert found_code("```py\ndef g(): pass\n```\n```py\ndef f(): pass\n```", "g") == "def g(): pass\n"
    assert found_code("[BEGIN]\r\ndef f(): pass\r\n[DONE]") == "\ndef f(): pass\n"
    assert found_code("```python\ndef f(): pass") == "def f(): pass"  # an answer that was cut
    assert found_code("1. So:\n   ```python\n   def f():\n       pass\n   ```") == "def f():\n    pass\n"
    for opening in (
        "```Python",
        "``` python3.11",
        "```py3",
        "```{.python}",
        "````python",
        "~~~python",
        "```python title=x",
    ):
        assert (
            found_code(f"{opening}\ndef f(): pass\n{opening[:3]}\n```text\nf() gives\n```")
            == "def f(): pass\n"
        )


MBPP = {
    "text": "Write f that adds one.",
    "test_list": ["assert f(1) == 2", "assert f(2) == 3"],
    "test_setup_code": "",
}
HUMANEVAL = {
    "prompt": "import math\n\ndef f(x):\n    \"\"\"Add one.\"\"\"\n", "entry_point": "f",
    "test": "def check(candidate):\n    assert candidate(1) == 2\n",
}  # fmt: skip
SANITIZED = {
    "prompt": "Write f that adds one.", "test_imports": ["import math"],
    "test_list": ["assert f(1) == math.floor(2.5)"],
}  # fmt: skip
OWN = {"problem": "Write f that adds one.", "tests": "assert f(1) == y", "setup": "y = 2"}


def test_a_row_asks_and_shows_its_tests():
    assert "assert f(1) == 2\nassert f(2) == 3" in asked(MBPP)
    assert "Add one." in asked(HUMANEVAL)
    assert "adds one.\n\nYour code should pass these tests:\n\nassert f(1)" in asked(SANITIZED)
    assert "assert f(1) == y" in asked(OWN)
    for row in ({"problem": "?", "answer": "7"}, {"text": "?", "test_list": []}, {"prompt": "def f():"}):
        assert asked(row) is None
    with pytest.raises(UsageError, match=r"row 2 of own\.jsonl is no code problem: it has problem, answer"):
        refuse_untested([MBPP, {"problem": "?", "answer": "7"}], "own.jsonl")


@confined
def test_the_verifier_rewards_what_passes():
    right = "```python\ndef f(x):\n    return x + 1\n```"
    rows = [
        {"problem": "?", "answer": "", "row": row}
        for row in (MBPP, MBPP, HUMANEVAL, HUMANEVAL, HUMANEVAL, OWN, SANITIZED)
    ]
    answers = [
        right,
        "def f(x): return 2",
        right,
        "    return math.floor(x) + 1\n",
        "    return x\n",
        right,
        right,
    ]
    assert rewards(code(10.0), rows, answers, 60.0) == [1, 0, 1, 1, 0, 1, 1]


def test_where_programs_cannot_be_confined_nothing_is_run(monkeypatch, tmp_path):
    import harness_score.sandbox as sandbox

    monkeypatch.setattr(sandbox, "refusal", lambda: "this kernel has no Landlock")
    with pytest.raises(VerifierError, match="cannot be confined here: this kernel has no Landlock"):
        code(1.0)([OWN], [f"open({str(tmp_path / 'x')!r}, 'w')"])
    assert not list(tmp_path.iterdir())
    with pytest.raises(
        UsageError, match=r"no Landlock\): give a sandbox of your own as task\.verifier=command"
    ):
        refuse_untested([MBPP], "own.jsonl")


@confined
@pytest.mark.parametrize(
    ("file", "solution", "every"),
    [
        pytest.param("mbpp/mbpp.jsonl", "code", 10, marks=pytest.mark.slow),
        pytest.param("humaneval/HumanEval.jsonl", "canonical_solution", 4, marks=pytest.mark.slow),
        pytest.param("mbpp/mbpp.jsonl", "code", 1, marks=pytest.mark.oracle),
        pytest.param("humaneval/HumanEval.jsonl", "canonical_solution", 1, marks=pytest.mark.oracle),
    ],
)
def test_reference_solutions_pass_their_tests(file, solution, every):
    home = os.environ.get("HARNESS_DATA")
    if not home or not Path(home, file).exists():
        pytest.skip(f"HARNESS_DATA names no folder with {file}")
    rows = [json.loads(line) for line in Path(home, file).read_text(encoding="utf-8").splitlines()[::every]]
    passed = passing([program(row, row[solution]) for row in rows], 20.0)
    failed = [row["task_id"] for row, one in zip(rows, passed, strict=True) if not one]
    assert not failed
    assert not any(passing([program(row, "pass") for row in rows[:20]], 20.0))
