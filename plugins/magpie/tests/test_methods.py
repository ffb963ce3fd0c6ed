"""The methods beside each other, on the tiny model: what they share, and what none may see."""

import json
from collections import Counter

import numpy as np
import pytest
from harness_magpie.preparation import read, set_aside
from harness_magpie.sets import held_out, people, sampled, unseen
from harness_magpie.sets import training_pairs as pairs_by
from harness_magpie.training import sizes

from harness.contract.bench import smoke_spec
from harness.errors import HarnessError
from harness.papers.plugins import load
from harness.runs.run import execute, open_run, prepared

PLUGIN = load("magpie")
TRAINED = ("magpie", "magpie_unfiltered", "self_instruct", "human_written", "shuffled_answers")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return tmp_path_factory.mktemp("results")


def opened(method: str, results, given=None):
    """Return a run that is prepared and not trained."""
    spec = smoke_spec(PLUGIN, method, results, given=given)
    run = open_run(spec, PLUGIN)
    run.folder.mkdir(parents=True, exist_ok=True)
    run.data_dir = prepared(spec, PLUGIN, run)
    return run


def training_pairs(run):
    return pairs_by(run, sizes(run))


def test_all_methods_are_judged_on_the_same_pairs_and_none_trains_on_them(results):
    judged = [held_out(opened(method, results)) for method in TRAINED]
    assert all(one["test"] == judged[0]["test"] for one in judged)
    kept = {pair.question for split in ("test", "validation") for pair in judged[0][split]}
    assert len(kept) == 4
    for method in TRAINED:
        pairs = training_pairs(opened(method, results))
        assert not kept & {pair.question for pair in pairs}, method


def test_every_set_has_as_many_answer_tokens_as_magpie_s_and_at_most_one_answer_more(results):
    """The smoke budget's answers have up to eight tokens and an end; people's are of other lengths."""
    of = {}
    for method in TRAINED:
        run = opened(method, results)
        of[method] = [sizes(run)(pair) for pair in training_pairs(run)]
    full = sum(of["magpie"])
    assert len(of["magpie"]) == 4
    assert {method: full <= sum(some) < full + some[-1] for method, some in of.items()} == dict.fromkeys(
        of, True
    )
    assert len(set(map(len, of.values()))) > 1  # so it is not by pairs that they are equal


def test_sets_may_be_of_as_many_pairs_instead(results):
    for method in TRAINED:
        assert len(training_pairs(opened(method, results, {"task.equal_tokens": "false"}))) == 4


def test_people_s_judged_answers_are_to_tasks_that_no_method_sees(results):
    runs = [opened(method, results) for method in TRAINED]
    judged = {pair.question for pair in people(runs[0])}
    assert len(judged) == 2
    for run in runs:
        assert {pair.question for pair in people(run)} == judged
        assert not judged & {seed["question"] for seed in read(run.data_dir, "seeds")}
        assert not judged & {pair.question for pair in training_pairs(run)}


def test_at_most_a_quarter_of_the_answered_tasks_is_set_aside_whatever_their_order():
    tasks = [{"instruction": f"t{i}", "question": f"t{i}", "output": "yes" * (i % 2)} for i in range(40)]
    seen, aside = set_aside(tasks, 30)
    assert len(aside) == 5  # of 20 with an answer
    assert all(task["output"] for task in aside)
    assert sorted([*seen, *aside], key=str) == sorted(tasks, key=str)
    assert len(set_aside(tasks, 3)[1]) == 3
    assert set_aside(tasks, 0) == (tasks, [])
    assert set_aside([], 3) == ([], [])


def test_shuffled_answers_are_magpie_s_questions_in_their_order(results):
    own = training_pairs(opened("magpie", results))
    other = training_pairs(opened("shuffled_answers", results))
    assert [pair.question for pair in own] == [pair.question for pair in other]
    assert all(one.answer != two.answer for one, two in zip(own, other, strict=True))
    assert Counter(pair.answer for pair in own) == Counter(pair.answer for pair in other)


def test_half_of_the_pairs_are_the_first_ones(results):
    whole, half = (training_pairs(opened(method, results)) for method in ("magpie", "magpie_half"))
    assert half == whole[: len(half)]
    size = sizes(opened("magpie", results))
    tokens = list(map(size, whole))
    assert sum(tokens) / 2 <= sum(map(size, half)) < sum(tokens) / 2 + size(half[-1])


def test_generation_is_made_once_for_the_methods_that_share_it(results):
    opened_runs = [opened(method, results) for method in ("magpie", "shuffled_answers", "magpie_unfiltered")]
    rows = [sampled(run, run.method) for run in opened_runs]
    assert rows[0] == rows[1] == rows[2]
    stages = list((results / "stages").glob("magpie-instructions-*[0-9a-f]"))
    assert len(stages) <= 3  # the template's, the examples', and no other
    assert unseen(opened_runs[0]) == unseen(opened_runs[1])


def test_the_template_s_set_differs_by_prompt_and_temperature(results):
    texts = {
        method: [row["instruction"] for row in sampled(run, run.method)]
        for method in ("magpie", "magpie_bare_template", "magpie_hot", "self_instruct")
        for run in [opened(method, results)]
    }
    assert len({tuple(rows) for rows in texts.values()}) == 4


def test_a_run_leaves_its_set_for_trainers(results):
    spec = smoke_spec(PLUGIN, "magpie", results)
    result = execute(spec, PLUGIN)
    assert result.status == "finished", result.error
    lines = (spec.folder / "output" / "pairs.jsonl").read_text().splitlines()
    assert len(lines) == 4
    for line in lines:
        assert [turn["role"] for turn in json.loads(line)["messages"]] == ["user", "assistant"]


def test_metrics_are_those_of_their_items(results):
    from harness.runs.results import read_items

    spec = smoke_spec(PLUGIN, "magpie", results)
    result = execute(spec, PLUGIN)
    items = read_items(spec.folder)
    assert len(items["valid"].ids) == 48
    assert result.metrics["valid"] == pytest.approx(np.mean(items["valid"].columns["value"]))
    assert len(items["own_question_gain"].ids) == 2
    similar = items["seed_similarity"].columns
    at = similar["valid"] > 0
    assert result.metrics["seed_similarity"] == pytest.approx(similar["value"][at].mean())


def test_a_lora_student_is_trained_and_judged(results):
    given = {"task.lora_rank": "2", "task.own_vocabulary": "false"}
    result = execute(smoke_spec(PLUGIN, "magpie", results, given=given), PLUGIN)
    assert result.status == "finished", result.error
    assert np.isfinite(result.metrics["own_question_gain"])


def test_a_student_of_ones_own_is_trained_and_judged(results, tmp_path):
    from harness_magpie.preparation import tiny_chat_model

    tiny_chat_model(tmp_path / "student")
    given = {"task.student": str(tmp_path / "student"), "task.keep_layers": "''"}
    result = execute(smoke_spec(PLUGIN, "magpie", results, given=given), PLUGIN)
    assert result.status == "finished", result.error
    assert np.isfinite(result.metrics["held_out_loss"])


def test_too_few_pairs_are_said_with_the_mend(results):
    with pytest.raises(HarnessError, match=r"48 samples became pairs and 44 are needed: raise task\.samples"):
        held_out(opened("magpie", results, {"task.train_pairs": "40"}))


def test_seed_tasks_without_answers_are_told_before_anything_is_generated(results, tmp_path):
    seeds = tmp_path / "unanswered.jsonl"
    seeds.write_text("".join(json.dumps({"instruction": f"tell me {i}"}) + "\n" for i in range(12)))
    run = opened("human_written", tmp_path / "results", {"data.seeds": str(seeds)})
    with pytest.raises(HarnessError, match=r"seed tasks that people answered: give data\.seeds with output"):
        training_pairs(run)
    assert not list((tmp_path / "results" / "stages").glob("magpie-instructions-*"))


def test_without_seed_tasks_the_methods_that_need_them_say_so(results):
    for method in ("self_instruct", "human_written"):
        run = opened(method, results, {"task.made_seeds": "0"})
        with pytest.raises(HarnessError, match=r"give data\.seeds=seed_tasks\.jsonl"):
            sampled(run, run.method)
