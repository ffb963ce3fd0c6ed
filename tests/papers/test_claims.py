"""What the eight papers' claims must say of themselves before anything runs."""

import pytest

from harness.papers.plugins import load

PAPERS = ("alibi", "iclm", "longskywork", "lora", "magpie", "rdass", "score", "simcse")
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
