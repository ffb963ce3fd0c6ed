"""`harness rdass score`: people's own summaries, and what is said when a file is not as it should be."""

import csv
import json

import pytest
from harness_rdass.command import lines, mean, score

from harness.errors import UsageError


def files(folder, *texts):
    """Write documents, references and summaries; return them as options."""
    names = ("documents", "references", "summaries")
    for name, text in zip(names, texts, strict=True):
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.txt" for name in names}


def test_three_files_are_scored_line_by_line(tmp_path, capsys):
    references = "비가 온다\n해가 뜬다\n눈이 온다\n"
    given = files(
        tmp_path, references.replace("\n", " 춥다\n", 1), references, references.replace("눈이 온", "달이 진")
    )
    score(**given, out=tmp_path / "s.csv", json_=True)
    report = json.loads(capsys.readouterr().out)
    assert report["scores"][1]["rdass"] == pytest.approx(1.0)
    assert report["scores"][1]["rouge_2"] == 1.0
    assert report["scores"][2]["rdass"] < 0.5
    first = report["scores"][0]
    assert first["rdass"] == pytest.approx((first["reference"] + first["document"]) / 2)
    low, high = (report["mean"]["rdass"][key] for key in ("low", "high"))
    assert low < report["mean"]["rdass"]["value"] < high
    with (tmp_path / "s.csv").open(encoding="utf-8") as file:
        assert [float(row["rdass"]) for row in csv.DictReader(file)] == [s["rdass"] for s in report["scores"]]


def test_one_table_does_too_in_any_language(tmp_path, capsys):
    row = {"document": "The cat sat on the mat.", "reference": "A cat sat.", "summary": "The cat sat."}
    (tmp_path / "t.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    score(str(tmp_path / "t.jsonl"), out=tmp_path / "s.json")
    written = json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))
    assert 0 < written["mean"]["rdass"]["value"] < 1
    assert written["mean"]["rdass"]["low"] is None  # one item has no interval
    assert "RDASS" in capsys.readouterr().out


def test_a_line_that_cannot_be_used_is_named_with_its_file(tmp_path):
    given = files(tmp_path, "가\n나\n", "가\n나\n", "가\n")
    with pytest.raises(UsageError, match="different numbers of lines"):
        score(**given)
    given["summaries"].write_text("가\n\n나\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"summaries\.txt line 2 is empty"):
        score(**given)
    given["summaries"].write_bytes("가\n".encode() + "나\n".encode("cp949"))
    with pytest.raises(UsageError, match=r"summaries\.txt line 2 is not UTF-8"):
        score(**given)
    (tmp_path / "t.jsonl").write_text(
        '{"document": "a", "reference": "", "summary": "b"}\n', encoding="utf-8"
    )
    with pytest.raises(UsageError, match=r"row 1 .* has an empty or no `reference`"):
        score(str(tmp_path / "t.jsonl"))
    with pytest.raises(UsageError, match="give --documents"):
        score(documents=given["documents"])


def test_a_byte_order_mark_and_windows_line_ends_are_no_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf" + "가\r\n나\r\n".encode())
    assert lines(tmp_path / "a.txt") == ["가", "나"]


def test_the_interval_of_a_mean_is_student_s():
    found = mean([1.0, 2.0, 3.0])
    assert (found["value"], found["high"]) == (2.0, pytest.approx(2 + 4.302653 / 3**0.5))


def test_a_wrong_option_is_met_with_the_right_one():
    with pytest.raises(UsageError, match=r"--long cannot be 'meen'"):
        score(long="meen")
