"""Windows lie side by side and leave out only what fills none."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data.packing import windows
from harness.errors import HarnessError


@given(st.integers(1, 300), st.integers(1, 300))
def test_windows_are_the_text_cut_in_equal_lengths(count, length):
    tokens = np.arange(count)
    if count < length:
        with pytest.raises(HarnessError):
            windows(tokens, length)
        return
    found = windows(tokens, length)
    assert found.shape == (count // length, length)
    assert np.array_equal(found.ravel(), tokens[: count - count % length])
    assert np.shares_memory(found, tokens)


def test_too_short_a_text_is_refused_with_both_sizes_and_the_mend():
    with pytest.raises(HarnessError, match=r"10 tokens, fewer than the 64 .* lower task\.length="):
        windows(np.arange(10), 64)
