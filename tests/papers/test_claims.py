"""What the eight papers' claims must say of themselves before anything runs."""

import re
from pathlib import Path

import pytest
import yaml

from harness.papers.plugins import load

PAPERS = ("alibi", "iclm", "longskywork", "lora", "magpie", "rdass", "score", "simcse")
ROOT = Path(__file__).parents[2]
DIRECTION = {
    "difference": 0.0,
    "order": 0.0,
    "ratio": 1.0,
    "wins": 0.5,
}  # bounds that ask for nothing but a sign


@pytest.mark.parametrize("name", PAPERS)
def test_a_bound_that_asks_for_more_than_a_direction_names_its_origin(name):
    for claim in load(name).paper.claims:
        assert claim.bound or claim.contrast.by == DIRECTION.get(claim.contrast.kind), claim.text


@pytest.mark.parametrize("name", PAPERS)
def test_a_claim_names_the_control_without_which_it_cannot_be_shown(name):
    """None have those whose sign is known, counts that chance does not touch, and what no experiment here tests."""
    paper = load(name).paper
    for claim in paper.claims:
        free = claim.is_control or paper.metrics[claim.contrast.metric].exact or claim.needs
        assert free or claim.control, claim.text


@pytest.mark.parametrize("name", PAPERS)
def test_a_control_is_not_the_claim_itself(name):
    for claim in load(name).paper.claims:
        assert claim.control != claim.contrast, claim.text


def run_by_the_recipe(name: str) -> set[str]:
    """Return the methods of a paper that `make scorecard` runs."""
    text = (ROOT / "conf" / "scorecard.txt").read_text(encoding="utf-8")
    found = set()
    for experiment in re.findall(rf"[+]experiment=({name}\w*)", text):
        file = ROOT / "plugins" / name / f"harness_{name}" / "conf" / "experiment" / f"{experiment}.yaml"
        params = yaml.safe_load(file.read_text(encoding="utf-8"))["hydra"]["sweeper"]["params"]
        found |= {method.partition("/")[2] for method in params["method"].split(",")}
    return found


@pytest.mark.parametrize("name", PAPERS)
def test_the_recipe_runs_what_a_claim_reads_or_the_claim_says_what_it_takes(name):
    paper, run = load(name).paper, run_by_the_recipe(name)
    assert run <= set(paper.methods)
    for claim in paper.claims:
        wanted = {*claim.contrast.methods, *(claim.control.methods if claim.control else ())}
        assert wanted <= run or claim.needs, (claim.text, wanted - run)


@pytest.mark.parametrize("name", PAPERS)
def test_rates_are_chosen_with_a_seed_that_is_not_judged(name):
    """The first seed chooses: no experiment whose methods have a grid judges it."""
    paper = load(name).paper
    for file in (ROOT / "plugins" / name).glob("harness_*/conf/experiment/*.yaml"):
        told = yaml.safe_load(file.read_text(encoding="utf-8"))
        params = told.get("hydra", {}).get("sweeper", {}).get("params", {})
        methods = [m.partition("/")[2] for m in str(params.get("method", "")).split(",")]
        if any(paper.methods[m].tune for m in methods if m in paper.methods):
            assert not str(params.get("seed", "")).startswith("range(0,"), file.name
