"""`harness plan` prices the model that will run, and says which settings near by fit."""

import json

import pytest

from harness.cli import main
from harness.commands.plan import fitted, nearest, needed, on_each, priced
from harness.errors import UsageError
from harness.papers.plugins import load
from harness.papers.statement import Plan

GB = 10**9


def plan_at(settings):
    """A plan of 40 GB of states and 10 GB a row; without an adapter 80 GB of states."""
    rows, rank = settings.get("fit.micro_batch", 8), settings.get("task.lora_rank", 0)
    states = (10 + rank / 10) if rank else 80
    memory = {"training": {"weights": int(states * GB), "activations": 10 * GB * rows}}
    total = sum(memory["training"].values())
    return Plan(
        1,
        1,
        1,
        1.0,
        total,
        "",
        memory=memory,
        levers={"fit.micro_batch": [4, 2, 1], "task.lora_rank": [64, 16]},
    )


def test_the_nearest_settings_are_the_fewest_and_the_mildest():
    assert nearest(plan_at({}).levers, lambda more: plan_at(more).memory_bytes <= 130 * GB) == {
        "fit.micro_batch": 4
    }
    found = fitted(plan_at({}), plan_at, 80.0)
    assert not found.fits
    assert found.settings == {"fit.micro_batch": 4, "task.lora_rank": 64}  # 16.4 and 40 GB
    assert found.settings_bytes_each == pytest.approx(56.4e9)


def test_what_fits_is_searched_no_further():
    assert fitted(plan_at({"fit.micro_batch": 1, "task.lora_rank": 16}), plan_at, 80.0).fits


def test_sharding_divides_the_states_alone():
    plan = plan_at({"fit.micro_batch": 1})
    assert on_each(plan, 1) == 90 * GB
    assert on_each(plan, 4) == 30 * GB
    assert needed(plan, 30 * GB) == 4
    assert needed(plan, 10 * GB) is None  # one row alone is as much


def told(capsys, *words):
    with pytest.raises(SystemExit) as left:
        main(["plan", *words])
    assert left.value.code == 0
    return capsys.readouterr().out


@pytest.mark.slow
def test_simcse_prices_the_model_that_runs(tmp_path, capsys):
    words = ("method=simcse/unsupervised", "budget=full", f"results={tmp_path}")
    found = json.loads(told(capsys, *words, "--price-per-hour", "2", "--json"))
    assert found["parameters"] == 109_482_240
    assert found["flops"] == pytest.approx(3.3e16, rel=0.02)
    assert found["fit"]["fits"]
    for device, hours in found["gpu_hours"].items():
        assert found["price"][device] == pytest.approx(2 * hours)
    assert sum(found["memory"]["training"].values()) == found["memory_bytes"]


def test_a_model_that_is_neither_here_nor_known_is_refused(tmp_path):
    with pytest.raises(UsageError, match="is not here"):
        priced(["method=simcse/unsupervised", "budget=full", "model=hub:some/thing", f"results={tmp_path}"])


def test_a_plan_counts_shards_and_activations_that_are_made_again(tmp_path):
    words = ["method=alibi/alibi", "budget=smoke", f"results={tmp_path}"]
    plan, whole = priced(words)
    again, _ = priced([*words, "fit.checkpoint_activations=true"])
    assert again.memory["training"]["activations"] < plan.memory["training"]["activations"]
    assert again.flops == pytest.approx(4 / 3 * plan.flops)
    assert "fit.checkpoint_activations" in plan.levers
    assert "fit.checkpoint_activations" not in again.levers
    _, half = priced([*words, "fit.shard=true", "processes=2"])
    assert (whole.devices, half.devices) == (1, 2)
    assert half.bytes_each < whole.bytes_each


@pytest.mark.slow
@pytest.mark.parametrize(
    "paper", ["alibi", "iclm", "longskywork", "lora", "magpie", "rdass", "score", "simcse"]
)
def test_every_method_has_a_price(paper, tmp_path):
    for method in load(paper).paper.methods:
        plan, fit = priced([f"method={paper}/{method}", "budget=smoke", f"results={tmp_path}"])
        assert plan.parameters > 0
        assert fit.fits


FULL = {  # a paper's own method at its full budget, and one that trains on longer rows
    "alibi/alibi", "alibi/sinusoidal_4L", "iclm/in_context", "longskywork/cip_synl", "lora/lora_attention",
    "magpie/magpie", "rdass/p_sbert", "score/score", "simcse/supervised",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("method", sorted(FULL))
def test_a_full_preset_fits_the_devices_that_it_names(method, tmp_path):
    plan, fit = priced([f"method={method}", "budget=full", f"results={tmp_path}"])
    assert plan.parameters > 50e6
    assert fit.fits, fit
