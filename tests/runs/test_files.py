"""Files of a run are JSON that any reader takes, whole or not at all."""

import json
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.runs.files import as_text, canonical, digest, write_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=8,
)


def strict(text: str):
    """Read JSON as its standard has it: NaN and Infinity are no numbers there."""

    def refuse(name: str):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def plain(value):
    """What JSON keeps of a value: lists for tuples, nothing for what is no number."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return {key: plain(one) for key, one in value.items()} if isinstance(value, dict) else value


@given(VALUES)
@example(math.nan)
@example({"a": [math.inf, (-math.inf,)]})
def test_every_file_is_json(value):
    assert strict(as_text(value)) == plain(value)


def test_what_is_not_a_number_is_null_and_all_else_is_as_it_was(tmp_path):
    write_json(tmp_path / "a.json", {"a": [math.nan, 1.5, (math.inf, -math.inf)], 1: "nan", "b": True})
    assert strict((tmp_path / "a.json").read_text()) == {
        "a": [None, 1.5, [None, None]],
        "1": "nan",
        "b": True,
    }


def test_who_reads_while_a_file_is_written_sees_the_old_one_whole(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    monkeypatch.setattr("harness.runs.files.os.replace", lambda new, old: pytest.fail(path.read_text()))
    with pytest.raises(pytest.fail.Exception, match='"a": 1'):
        write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_equal_values_have_one_digest_whatever_the_order_of_their_keys():
    assert canonical({"b": 1, "a": [1, 2]}) == '{"a":[1,2],"b":1}'
    assert digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1}) != digest({"a": 1, "b": 2})
