"""Files of others are data: what is odd in them is refused or told in one sentence, and nothing leads outside."""

import json

import pytest

from harness.errors import UsageError
from harness.exchange import told
from harness.exchange.judging import judge
from harness.exchange.readers import READERS, read
from tests.exchange.made import evaluation, peft, table


def refusal(paths, reader, **asked) -> str:
    with pytest.raises(UsageError) as caught:
        judge(read(paths, reader), **asked)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    return str(caught.value)


ODD = {
    "method,seed\na,1\n": "has no column 'value'",
    "method,value,price\na,1,2\n": "has a column 'price'",
    "method,value\na,good\n": "has the value 'good': write a number",
    "method,value,seed\na,1,first\n": "has the seed 'first'",
    "method,value,seed\na,1,1\na,2,1\n": "repeats a, seed 1",
    "method,value,better\na,1,up\n": "write higher or lower",
    "method,value,item\na,1,\na,2,q\n": "with and without an item",
    "method,value\n,1\n": "has no name",
    f"method,value\n{'a' * 300},1\n": "has no name of 1 to 200 characters",
    "method,value\na,1,2\n": "has 3 fields",
    "method,value\n": "holds no results",
    "": "holds no results",
}


@pytest.mark.parametrize("content", ODD)
def test_an_odd_table_is_refused_in_one_sentence(tmp_path, content):
    path = tmp_path / "runs.csv"
    path.write_text(content, "utf-8")
    assert ODD[content] in refusal([path], "csv")


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\x00", b"[" * 100_000, b"{}", b"[1]", b'{"a": ' + b"9" * 5000 + b"}"]
)
@pytest.mark.parametrize("reader", ["peft-method-comparison", "every-eval-ever"])
def test_a_folder_without_one_result_that_can_be_read_is_refused(tmp_path, content, reader):
    (tmp_path / "a.json").write_bytes(content)
    assert "a.json" in refusal([tmp_path], reader) or str(tmp_path) in refusal([tmp_path], reader)


def test_paths_readers_metrics_and_margins_that_are_not_there_are_named(tmp_path):
    path = table(tmp_path / "runs.csv", [("a", 1, "x", 1.0)])
    assert "does not exist" in refusal([tmp_path / "none.csv"], "csv")
    assert "there is no reader 'cvs': did you mean 'csv'?" in refusal([path], "cvs")
    assert "no metric is named 'valu'" in refusal([path], "csv", metric="valu")
    assert "--margin -1" in refusal([path], "csv", margin=-1.0)
    (tmp_path / "empty").mkdir()
    for reader in READERS:
        assert str(tmp_path / "empty") in refusal([tmp_path / "empty"], reader)


def test_a_link_that_leads_outside_is_refused(tmp_path):
    secret = peft(tmp_path / "outside", "secret", 700)
    inside = tmp_path / "inside"
    peft(inside, "a", 600)
    (inside / "b.json").symlink_to(secret)
    assert "leads outside its folder" in refusal([inside], "peft-method-comparison")


def test_a_file_that_is_too_large_is_told_by_its_size(tmp_path, monkeypatch):
    monkeypatch.setattr(told, "BYTES", 100)
    peft(tmp_path, "a", 700)
    assert "at most 100 are read" in refusal([tmp_path], "peft-method-comparison")


def test_other_test_items_are_refused(tmp_path):
    from harness.errors import HarnessError

    rows = [(m, 0, f"{m if i == 5 else ''}{i}", 1 - i % 2) for m in "ab" for i in range(300)]
    with pytest.raises(HarnessError, match="items"):
        judge(read([table(tmp_path / "runs.csv", rows)], "csv"))


def test_a_value_that_is_missing_takes_its_run_out_and_is_told(tmp_path):
    rows = [
        ("a", 0, "x", 1.0),
        ("a", 0, "y", ""),
        ("b", 0, "x", 1.0),
        ("b", 0, "y", "nan"),
        ("c", 0, "x", 2.0),
    ]
    (part,) = judge(read([table(tmp_path / "runs.csv", rows)], "csv"))["tasks"]
    assert [row["method"] for row in part["methods"]] == ["c"]
    assert [one["reason"] for one in part["troubles"]] == ["has no value of item y"] * 2


def test_a_second_run_of_a_seed_is_told(tmp_path):
    peft(tmp_path / "one", "a", 700)
    peft(tmp_path / "two", "a", 650)
    (part,) = judge(read([tmp_path], "peft-method-comparison"))["tasks"]
    assert "second run of seed 0" in part["troubles"][0]["reason"]


def test_models_that_disagree_which_way_is_better_are_told(tmp_path):
    evaluation(tmp_path, "a", 0.5)
    path = evaluation(tmp_path, "b", 0.5)
    record = json.loads(path.read_text("utf-8"))
    record["evaluation_results"][0]["metric_config"]["lower_is_better"] = True
    path.write_text(json.dumps(record), "utf-8")
    found = judge(read([tmp_path], "every-eval-ever"))
    assert "others do not" in found["unread"][0]["reason"]
