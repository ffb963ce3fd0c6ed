"""`harness rdass score`: people's own summaries, and what is said when a file is not as it should be."""

import csv
import json

import numpy as np
import pytest
from harness_rdass.command import compare, mean, score
from harness_rdass.tables import lines

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
    given["references"].write_text("가\n\n나\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"references\.txt line 2 is empty"):
        score(**given)
    given["references"].write_text("가\n나\n", encoding="utf-8")
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


def table(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


ROWS = [
    {"id": f"d{i}", "document": f"비가 온다 {i} 춥다", "reference": f"비가 온다 {i}", "summary": f"비 {i}"}
    for i in range(4)
]


def test_an_empty_summary_scores_nothing_and_is_counted(tmp_path, capsys):
    for nothing in ("", " \t", "\u200b", None):
        rows = [{**ROWS[0], "summary": nothing}, *ROWS[1:]]
        score(table(tmp_path / "t.jsonl", rows), json_=True)
        report = json.loads(capsys.readouterr().out)
        assert report["empty_summaries"] == 1
        first, *others = report["scores"]
        assert (first["rdass"], first["rouge_l"], first["empty"]) == (0, 0, True)
        assert all(row["rdass"] > 0 and not row["empty"] for row in others)
    given = files(tmp_path, "가\n나\n", "가\n나\n", "가\n\n")
    score(**given)
    assert "empty summaries, which score 0: 1" in capsys.readouterr().out


@pytest.mark.parametrize("ending", ["csv", "json", "jsonl", "parquet"])
def test_ids_and_groups_are_carried_through_into_any_form(tmp_path, ending):
    from harness.data import files

    rows = [*ROWS, {**ROWS[0], "id": "again"}]
    out = tmp_path / f"out.{ending}"
    score(table(tmp_path / "t.jsonl", rows), out=out)
    [*found] = files.rows(out)
    found = found[0]["scores"] if ending == "json" else found
    assert [row["id"] for row in found] == ["d0", "d1", "d2", "d3", "again"]
    assert [int(row["group"]) for row in found] == [1, 2, 3, 4, 1]


def test_an_interval_is_over_documents_where_items_share_one():
    values, groups = [1.0, 2.0, 4.0, 8.0], [1, 1, 2, 3]
    middle = 15 / 4
    sums = [3 - 2 * middle, 4 - middle, 8 - middle]
    error = (sum(s * s for s in sums) * 3 / 2) ** 0.5 / 4
    assert mean(values, groups)["high"] == pytest.approx(middle + 4.302653 * error)
    assert mean(values, [1, 2, 3, 4]) == pytest.approx(mean(values))
    assert mean(values, [1, 1, 2, 2])["low"] is None


def test_that_tfidf_depends_on_the_file_is_said(tmp_path, capsys):
    score(table(tmp_path / "t.jsonl", ROWS))
    assert "the same summary scores otherwise in another file" in " ".join(capsys.readouterr().out.split())


def systems(folder, number, each=1):
    """Write two systems' tables over `number` documents, `each` items a document; the first copies the reference."""
    draw = np.random.default_rng(0)
    words = ["비", "눈", "해", "달", "별", "산", "강", "꽃", "새", "물"]
    ours, theirs = [], []
    for i in range(number):
        document = " ".join(draw.choice(words, 12)) + f" {i}"
        for k in range(each):
            reference = " ".join(document.split()[k : k + 5])
            row = {"id": f"{i}-{k}", "document": document, "reference": reference}
            ours.append({**row, "summary": " ".join(reference.split()[: 2 + (i + k) % 4])})
            theirs.append({**row, "summary": " ".join(draw.choice(words, 3))})
    return table(folder / "ours.jsonl", ours), table(folder / "theirs.jsonl", theirs[::-1])


def test_two_systems_are_compared_item_by_item_by_the_house_s_rule(tmp_path, capsys):
    from harness import Items, Metric, difference
    from harness.verdicts.stats import Cell, estimate

    a, b = systems(tmp_path, 60, 4)
    compare(a, b, json_=True)
    report = json.loads(capsys.readouterr().out)
    assert (report["items"], report["documents"], report["paired_by"]) == (240, 60, "id")
    assert report["scores"]["rdass"]["verdict"] == "ours is better"
    cells = []
    for name in (a, b):
        score(name, json_=True, out=tmp_path / f"{name}.csv")
        rows = {row["id"]: row for row in json.loads(capsys.readouterr().out)["scores"]}
        ids = sorted(rows)
        items = Items(
            {"s": [rows[i]["rdass"] for i in ids]}, ids, {"document": [i.partition("-")[0] for i in ids]}
        )
        value = float(np.mean(items.columns["s"]))
        cells.append(Cell(name, "rdass", {0: value}, lambda items=items: {0: items}, True))
    expected = estimate(difference("rdass", a, b), {"rdass": Metric("higher", "", range=(-1, 1))}, cells)
    found = report["scores"]["rdass"]
    assert (found["difference"], found["low"], found["high"]) == pytest.approx(
        (expected.value, expected.low, expected.high)
    )
    compare(f"{a}.csv", f"{b}.csv", json_=True)
    assert json.loads(capsys.readouterr().out)["scores"]["rdass"] == pytest.approx(
        {**found, "verdict": "ours.jsonl is better"}
    )


def test_two_columns_of_one_table_are_two_systems(tmp_path, capsys):
    rows = [{**row, "ours": row["reference"], "theirs": "눈"} for row in ROWS]
    compare(table(tmp_path / "t.jsonl", rows), columns="ours,theirs", json_=True)
    report = json.loads(capsys.readouterr().out)
    assert (report["a"], report["b"]) == ("ours", "theirs")
    assert report["scores"]["rdass"]["difference"] > 0.5
    assert report["scores"]["rdass"]["verdict"] == "open: 200 paired items are needed and there are 4"
    with pytest.raises(UsageError, match=r"no column 'their' to call 'summary': did you mean 'theirs'"):
        compare(str(tmp_path / "t.jsonl"), columns="ours,their")
    compare(str(tmp_path / "t.jsonl"), columns="ours,theirs")
    assert "open" in capsys.readouterr().out


def test_two_tables_of_other_items_are_not_compared(tmp_path):
    a = table(tmp_path / "a.jsonl", ROWS)
    with pytest.raises(UsageError, match="2 items are in one table only, the first is 'd3'"):
        compare(a, table(tmp_path / "b.jsonl", [*ROWS[:3], {**ROWS[3], "id": "x"}]))
    with pytest.raises(UsageError, match="item 2 has another document in b"):
        compare(a, table(tmp_path / "b.jsonl", [ROWS[0], {**ROWS[1], "document": "x"}, *ROWS[2:]]))
    with pytest.raises(UsageError, match="give two tables"):
        compare(a)
    score(a, out=tmp_path / "s.csv")
    with pytest.raises(UsageError, match=r"s\.csv has scores and .*a\.jsonl texts"):
        compare(a, str(tmp_path / "s.csv"))


def test_vectors_may_come_from_a_server(tmp_path, capsys):
    from harness_rdass.judging import rdass

    from benchmarks.serving import Loopback

    def vector(text):
        return [float(text.count(sign)) for sign in "비눈해달온다"]

    class Here:
        def encode(self, texts):
            return np.array([vector(text) for text in texts])

    texts = [
        "비가 온다 춥다\n눈이 온다\n해\n",
        "비가 온다\n눈이 온다 다\n해가 뜬다\n",
        "눈이 온다\n눈이 온다\n달\n",
    ]
    with Loopback(vectors=vector) as server:
        given = files(tmp_path, *texts)
        score(**given, encoder=server.address, results=tmp_path / "results", json_=True)
        report = json.loads(capsys.readouterr().out)
        with pytest.raises(UsageError, match="--long mean cuts texts by the encoder's tokens"):
            score(**given, encoder=server.address, long="mean", results=tmp_path)
        with pytest.raises(UsageError, match="a server pools as it was started"):
            score(**given, encoder=server.address, pooling="cls", results=tmp_path)
    ours = rdass(*(text.splitlines() for text in texts), Here())
    assert [row["rdass"] for row in report["scores"]] == pytest.approx(ours.rdass.tolist(), abs=1e-6)
    assert report["encoder"] == "tiny"
    with pytest.raises(UsageError, match="no server answers at"):
        score(**given, encoder=server.address, results=tmp_path / "results", json_=True)
