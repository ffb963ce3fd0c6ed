"""The errors that ports of ALiBi have really made: each must break a law, or the laws are too weak."""

import importlib.util
from pathlib import Path

import pytest
import torch
from harness_alibi import alibi_bias, slopes


def first_slope_is_one(heads):
    return 2.0 ** (-8 / heads * torch.arange(heads))


def plain_formula(heads):
    return 2.0 ** (-8 / heads * torch.arange(1, heads + 1))


def in_order_of_size(heads):
    return slopes(heads).sort(descending=True).values


def bias_of(find_slopes):
    def bias(heads, queries, keys):
        distance = torch.arange(keys - queries, keys)[:, None] - torch.arange(keys)
        return -find_slopes(heads)[:, None, None] * distance

    return bias


def rewards_distance(heads, queries, keys):
    return -alibi_bias(heads, queries, keys)


def over_the_query_length(heads, queries, keys):
    distance = torch.arange(queries)[:, None] - torch.arange(keys)
    return -slopes(heads)[:, None, None] * distance.clamp(min=0)


def one_token_too_far(heads, queries, keys):
    return alibi_bias(heads, queries, keys + 1)[:, :, :keys]


def scaled_with_the_scores(heads, queries, keys):
    return alibi_bias(heads, queries, keys) / 8**0.5


MUTANTS = {
    "the first slope is one": (first_slope_is_one, bias_of(first_slope_is_one)),
    "the plain formula for every head count": (plain_formula, bias_of(plain_formula)),
    "slopes sorted": (in_order_of_size, bias_of(in_order_of_size)),
    "the sign turned": (slopes, rewards_distance),
    "built over the query length": (slopes, over_the_query_length),
    "off by one": (slopes, one_token_too_far),
    "scaled with the scores": (slopes, scaled_with_the_scores),
}


def broken_laws(find_slopes, bias) -> list[str]:
    """Return the laws that fail for another pair of slopes and bias."""
    spec = importlib.util.spec_from_file_location("laws", Path(__file__).parent / "test_laws.py")
    laws = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(laws)
    laws.slopes, laws.alibi_bias = find_slopes, bias
    published = laws.test_slopes_are_the_published_ones_in_their_order
    (mark,) = published.pytestmark
    checks = {f"published slopes for {case[0]}": lambda case=case: published(*case) for case in mark.args[1]}
    for name in (
        "test_bias_depends_only_on_distance",
        "test_bias_of_the_last_queries_is_the_end_of_the_whole",
        "test_zero_queries_give_a_softmax_of_the_distance_alone",
        "test_the_last_row_puts_most_mass_on_the_nearest_key",
        "test_the_decoders_bias_is_the_papers",
    ):
        checks[name] = getattr(laws, name)
    broken = []
    for name, check in checks.items():
        try:
            check()
        except AssertionError:
            broken.append(name)
    return broken


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_known_error_breaks_a_law(mutant):
    assert broken_laws(*MUTANTS[mutant])


def test_the_method_itself_breaks_none():
    assert broken_laws(slopes, alibi_bias) == []
