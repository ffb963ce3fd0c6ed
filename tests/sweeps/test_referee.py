"""Seeds until it is decided, and proposals under one error rate: what is declared, remembered, refused."""

import json
import shlex
import sys
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.sweeps.ledger import append
from harness.sweeps.programs import program
from harness.sweeps.proposals import Terms, gate
from harness.verdicts.looks import read_lines
from tests.papers.test_plugins import install

pytestmark = pytest.mark.xdist_group("referee")
QUICK = ("isolate=false", "device=cpu", "tracking=off", "hydra.launcher.n_jobs=1")


# Decide


@pytest.fixture
def coin(harness, monkeypatch):
    """The command in a folder where the coin's paper is installed."""
    install(harness.folder, "coin", (Path(__file__).parent / "coin.py").read_text())
    monkeypatch.setenv("PYTHONPATH", str(harness.folder))
    return harness


def asked(*methods: str) -> tuple[str, ...]:
    return ("decide", "method=" + ",".join(f"coin/{name}" for name in ("plain", *methods)), *QUICK)


def last(printed: str) -> dict:
    """Return how a command came out: the last of the lines that it printed."""
    ended = json.loads(printed.splitlines()[-1])
    assert ended["event"] == "ended"
    return ended


def seeds(harness, method: str) -> list[int]:
    paths = (harness.folder / "results" / "runs" / "coin" / method).glob("*/result.json")
    return sorted(json.loads(path.read_text())["config"]["seed"] for path in paths)


def written(harness) -> dict[str, str]:
    return {path.name: path.read_text() for path in (harness.folder / "results" / "plans").glob("*.json*")}


@pytest.mark.slow
def test_seeds_go_only_where_a_verdict_is_open_and_a_repeated_command_does_nothing(coin):
    words = (*asked("better", "equal"), "--most-seeds", "8", "--power", "0", "--json")
    done = coin(*words, code=4)
    answer = last(done.stdout)
    better, equal = answer["scorecard"]["claims"]
    assert (better["verdict"], equal["verdict"]) == ("holds", "open")
    assert seeds(coin, "plain") == seeds(coin, "equal") == list(range(8))
    assert seeds(coin, "better") == list(range(better["seeds"]))
    assert better["seeds"] < 8
    assert [line["seeds"] for line in answer["looks"]] == [3, 5, 8]
    (left,) = answer["open"]
    assert left["claim"] == "equal is better"
    assert left["takes"]["seeds"] is None or left["takes"]["hours"] >= 0
    assert "runs, " in done.stderr  # what a look costs is said before it
    before = written(coin)
    again = last(coin(*words, code=4).stdout)
    assert written(coin) == before
    assert again["runs"] == 0
    assert (again["looks"], again["open"]) == (answer["looks"], answer["open"])
    told = coin("report", "coin", "--json").stdout
    claims = {claim["text"]: claim for claim in json.loads(told)[0]["claims"]}
    assert claims["better is better"]["looks"].startswith(
        f"look {len(range(3, better['seeds'] + 1, 2))} of 3"
    )
    assert {key: claims["better is better"][key] for key in ("low", "high", "verdict")} == {
        key: better[key] for key in ("low", "high", "verdict")
    }


@pytest.mark.slow
def test_a_claim_on_a_metric_that_its_method_lacks_is_open_for_the_methods_own_reason(coin):
    answer = last(coin(*asked("mute"), "--json", code=4).stdout)
    assert answer["open"][0]["why"] == "mute has no score: it has no voice"


@pytest.mark.slow
def test_a_claim_that_what_is_left_cannot_decide_gets_no_more_seeds(coin):
    words = (*asked("equal"), "--power", "0.9", "--json")
    answer = last(coin(*words, code=4).stdout)
    assert "what is left cannot decide" in answer["stopped"]
    assert "with a chance of" in answer["open"][0]["why"]
    assert seeds(coin, "equal") == [0, 1, 2]


@pytest.mark.slow
def test_no_look_is_begun_that_time_does_not_allow(coin):
    done = coin(*asked("better"), "--minutes", "0", "--json", code=4)
    answer = last(done.stdout)
    assert "left" in answer["stopped"]
    assert answer["looks"] == []
    assert seeds(coin, "better") == [0]  # the one that told the cost


@pytest.mark.slow
def test_the_seed_that_chose_a_setting_is_not_judged(coin):
    coin(*asked("tuned"), "--json", code=None)
    (plan,) = (json.loads(text) for name, text in written(coin).items() if name.endswith(".json"))
    assert plan["first_seed"] == 1
    assert seeds(coin, "tuned")[0] == 1


@pytest.mark.slow
def test_seeds_that_are_there_count_as_the_first_look(coin):
    coin("run", "-m", "method=coin/plain,coin/better", "seed=0,1,2,3", *QUICK)
    done = coin(*asked("better"), "--json", code=None)
    assert "4 seeds are there already: they count as the first look" in done.stderr
    assert last(done.stdout)["plan"]["looks"] == [4, 5, 8, 12, 20]
    assert last(coin(*asked("better"), "--json", code=None).stdout)["runs"] == 0


@pytest.mark.slow
def test_a_method_that_fails_leaves_its_claim_open_and_the_others_go_on(coin):
    answer = last(coin(*asked("better", "broken"), "--json", code=4).stdout)
    assert [claim["verdict"] for claim in answer["scorecard"]["claims"]] == ["holds", "not tested"]
    assert answer["open"][0]["claim"] == "broken is better"
    assert "broken are missing, have failed" in answer["open"][0]["why"]


@pytest.mark.slow
def test_a_plan_that_is_changed_after_a_look_says_so_and_is_judged_as_none(coin):
    coin(*asked("equal"), "--most-seeds", "3", "--json", code=4)
    done = coin(*asked("equal"), "--most-seeds", "5", "--power", "0", "--json", code=4)
    assert "was looked at before: looks 3 became 3, 5" in done.stderr
    claim = last(done.stdout)["scorecard"]["claims"][0]
    assert claim["looks"].startswith("looked 2 times, at 3 and 5 seeds: judged by the rule for looks")
    assert "the plan was changed on" in claim["looks"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--looks", "5,3"), "do not rise"),
        (("--looks", "2,5"), "needs 3 seeds or more"),
        (("--looks", "many"), "give numbers of seeds"),
        (("--most-seeds", "2"), "needs 3 seeds or more"),
        (("--spending", "wild"), "choose even or late"),
        (("--claims", "9"), "none of the 5 claims"),
        (("--claims", "tuned"), "needs the methods tuned, plain: add them"),
        (("seed=0,1",), "which seeds run is what `decide` decides"),
        (("task.steps=1,2",), "a plan is for one"),
        (("budget=smal",), "budget"),
    ],
)
def test_what_no_plan_can_be_made_of_is_one_sentence(coin, words, says):
    done = coin(*asked("better"), *words, code=2)
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (coin.folder / "results" / "runs").exists()


# Gate


SCRIPT = """
import sys
seed, shift, same = int(sys.argv[1]), {shift}, {same}
noise = (seed * 7919 + 13) % 101 / 101 + (0 if same else (seed * {key} + 5) % 17 / 50)
print("working")
{last}
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Programs in folders, and a way to gate one against another."""
    monkeypatch.chdir(tmp_path)

    def made(name: str, shift: float = 0.0, same: bool = True, key: int = 3, last: str = "") -> str:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        last = last or "print('{\"acc\": ' + str(shift + noise) + '}')"
        (folder / "train.py").write_text(SCRIPT.format(shift=shift, same=same, key=key, last=last))
        return name

    return made


RUN = f"{shlex.quote(sys.executable)} -S train.py {{seed}}"
TERMS = Terms(run=RUN, better="higher")


def judged(base: str, candidate: str, campaign: str = "", terms: Terms = TERMS, minutes: float = 60.0):
    return gate(base, candidate, terms, Path("results").resolve(), campaign, minutes)


def ledger(campaign: str) -> list[dict]:
    return read_lines(Path("results/gate") / campaign / "ledger.jsonl")


def test_a_better_candidate_is_kept_becomes_the_base_and_runs_with_fresh_seeds(place):
    base, better = place("base"), place("better", 1.0, same=False)
    found = judged(base, better, "c")
    assert (found["outcome"], found["seeds"], found["kept_so_far"]) == ("kept", 3, 1)
    again = judged(base, better, "c")
    assert again == {**found, "repeated": True}
    other = place("other", 2.0, same=False, key=5)
    with pytest.raises(UsageError, match="the campaign's base is now 'better': give that as BASE"):
        judged(base, other, "c")
    assert judged(better, other, "c")["outcome"] == "kept"
    folders = Path("results/gate/c/runs").iterdir()
    ran = sorted(sorted(int(path.stem) for path in folder.iterdir()) for folder in folders)
    assert [seeds[:3] for seeds in ran] == [[0, 1, 2], [0, 1, 2], [20, 21, 22]]
    assert ran[1][3:] == ran[2]  # the kept one, as a base: paired with the next candidate


def test_a_worse_candidate_stops_at_the_first_look(place):
    found = judged(place("base"), place("worse", -1.0, same=False))
    assert (found["outcome"], found["seeds"]) == ("not kept", 3)


def test_a_margin_must_be_cleared(place):
    base, better = place("base"), place("better", 1.0, same=False)
    assert judged(base, better, terms=Terms(run=RUN, better="higher", margin=0.5))["outcome"] == "kept"
    assert judged(base, better, terms=Terms(run=RUN, better="higher", margin=1.5))["outcome"] == "not kept"


def test_a_copy_is_told_and_costs_nothing(place):
    found = judged(place("base"), place("copy"), "c")
    assert found["outcome"] == "not kept"
    assert "byte for byte" in found["reason"]
    assert [line["kind"] for line in ledger("c")] == ["open"]


def test_a_change_that_changes_no_value_is_told(place):
    found = judged(place("base"), place("other", key=4))
    assert found["outcome"] == "not kept"
    assert "it changes nothing" in found["reason"]


@pytest.mark.parametrize("who", ["base", "candidate"])
def test_a_value_that_ignores_the_seed_is_undecided(place, who):
    fixed = place("fixed", last="""print('{"acc": 0.75}')""")
    pair = (fixed, place("other", 1.0)) if who == "base" else (place("other"), fixed)
    found = judged(*pair)
    assert found["outcome"] == "undecided"
    assert found["reason"] == f"the {who} gives 0.75 with every seed: its value ignores the seed"


@pytest.mark.parametrize(
    ("last", "kind", "says"),
    [
        ("", "output", "printed no JSON line"),
        ("""print('{"acc": NaN}')""", "nan", "is not finite"),
        ("""print('{"acc": "good"}')""", "output", "a number or a list of them is needed"),
        ("""print('{"acc": 1, "loss": 2}')""", "output", "say --metric"),
        ("raise SystemExit(3)", "crash", "exit code 3"),
        ("import os; os.kill(os.getpid(), 9)", "signal", "SIGKILL"),
        ("import time; time.sleep(60)", "hang", "raise --run-minutes"),
    ],
)
def test_a_program_that_fails_does_so_by_name_and_counts(place, last, kind, says):
    base, broken = place("base"), place("broken", last=last or "pass")
    found = judged(base, broken, "c", minutes=0.03)
    assert found["outcome"] == "undecided"
    assert {failure["type"] for failure in found["failures"]} == {kind}
    assert {failure["who"] for failure in found["failures"]} == {"the candidate"}
    assert says in found["reason"]
    assert found["proposals"] == 1


def test_what_failed_is_tried_again_at_the_same_level(place):
    base, flaky = (
        place("base"),
        place("flaky", last="import pathlib; print(pathlib.Path('../value').read_text())"),
    )
    first = judged(base, flaky, "c")
    Path("value").write_text('{"acc": 0.1}')
    second = judged(base, flaky, "c")
    assert "ignores the seed" in second["reason"]
    assert (second["proposals"], second["level"]) == (1, first["level"])


def test_values_of_items_are_judged_with_their_own_chance(place):
    """The same gain in every seed, but from 400 items that scatter so widely that it proves nothing."""
    each = "str({} * (i * 7919 % 401 - 200) + noise / 50) for i in range(400)"
    items = "print('{{\"acc\": [' + ', '.join(" + each + ") + ']}}')"
    base, other = (
        place("base", last=items.format("0.01")),
        place("other", last=items.format("-0.01"), same=False),
    )
    found = judged(base, other)
    assert found["rule"] == "seeds+items"
    assert found["outcome"] == "not kept"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"alpha": 0.1}, "was opened with alpha=0.05"),
        ({"mode": "family"}, "was opened with mode=fdr"),
        ({"margin": 1.0}, "was opened with margin=0.0"),
        ({"looks": (3, 5)}, r"was opened with looks=\[3, 5, 8, 12, 20\]"),
    ],
)
def test_a_campaign_keeps_its_terms(place, change, says):
    base = place("base")
    judged(base, place("worse", -1.0, same=False), "c")
    with pytest.raises(UsageError, match=says):
        judged(base, place("next", -2.0, same=False), "c", Terms(**{**vars(TERMS), **change}))


def test_a_full_campaign_takes_no_more(place):
    base, terms = place("base"), Terms(run=RUN, better="higher", proposals=1)
    judged(base, place("worse", -1.0, same=False), "c", terms)
    with pytest.raises(UsageError, match="the campaign is full"):
        judged(base, place("next", -2.0, same=False), "c", terms)


@pytest.mark.parametrize(
    ("terms", "says"),
    [
        ({"run": "python train.py"}, "has no {seed}"),
        ({"better": ""}, "say which way"),
        ({"alpha": 0.0}, "no error rate"),
        ({"mode": "bold"}, "choose fdr or family"),
        ({"proposals": 0}, "takes one or more"),
    ],
)
def test_terms_that_mean_nothing_are_one_sentence(place, terms, says):
    with pytest.raises(UsageError, match=says):
        judged(place("base"), place("other", 1.0), "c", Terms(**{**vars(TERMS), **terms}))
    assert not Path("results/gate").exists()


def test_a_change_is_put_where_the_command_has_its_place(place):
    place("base")
    made = program("python base/train.py --seed {seed} {change}", "lr=1 decay=2")
    assert made.words == ("python", "base/train.py", "--seed", "{seed}", "lr=1", "decay=2")
    assert made.identity == program("python base/train.py --seed {seed} {change}", "lr=1  decay=2").identity
    with pytest.raises(UsageError, match="is no folder"):
        program("python train.py {seed}", "nowhere")


def test_a_file_that_is_the_change_is_known_by_what_it_holds(place):
    place("base")
    place("copy")
    one, two = (program("python {change} {seed}", f"{name}/train.py") for name in ("base", "copy"))
    assert one.identity == two.identity
    place("copy", 1.0)
    assert one.identity != program("python {change} {seed}", "copy/train.py").identity


def test_a_torn_line_of_a_ledger_is_left_alone(tmp_path):
    path = tmp_path / "ledger.jsonl"
    append(path, {"a": 1})
    with path.open("a") as file:
        file.write('{"b": ')
    append(path, {"c": 3})
    assert read_lines(path) == [{"a": 1}, {"c": 3}]


def test_exit_codes_tell_the_outcome_and_json_says_why(harness, place):
    place("base"), place("better", 1.0, same=False), place("worse", -1.0, same=False)
    place("fixed", last="""print('{"acc": 0.75}')""")
    words = ("--run", RUN, "--better", "higher", "--json")
    for candidate, code in (("better", 0), ("worse", 3), ("fixed", 4)):
        answer = last(harness("gate", "base", candidate, *words, code=code).stdout)
        assert answer["reason"]
        assert answer["level"] == 0.05


@pytest.mark.slow
def test_overrides_of_a_method_are_candidates_too(coin):
    base = " ".join(("method=coin/plain", *QUICK))
    words = ("--campaign", "c", "--json")
    kept = last(coin("gate", base, "method=coin/better", *words).stdout)
    assert kept["outcome"] == "kept"
    better = " ".join(("method=coin/better", *QUICK))
    found = last(coin("gate", better, "method.shift=-1 method.draw=5", *words, code=3).stdout)
    assert (found["proposals"], found["metric"]) == (2, "score")
    same = coin("gate", better, "method.shift=4.0", *words, code=3)
    assert last(same.stdout)["identical"]
    bad = coin("gate", better, "method.shft=4.0", *words, code=2)
    assert "shift" in bad.stderr
