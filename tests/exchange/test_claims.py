"""The claim record: valid by its published schema, whole after a round trip, refused where it is something else."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import HarnessError
from harness.exchange.claims import SCHEMA, claims_of_card, published, read_claims, write_claims
from harness.verdicts.scorecard import judge
from tests.records import PAPER, write_sweep

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"
KEPT = ("kind", "side")  # one of a few words


def like(value: object, name: str = "") -> st.SearchStrategy:
    """Return values of the same shape as one that a record holds."""
    match value:
        case dict():
            return st.fixed_dictionaries({key: like(part, key) for key, part in value.items()})
        case list():
            return st.lists(like(value[0]), max_size=2) if value else st.just([])
        case bool():
            return st.booleans()
        case int():
            return st.integers(-(2**53), 2**53)
        case float():
            return (
                st.none() | st.floats(allow_nan=False, allow_infinity=False)
                if name != "by"
                else st.just(value)
            )
        case str() if name not in KEPT:
            return st.text(st.characters(codec="utf-8"), max_size=8)
    return st.just(value)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    records = write_sweep(tmp_path_factory.mktemp("results"))
    (card,) = judge("toy", PAPER, records)
    return card, records


def test_the_published_schema_is_that_of_the_code():
    assert (SCHEMAS / "claims.schema.json").read_text("utf-8") == published()


def test_an_export_is_valid_by_the_published_schema(swept, tmp_path):
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    write_claims(tmp_path / "claims.json", [claims_of_card(*swept)])
    written = json.loads((tmp_path / "claims.json").read_text("utf-8"))
    schema = json.loads(published())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(written, schema, jsonschema.Draft202012Validator)
    written["papers"][0]["claims"][0].pop("verdict")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(written, schema, jsonschema.Draft202012Validator)


def test_a_record_holds_what_the_scorecard_says(swept):
    card, records = swept
    told = claims_of_card(card, records)
    assert [claim["sentence"] for claim in told["claims"]] == [claim["text"] for claim in card["claims"]]
    for claim, own in zip(told["claims"], card["claims"], strict=True):
        assert claim["verdict"]["word"] == own["verdict"]
        assert claim["verdict"]["low"] == own["low"]
        assert claim["verdict"]["groups"] == own["groups"]
        assert claim["contrast"]["by"] == own["by"]
    assert told["scale"]["data"]["corpus"] == {"name": "builtin:python", "digest": "c0ffee"}
    assert sum(len(runs["run_keys"]) for runs in told["runs"]) == len(records)


@given(st.data())
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_is_written_is_read_back_whole(swept, tmp_path_factory, data):
    card, records = swept
    told = claims_of_card(card, records)
    told["claims"], told["runs"] = told["claims"][:1], told["runs"][:1]
    papers = [data.draw(like(told))]
    path = tmp_path_factory.getbasetemp() / "claims.json"
    write_claims(path, papers)
    assert read_claims(path) == papers


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "holds no claim records"),
        ('{"schema": 1}', "papers: Field required"),
        (f'{{"schema": {SCHEMA + 1}, "papers": []}}', "made by a newer harness"),
        ('{"schema": 1, "papers": [{"paper": 3}]}', "holds no claim records"),
    ],
)
def test_what_is_no_record_is_refused_in_a_sentence(tmp_path, content, says):
    path = tmp_path / "claims.json"
    path.write_text(content, "utf-8")
    with pytest.raises(HarnessError, match=says) as caught:
        read_claims(path)
    assert "\n" not in str(caught.value)
