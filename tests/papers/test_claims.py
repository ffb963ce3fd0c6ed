"""What the papers claim: every margin says where it is from, and no number of another quantity stands beside it."""

import pytest

from harness import Claim, Origin
from harness.papers.plugins import load_all

CLAIMS = [
    pytest.param(claim, id=f"{plugin.name}-{number}")
    for plugin in load_all()
    if plugin.paper is not None
    for number, claim in enumerate(plugin.paper.claims)
]
NOTHING = {
    "difference": 0.0,
    "order": 0.0,
    "ratio": 1.0,
    "level": 0.0,
    "share": None,
    "wins": 0.5,
}  # the bounds that are no margin


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_margin_says_where_it_is_from_and_a_prototype_which_data_it_saw(claim: Claim):
    if claim.contrast.by != NOTHING[claim.contrast.kind]:
        assert claim.bound is not None, claim.text
        assert claim.bound.why or claim.bound.origin is Origin.PAPER, claim.text
        assert claim.bound.data or claim.bound.origin is not Origin.PROTOTYPE, claim.text


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_number_of_the_same_quantity_lies_on_the_claimed_side(claim: Claim):
    if claim.reported is not None and claim.reported.same and not claim.counter:
        above = claim.contrast.side == "above"
        value, by = claim.reported.value, claim.contrast.by
        assert value > by if above else value < by, (claim.text, value)
