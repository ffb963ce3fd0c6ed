"""Every paper here keeps the contract; and the contract notices a plugin that does not."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from harness.contract import checks
from harness.plugins import listed, load


@pytest.mark.parametrize("paper", [listing.name for listing in listed()])
def test_the_papers_here_keep_the_contract(paper, tmp_path):
    failed = [check for check in checks(load(paper), tmp_path) if not check.passed]
    assert not failed, "\n".join(f"{check.name}: {check.mend}" for check in failed)


class Meddled:
    """ALiBi's plugin with one hook replaced."""

    def __init__(self, hook: str, function) -> None:
        plugin = load("alibi")
        assert plugin.paper is not None
        kept = {name: plugin.paper.methods[name] for name in ("alibi", "none")}
        self.paper = replace(plugin.paper, methods=kept)
        self.name, self.listing, self.module, self.problem = plugin.name, plugin.listing, plugin.module, ""
        self.plugin, self.replaced, self.function = plugin, hook, function

    def implements(self, hook: str) -> bool:
        return self.plugin.implements(hook)

    def hook(self, name: str):
        if name == "paper":
            return lambda: self.paper
        return self.function if name == self.replaced else self.plugin.hook(name)


def failures(plugin, folder) -> list[str]:
    return [f"{check.name}: {check.mend}" for check in checks(plugin, folder) if not check.passed]


def test_a_run_that_is_not_repeatable_is_noticed(tmp_path):
    import os

    def evaluate(run, split):
        return {name: 1.0 + os.urandom(1)[0] + os.urandom(1)[0] / 256 for name in run_metrics(run)}

    assert any("the same run twice" in f for f in failures(Meddled("evaluate", evaluate), tmp_path))


def test_a_run_that_ignores_its_seed_is_noticed(tmp_path):
    def evaluate(run, split):
        return dict.fromkeys(run_metrics(run), 1.0)

    assert any("another seed" in f for f in failures(Meddled("evaluate", evaluate), tmp_path))


def test_a_metric_that_is_missing_without_a_reason_is_noticed(tmp_path):
    def evaluate(run, split):
        return {"perplexity_1L": float(run.seed + 1)}

    assert any("perplexity_2L" in f for f in failures(Meddled("evaluate", evaluate), tmp_path))


def test_a_metric_that_is_not_a_number_is_noticed(tmp_path):
    def evaluate(run, split):
        return {"perplexity_1L": float("nan")}

    assert any("diverged" in f for f in failures(Meddled("evaluate", evaluate), tmp_path))


def test_a_tensor_left_on_another_device_is_noticed_even_in_a_product(tmp_path):
    import torch

    def training_step(run, device):
        torch.ones(4, 4) @ torch.ones(4, 4, device=device)

    found = failures(Meddled("training_step", training_step), tmp_path)
    assert any("tensors on cpu and meta" in f for f in found)


def run_metrics(run: SimpleNamespace) -> list[str]:
    return [name for name in load("alibi").paper.metrics if name not in run.measured]
