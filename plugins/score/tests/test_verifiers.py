"""Verifiers: what they reward, and that one which raises, hangs or miscounts is named."""

import json
import os
import shlex
import sys
import time
from pathlib import Path

import pytest
from harness_score.settings import Task, Verifier
from harness_score.verifiers import VERIFIERS, VerifierError, command, rewards, stated_number, verifier

from harness.errors import HarnessError


@pytest.fixture(scope="module")
def data_home() -> Path:
    """The folder of real data sets, where one is given."""
    home = os.environ.get("HARNESS_DATA")
    if not home or not Path(home).is_dir():
        pytest.skip("HARNESS_DATA names no folder: GSM8K and MATH are not here")
    return Path(home)


def asked(*answers):
    return [{"problem": "?", "answer": answer} for answer in answers]


def test_exact_wants_the_same_text():
    assert VERIFIERS["exact"](asked("05", "05", "5"), [" 05\n", "5", "5"]) == [1, 0, 1]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("She has 3 + 4 = 7 apples.", 7),
        ("so 12 in all\n#### 1,234", 1234),
        ("The answer is $18.50.", 18.5),
        ("The answer is 4. I checked with 9.", 4),
        ("minus: #### -3", -3),
        ("no number here", None),
        ("#### none", None),
    ],
)
def test_a_number_is_the_stated_one_or_the_last(text, found):
    assert stated_number(text) == found


def test_numbers_are_equal_as_numbers():
    assert VERIFIERS["number"](asked("18", "18", "1,000"), ["#### 18.0", "18 or 19", "it is 1000."]) == [
        1,
        0,
        1,
    ]


def test_maths_are_equal_as_maths():
    problems = asked(r"\frac{14}{3}", r"\frac{1}{2}", "x^2+1", r"(3, \frac{\pi}{2})", "7")
    answers = [
        r"Final Answer: The final answer is $\frac{28}{6}$. I hope it is correct.",
        r"The final answer is $0.5$.",
        r"so we get $\boxed{1 + x^2}$",
        r"The final answer is $(3, \pi/2)$.",
        "I do not know",
    ]
    assert VERIFIERS["math"](problems, answers) == [1, 1, 1, 1, 0]


def program(tmp_path, body):
    path = tmp_path / "verifier.py"
    path.write_text("import json, sys, time\n" + body, encoding="utf-8")
    return f"{shlex.quote(sys.executable)} {shlex.quote(str(path))}"


JUDGE = """
for line in sys.stdin:
    row = json.loads(line)
    print(json.dumps({"reward": int(row["response"].split()[-1] == row["answer"])}))
"""


def test_a_command_of_ones_own_judges_line_by_line(tmp_path):
    task = Task(verifier=Verifier.command, verifier_command=program(tmp_path, JUDGE))
    found = rewards(verifier(task), asked("7", "8", "neunzehn ü"), ["is 7", "is 9\nno", "x ü"], 20)
    assert found == [1, 0, 0]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise ValueError('no grammar')", "no grammar"),
        ("time.sleep(60)", "did not answer within"),
        ("print(json.dumps({'reward': 1}))", "1 rewards for 2"),
        ("[print(json.dumps({'reward': 7})) for _ in sys.stdin]", "reward 7.0"),
        ("[print('yes') for _ in sys.stdin]", "must write .* wrote 'yes'"),
        ("[print(json.dumps({'reward': None})) for _ in sys.stdin]", "a reward is a number"),
    ],
)
def test_a_command_that_fails_is_named(tmp_path, body, said):
    begun = time.monotonic()
    with pytest.raises(VerifierError, match=said):
        rewards(command(program(tmp_path, body), 2.0), asked("1", "2"), ["1", "2"], 2.0)
    assert time.monotonic() - begun < 20


def test_a_command_that_is_not_there_is_named():
    with pytest.raises(HarnessError, match="there is no program"):
        command("no-such-program-here", 2.0)(asked("1"), ["1"])


def test_a_function_that_raises_or_hangs_is_named():
    def broken(problems, answers):
        raise KeyError("gold")

    def endless(problems, answers):
        while True:
            time.sleep(0.01)

    with pytest.raises(VerifierError, match=r"broken raised KeyError"):
        rewards(broken, asked("1"), ["1"], 5)
    with pytest.raises(VerifierError, match="endless hung"):
        rewards(endless, asked("1"), ["1"], 0.2)


@pytest.mark.parametrize("words", ["", "  "])
def test_a_command_must_be_given(words):
    with pytest.raises(HarnessError, match="verifier_command"):
        Task(verifier=Verifier.command, verifier_command=words)
    with pytest.raises(HarnessError, match="verifier_command"):
        command(words, 2.0)(asked("1"), ["1"])


def test_a_command_with_half_a_quotation_is_named():
    with pytest.raises(HarnessError, match=r"verifier_command=.* cannot be read \(No closing quotation\)"):
        verifier(Task(verifier=Verifier.command, verifier_command="python 'x"))


def test_a_command_s_miscount_names_the_command(tmp_path):
    words = program(tmp_path, "print(json.dumps({'reward': 1}))")
    with pytest.raises(VerifierError, match=r"verifier\.py.* gave 1 rewards for 2 answers"):
        rewards(command(words, 20.0), asked("1", "2"), ["1", "2"], 20.0)


STRAY = "print('loading model...')\n" + JUDGE + "print('{}')\n"


def test_a_stray_line_is_told_and_skipped_or_refused(tmp_path, caplog):
    words = program(tmp_path, STRAY)
    assert rewards(command(words, 20.0), asked("7", "8"), ["is 7", "is 9"], 20.0) == [1, 0]
    assert "wrote 2 lines that are no reward, the first 'loading model...'" in caplog.text
    with pytest.raises(VerifierError, match=r"nothing else, and wrote 'loading model\.\.\.'"):
        rewards(command(words, 20.0, strict=True), asked("7", "8"), ["is 7", "is 9"], 20.0)
    few = program(tmp_path, "print('loading')\nprint(json.dumps({'reward': 1}))")
    with pytest.raises(
        VerifierError, match="1 rewards for 2 answers, and lines that are none, the first 'loading'"
    ):
        rewards(command(few, 20.0), asked("7", "8"), ["is 7", "is 9"], 20.0)


def test_all_columns_of_a_row_reach_the_judge(tmp_path):
    body = """
for line in sys.stdin:
    row = json.loads(line)
    print(json.dumps({"reward": int(row["rubric"]["least"] < len(row["response"]) and row["answer"] == "7")}))
"""
    row = {"problem": "?", "answer": "7", "ids": [1], "row": {"answer": "so #### 7", "rubric": {"least": 2}}}
    assert rewards(command(program(tmp_path, body), 20.0), [row, row], ["is 7", "7"], 20.0) == [1, 0]

    def own(problems, answers):
        assert problems == [{"problem": "?", "answer": "7", "rubric": {"least": 2}}]
        return [1]

    assert rewards(own, [row], ["7"], 5) == [1]


@pytest.mark.parametrize("end", ["time.sleep(60)", "sys.exit(0)"])
def test_no_process_of_a_judge_is_left_behind(tmp_path, end):
    left = tmp_path / "left"
    quiet = "stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL"
    body = f"""
import subprocess
child = subprocess.Popen(["sleep", "77"], {quiet})
open({str(left)!r}, "w").write(str(child.pid))
[print(json.dumps({{"reward": 1}}), flush=True) for _ in sys.stdin]
{end}
"""
    judge = command(program(tmp_path, body), 5.0)
    if "sleep" in end:
        with pytest.raises(VerifierError, match="did not answer within"):
            judge(asked("1"), ["1"])
    else:
        assert judge(asked("1"), ["1"]) == [1]
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and alive(int(left.read_text())):
        time.sleep(0.05)
    assert not alive(int(left.read_text()))


def alive(process: int) -> bool:
    """Say whether a process is there and has not ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_gsm8ks_own_answers_are_right_by_the_number_verifier(data_home):
    rows = [json.loads(line) for line in (data_home / "gsm8k" / "test.jsonl").open(encoding="utf-8")]
    problems = asked(*(row["answer"].rpartition("####")[2].strip() for row in rows))
    assert VERIFIERS["number"](problems, [row["answer"] for row in rows]) == [1] * len(rows)
    shifted = problems[1:] + problems[:1]
    assert sum(VERIFIERS["number"](shifted, [row["answer"] for row in rows])) < 0.05 * len(rows)


def test_maths_own_answers_are_right_by_math_verify(data_home):
    with (data_home / "math500" / "math500.jsonl").open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file][:100]
    problems = asked(*(row["answer"] for row in rows))
    answers = [f"Final Answer: The final answer is ${row['answer']}$. I hope it is correct." for row in rows]
    assert sum(VERIFIERS["math"](problems, answers)) >= 97
    assert sum(VERIFIERS["math"](problems[1:] + problems[:1], answers)) <= 10
