"""Training as a whole, at smoke size: resumed, guarded, held to the base, on one's own model and problems."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from harness_score.evaluation import evaluate
from harness_score.guards import Guarded
from harness_score.policies import CHOSEN, Keeper, Policy, base_folder
from harness_score.training import train
from harness_score.verifiers import VERIFIERS, VerifierError
from safetensors.torch import load_file

from harness.contract.bench import smoke_spec
from harness.data.sources import Document
from harness.data.tokens import character_tokenizer
from harness.errors import HarnessError, UsageError
from harness.fit.checkpoint import checkpoint_step
from harness.nn.decoder import Decoder, DecoderConfig
from harness.papers.plugins import load
from harness.runs.run import open_run, prepared


@pytest.fixture(scope="session")
def results(tmp_path_factory) -> Path:
    """A results folder whose small base all tests share."""
    return tmp_path_factory.mktemp("score")


@pytest.fixture
def opened(results, tmp_path):
    """Open a smoke run in a folder of its own, its data prepared."""

    def open_(method="score", folder="run", seed=0, **given):
        given = {key.replace("__", "."): str(value) for key, value in given.items()}
        spec = smoke_spec(load("score"), method, results, seed, given)
        run = open_run(spec, load("score"))
        run.folder = tmp_path / folder
        run.output_dir = run.folder / "output"
        run.output_dir.mkdir(parents=True, exist_ok=True)
        run.data_dir = prepared(spec, load("score"), run)
        return run

    return open_


def weights(run):
    chosen = json.loads((run.output_dir / CHOSEN).read_text())
    return load_file(run.output_dir / chosen["folder"] / "model.safetensors")


def every_step(run):
    """Write a checkpoint after each step."""
    plain = run.fit
    run.fit = lambda *args, **options: plain(*args, log_every=1, **options)
    return run


def lines(right):
    """A verifier that finds every other answer right, so that there is something to learn."""

    def verify(problems, answers):
        verify.calls += 1
        if verify.calls == right:
            raise RuntimeError("the judge is ill")
        return [float(sum(map(ord, answer)) % 2) for answer in answers]

    verify.calls = 0
    return verify


@pytest.mark.parametrize(
    ("method", "calls"), [("score", 5), ("score", 12), ("star", 20), ("blank_first_answer", 9)]
)
def test_stopped_between_two_steps_it_ends_with_the_same_weights(opened, method, calls):
    whole = opened(method, "whole")
    train(whole, lines(None))
    halved = every_step(opened(method, "halved"))
    with pytest.raises(VerifierError, match="the judge is ill"):
        train(halved, lines(calls))
    assert 0 < checkpoint_step(halved.checkpoint) < 4
    train(every_step(opened(method, "halved")), lines(None))
    one, two = weights(whole), weights(opened(method, "halved"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_what_was_kept_before_a_failure_stays(opened):
    run = every_step(opened(task__steps=8, method__stage_one=0))
    with pytest.raises(VerifierError):
        train(run, lines(20))
    chosen = json.loads((run.output_dir / CHOSEN).read_text())
    assert chosen["step"] > 0
    assert weights(run)


def test_the_base_stays_as_it_was_and_the_policy_does_not(opened):
    run = opened()
    before = {n: p.clone() for n, p in Policy.of(run).base.state_dict().items()}
    train(run, lines(None))
    policy = Policy.trained(run)
    assert all(torch.equal(before[n], p) for n, p in policy.base.state_dict().items())
    assert any(not torch.equal(before[n], p) for n, p in policy.model.state_dict().items())
    found = evaluate(run, "test", lines(None))
    assert min(found["kl_t1"].columns["nats"]) >= -1e-6
    assert sum(found["kl_t1"].columns["nats"]) > 0


def test_every_seed_has_a_base_of_its_own_which_its_methods_share_on_the_same_sums(opened):
    one, same, other = opened(), opened("base"), opened("base", "other", seed=1)
    assert base_folder(one) == base_folder(same) != base_folder(other)
    assert one.data_dir == other.data_dir
    first, second = (load_file(base_folder(run) / "model.safetensors") for run in (one, other))
    assert all(not torch.equal(first[name], second[name]) for name in first if first[name].dim() > 1)


def test_the_weights_kept_are_the_best_by_accuracy_and_not_the_last(opened):
    run = opened()
    model = Policy.of(run).model
    keeper = Keeper(run)
    for step, value in ((1, 0.3), (2, 0.5), (3, 0.4), (4, 0.5)):
        keeper.offer(model, step, value)
    assert json.loads((run.output_dir / CHOSEN).read_text())["step"] == 2
    assert [path.name for path in run.output_dir.glob("policy-*")] == ["policy-2"]
    Keeper(run).offer(model, 5, 0.45)  # after a restart too
    assert json.loads((run.output_dir / CHOSEN).read_text())["step"] == 2


def test_the_weights_of_stage_one_are_not_the_methods_outcome(opened):
    run = opened(task__steps=4, task__validate_every=1)
    train(run, lambda problems, answers: [1.0 for _ in answers])
    assert (
        json.loads((run.output_dir / CHOSEN).read_text())["step"] == 3
    )  # the first after two steps of stage I


@pytest.mark.parametrize(("method", "turn"), [("single_turn_rl", 1), ("single_turn_rl_by_second", 2)])
def test_weights_are_kept_by_the_turn_that_the_method_names(opened, method, turn):
    draw = np.random.default_rng(0)
    run = opened(method, method, task__steps=2)
    train(run, lambda problems, answers: [float(draw.random() < 0.5) for _ in answers])
    chosen = json.loads((run.output_dir / CHOSEN).read_text())
    assert chosen["value"] == chosen[f"accuracy_t{turn}"] != chosen[f"accuracy_t{3 - turn}"]


def sinking():
    """A verifier that finds everything right at the first look, and nothing afterwards."""
    calls = {"n": 0}

    def verify(problems, answers):
        calls["n"] += 1
        return [float(calls["n"] < 3)] * len(answers)

    return verify


def test_the_first_answer_falling_stops_the_run_with_its_reason(opened):
    run = opened(task__most_drop=0.1, task__steps=6)
    with pytest.raises(Guarded, match="sandbagging"):
        train(run, sinking())


def test_the_control_ends_with_a_figure_however_far_its_first_answer_falls(opened):
    run = opened("blank_first_answer", task__most_drop=0.1, task__steps=6)
    train(run, sinking())
    assert len(evaluate(run, "test", lines(None))["delta"].ids) == 24
    looks = [json.loads(line) for line in (run.folder / "metrics.jsonl").open()]
    assert [k["validation_accuracy_t1"] for k in looks if "validation_accuracy_t1" in k] == [1, 0, 0, 0]


def test_delta_is_the_items_difference_and_the_items_are_the_two_by_two(opened):
    run = opened()
    train(run, lines(None))
    found = evaluate(run, "test", lines(None))
    items = found["delta"].columns
    assert [a - b for a, b in zip(items["second"], items["first"], strict=True)] == list(items["delta"])
    gained, lost = (
        sum(found[n].columns[c]) for n, c in (("wrong_to_right", "gained"), ("right_to_wrong", "lost"))
    )
    assert gained - lost == pytest.approx(sum(items["delta"]))
    assert len(set(found["delta"].ids)) == 24


# One's own model and problems

CHAT = (
    "{% for m in messages %}{{ '[' + m.role + ']' + m.content + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '[assistant]' }}{% endif %}"
)
DROPS = CHAT.replace("m.content", "m.content.split('</think>')[-1]")


def model_folder(folder, chat=CHAT, length=512):
    torch.manual_seed(0)
    text = "".join(map(chr, range(32, 127))) + "\n"
    tokenizer = character_tokenizer([Document("text", text)])
    tokenizer.chat_template = chat
    config = DecoderConfig(
        vocab_size=len(tokenizer), width=16, layers=1, heads=2, feedforward=32, length=length, position="rotary",
        initializer_range=0.2,
    )  # fmt: skip
    Decoder(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def own(tmp_path):
    """What a command line says of one's own model and problems."""
    problems = tmp_path / "problems.jsonl"
    rows = [{"question": f"{n} + {n + 1}?", "answer": f"... #### {2 * n + 1}"} for n in range(120)]
    problems.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return {
        "model": model_folder(tmp_path / "model"), "data__train": problems, "task__prompt": "number",
        "task__verifier": "number", "task__answer_tokens": 6, "task__length": 512, "task__most_truncated": 1.0,
        "task__train_problems": 40, "task__steps": 2,
    }  # fmt: skip


@pytest.mark.parametrize("method", ["score", "single_turn_rl", "blank_first_answer", "pair_sft"])
@pytest.mark.parametrize("rank", [0, 2])
def test_ones_own_model_is_trained_whole_or_by_an_adapter(opened, own, method, rank):
    given = {"method__kl": "k3"} if method == "score" and rank else {}
    run = opened(method, task__lora_rank=rank, **own, **given)
    train(run, lines(None))
    found = evaluate(run, "test", lines(None))
    assert sum(found["kl_t1"].columns["nats"]) > 0
    kept = json.loads((run.output_dir / CHOSEN).read_text())["folder"]
    name = "adapter_model.safetensors" if rank else "model.safetensors"
    assert (run.output_dir / kept / name).exists()
    assert (run.output_dir / kept / "tokenizer.json").exists()


def test_a_step_in_pieces_looks_and_counts_once(opened, own):
    run = opened(**own)
    run.micro_batch = 2
    train(run, lines(None))
    looks = [json.loads(line) for line in (run.folder / "metrics.jsonl").open()]
    assert [look["step"] for look in looks if "validation_accuracy_t1" in look] == [0, 2]


def test_a_template_that_drops_the_first_answers_thoughts_is_refused(opened, own, tmp_path):
    own["model"] = model_folder(tmp_path / "drops", DROPS)
    with pytest.raises(UsageError, match="drops or changes the first answer"):
        opened(**own)


def test_a_context_too_short_for_two_turns_is_refused(opened, own, tmp_path):
    with pytest.raises(UsageError, match=r"two turns need \d+ tokens"):
        opened(**(own | {"task__length": 100}))
    own["model"] = model_folder(tmp_path / "short", length=64)
    with pytest.raises(UsageError, match="beyond the model's 64 tokens"):
        opened(**own)


def test_problems_without_an_answer_are_named(opened, own, tmp_path):
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"problem": "1+1", "answer": "2"}\n{"problem": "2+2", "answer": null}\n')
    with pytest.raises(UsageError, match=r"row 2 of .*bad.jsonl has no problem or no answer"):
        opened(**(own | {"data__train": bad}))
    bad.write_text('{"problem": "1+1", "answer": "2"}\n{"problem": null, "answer": "4"}\n')
    with pytest.raises(UsageError, match=r"row 2 of .*bad.jsonl has no problem or no answer"):
        opened(**(own | {"data__train": bad}))
    bad.write_text('{"problem": "1+1", "solution": "2"}\n')
    with pytest.raises(UsageError, match=r"needs problem \(or question\) and answer"):
        opened(**(own | {"data__train": bad}))


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_no_problems_at_all_and_a_negative_rank_are_named(opened, part):
    for count in (0, -5):
        with pytest.raises(UsageError, match=rf"task\.{part}_problems={count} .*ask for 1 or more"):
            opened(**{f"task__{part}_problems": count})
    with pytest.raises(UsageError, match=r"task\.lora_rank=-1: .* or 0 to train every weight"):
        opened(task__lora_rank=-1)


def test_problems_of_ones_own_need_a_model(opened, own, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(UsageError, match=r"model\.safetensors is a file: give the folder"):
        opened(**(own | {"model": tmp_path / "model.safetensors"}))
    own.pop("model")
    with pytest.raises(UsageError, match="add model="):
        opened(**own)


def test_one_sample_a_problem_is_refused(opened):
    with pytest.raises(UsageError, match="leaves nothing to compare"):
        train(opened(task__samples=1))


def test_no_right_answer_at_all_leaves_pair_sft_nothing_to_glue(opened):
    with pytest.raises(HarnessError, match="made a trace that ends right"):
        train(opened("pair_sft"), lambda problems, answers: [0.0] * len(answers))


def test_train_validation_and_test_share_no_problem(opened):
    run = opened()
    texts = [
        {json.loads(line)["problem"] for line in (run.data_dir / f"{split}.jsonl").open()}
        for split in ("train", "validation", "test")
    ]
    assert [len(part) for part in texts] == [48, 16, 24]
    assert not texts[0] & texts[1]
    assert not texts[2] & (texts[0] | texts[1])


def test_exact_is_what_additions_are_judged_by(opened):
    assert opened().task.verifier.name == "exact"
    assert VERIFIERS["exact"]([{"problem": "01+02=", "answer": "003"}], ["003"]) == [1]


def test_answers_end_where_the_model_s_turns_do():
    from harness_score.prompts import text_turns
    from harness_score.settings import Prompt, Task
    from transformers import GenerationConfig

    made = character_tokenizer([Document("text", "".join(map(chr, range(32, 127))) + "\n")])
    made.add_special_tokens({"additional_special_tokens": ["<eot>", "<pad>"]})
    task = Task(prompt=Prompt.number)
    ids = {made.eos_token_id, *made.convert_tokens_to_ids(["<eot>", "<pad>"])}
    made.chat_template = CHAT.replace("<|end|>", "<eot>")
    assert ids <= set(text_turns(task, made).ends)
    assert set(text_turns(task, made, GenerationConfig(eos_token_id=[40, 41])).ends) >= {40, 41, *ids}
    made.chat_template = (
        "{% for m in messages %}{{ 'USER: ' if m.role == 'user' else 'ASSISTANT: ' }}{{ m.content + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'ASSISTANT: ' }}{% endif %}"
    )
    assert text_turns(task, made).words == ("\nASSISTANT:", "\nUSER:")
    made.chat_template = None
    assert text_turns(task, made).words == ()


def told(capsys, *words):
    """Return the exit code and the one line of a command that is refused."""
    from harness.cli import main

    with pytest.raises(SystemExit) as left:
        main(["run", "budget=smoke", "tracking=off", "tuned=false", *map(str, words)])
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line]
    return left.value.code, line


def test_what_cannot_work_is_refused_before_a_run_starts(own, tmp_path, capsys):
    words = [f"{key.replace('__', '.')}={value}" for key, value in own.items()]
    words = ["method=score/score", f"results={tmp_path / 'results'}", *words]
    few = tmp_path / "few.jsonl"
    few.write_text('{"problem": "1+1", "answer": "2"}\n')
    texts = tmp_path / "texts.jsonl"
    texts.write_text('{"problem": "1+1", "answer": "two"}\n' * 2)
    for more, said in {
        ("task.length=230",): r"two turns need \d+ tokens .* task\.length is 230: raise task\.length to \d+",
        (f"data.train={few}",): "few.jsonl leaves no problems for ",
        (f"data.train={texts}",): "row 1 of .*texts.jsonl has the answer 'two', which states no number",
        ("task.verifier=command",): "needs task.verifier_command",
        ("task.verifier=command", "task.verifier_command='  '"): "needs task.verifier_command",
        ("task.verifier=command", "task.verifier_command='a \\'b'"): "cannot be read",
        (
            "task.verifier=command",
            "task.verifier_command='pythn judge.py'",
        ): "no program 'pythn' that can be started",
        ("task.answer_tokens=300",): "leave task.length=512 no room for a problem",
        ("task.length=5000",): "beyond the model's 512 tokens",
        ("task.samples=1",): "leaves nothing to compare",
        ("task.validate_every=0",): "validate_every=0",
        ("task.verifier=code", "task.prompt=code"): "row 1 of .* is no code problem: it has question, answer",
    }.items():
        code, line = told(capsys, *words, *more)
        assert code == 2, line
        assert re.search(said, line), line
    assert not (tmp_path / "results" / "runs").exists()


def test_the_advice_is_what_helps():
    from harness_score.episodes import Turns
    from harness_score.prompts import check_length

    turns = Turns((1,) * 60, (2,), 8, 8)
    check_length(181, turns, 257, 1024)
    with pytest.raises(UsageError, match=r"need 257 tokens .* is 256: raise task\.length to 257"):
        check_length(181, turns, 256, 1024)
    with pytest.raises(UsageError, match=r"raise task\.length to 257"):
        check_length(181, turns, 256)
    with pytest.raises(
        UsageError, match=r"lower task\.answer_tokens to 7, as the model reads no more than 256"
    ):
        check_length(181, turns, 256, 256)
    with pytest.raises(UsageError, match="leave out the longest problems"):
        check_length(300, turns, 256, 256)


def test_a_judge_sees_the_columns_of_the_data_in_a_run(opened, own, tmp_path):
    problems = tmp_path / "rubrics.jsonl"
    rows = [{"question": f"{n} + 1?", "answer": str(n + 1), "ids": ["own"], "least": n} for n in range(120)]
    problems.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    seen = []

    def verify(asked, answers):
        seen.extend(asked)
        return lines(None)(asked, answers)

    run = opened(**(own | {"data__train": problems}))
    train(run, verify)
    assert seen
    assert all(row["least"] + 1 == int(row["answer"]) and row["ids"] == ["own"] for row in seen)


SMALL = {  # additions of two digits: what four digits show, in a few seconds
    "task__validation_problems": 200, "task__train_problems": 200, "task__base_width": 32, "task__base_layers": 2,
    "task__base_batch": 128, "task__base_learning_rate": 4e-3, "task__base_warmup": 20, "task__base_every": 10,
    "task__base_accuracy": 0.5, "task__base_steps": 1000, "task__chat_steps": 400, "task__chat_copies": 0.0,
    "task__chat_learning_rate": 1e-3, "task__prompts": 64, "task__samples": 4, "task__most_drop": 0.2,
    "task__validate_every": 10,
}  # fmt: skip


@pytest.mark.slow
def test_a_bonus_that_reaches_turn_one_teaches_to_answer_wrong_first_and_the_guard_stops_it(opened):
    run = opened(**SMALL, task__steps=200, method__gamma=1.0, method__stage_one=0)
    with pytest.raises(Guarded, match="sandbagging"):
        train(run)


@pytest.mark.slow
def test_without_it_turn_one_is_kept_and_turn_two_gains(opened):
    run = opened(**SMALL, task__steps=150)
    train(run)
    looks = [json.loads(line) for line in (run.folder / "metrics.jsonl").open()]
    looks = [look for look in looks if "validation_accuracy_t2" in look]
    chosen = json.loads((run.output_dir / CHOSEN).read_text())
    assert chosen["accuracy_t1"] > looks[0]["validation_accuracy_t1"] - 0.1
    assert chosen["accuracy_t2"] > looks[0]["validation_accuracy_t2"] + 0.05


# By an engine


@pytest.fixture
def server(own):
    """A server of one's own model, as it is before any training."""
    from transformers import AutoTokenizer

    from benchmarks.serving import Loopback
    from harness.engines.inside import Transformers
    from harness.nn.bases import load_model

    engine = Transformers(load_model(own["model"]), AutoTokenizer.from_pretrained(own["model"]))
    with Loopback(engine, served="model") as running:
        yield running


def test_the_base_is_answered_for_by_a_server_that_has_it(opened, own, server):
    ours = opened("base", "here", **own)
    train(ours, lines(None))
    theirs = opened("base", "there", **own, task__engine=server.address)
    train(theirs, lines(None))
    assert theirs.measured["engine_gap_largest"] < 1e-4
    assert theirs.measured["engine_gap_mean"] <= theirs.measured["engine_gap_largest"]
    before = len(server.asked)
    here, there = evaluate(ours, "test", lines(None)), evaluate(theirs, "test", lines(None))
    assert len(server.asked) > before + 24
    for name in ("accuracy_t1", "accuracy_t2", "edit_ratio"):  # greedy
        assert {k: list(v) for k, v in there[name].columns.items()} == {
            k: list(v) for k, v in here[name].columns.items()
        }
    assert theirs.engines["engine"]["model"] == "model"
    assert "engine_gap_mean" in ours.absences


def test_traces_of_the_base_come_from_a_server(opened, own, server):
    run = opened("pair_sft", **own, task__engine=server.address, task__sft_samples=8)
    train(run, lines(None))
    asked = len(server.asked)
    assert asked > 8 * 40
    evaluate(run, "test", lines(None))  # the trained weights are here alone
    assert len(server.asked) == asked


@pytest.mark.parametrize("method", ["score", "star", "single_turn_rl", "blank_first_answer"])
def test_what_is_sampled_from_weights_in_training_is_refused_to_an_engine(opened, own, server, method):
    run = opened(method, **own, task__engine=server.address)
    with pytest.raises(
        UsageError, match=r"samples from the weights that it trains, and task\.engine has those of the"
    ):
        train(run, lines(None))
    assert not server.asked


def test_a_server_of_other_weights_is_refused(opened, own, server):
    with torch.no_grad():
        for weight in server.engine.model.parameters():
            weight.add_(torch.randn_like(weight))
    with pytest.raises(HarnessError, match="the engine has other weights than the trainer"):
        train(opened("base", **own, task__engine=server.address), lines(None))


def test_an_engine_has_no_small_base(opened):
    with pytest.raises(UsageError, match="needs a model that others have too: add model="):
        opened("base", task__engine="http://127.0.0.1:9")
