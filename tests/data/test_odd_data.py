"""Odd data: each kind is refused in one sentence that names file and fix, or read right; never a traceback."""

import json
import os
import random
import resource
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data import files
from harness.data.packages import SMALL, unpack
from harness.data.sources import present, resolve, resolve_model
from harness.errors import HarnessError


def refusal(ask) -> str:
    with pytest.raises(HarnessError) as caught:
        ask()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def read(name, cache: Path, columns=("text",)) -> list[dict]:
    return list(resolve(str(name), cache=cache, columns=columns).rows())


DEEP = "[" * 100_000 + "]" * 100_000
LONG = "9" * 10_000
ODD = {
    "random.parquet": (random.Random(0).randbytes(5000), "is not a whole parquet file"),
    "magic.parquet": (b"PAR1" + random.Random(1).randbytes(500) + b"PAR1", "is not a whole parquet file"),
    "deep.jsonl": (f'{{"text": {DEEP}}}\n', "line 1 nests thousands"),
    "deep.json": (DEEP, "nests thousands"),
    "long.jsonl": (
        f'{{"text": "a"}}\n{{"text": {LONG}}}\n',
        "line 2 holds a whole number of more than 4,300 digits",
    ),
    "long.json": (f'[{{"text": {LONG}}}]', "holds a whole number of more than 4,300 digits"),
    "half.jsonl": ('{"text": "a\\ud83d b"}\n', r"line 1 holds half a character, \ud83d"),
    "half.json": ('[{"a\\uDE00": 1, "text": "a"}]', r"holds half a character, \ude00"),
    "uneven.jsonl": ('{"text": "a", "n": {"m": 1}}\n{"text": "a"}\n', "row 2 has no 'n.m'"),
    "escape.csv": ("\x1b[31mred,b\n1,2\n", "has no column text, only  [31mred, b"),
    "cut.csv": ('text,b\n"one\ntwo,1\n' * 3, "line"),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_content_is_refused_by_file_and_reason(tmp_path, name):
    content, reason = ODD[name]
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    asked = f"{path}?m:n.m" if name == "uneven.jsonl" else path
    said = refusal(lambda: read(asked, tmp_path / "cache"))
    assert reason in said
    assert name in said
    assert "\x1b" not in said


def test_a_cut_parquet_file_is_refused(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"text": ["a"] * 10_000}), path)
    os.truncate(path, path.stat().st_size // 2)
    assert "is not a whole parquet file" in refusal(lambda: read(path, tmp_path / "cache"))


def test_a_whole_character_written_as_two_escapes_is_read(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"text": "\\ud83d\\ude00 \\uac00"}\n')
    assert read(path, tmp_path / "cache") == [{"text": "😀 가"}]


@pytest.mark.parametrize("name", ["hub:", "file:", "pypi:", "builtin:", "hub: ", "file:?text:body"])
def test_a_kind_with_nothing_behind_it_names_nothing(tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("here.txt").write_text("not asked for")
    for ask in (resolve, resolve_model, present):
        assert "names nothing: write" in refusal(lambda ask=ask: ask(name.partition("?")[0], cache=tmp_path))
    assert "names nothing: write" in refusal(lambda: resolve(name, cache=tmp_path))


# A file that cannot be there, or may not be read


@pytest.mark.parametrize("name", ["a" * 300, "x" * 5000 + "/y.txt", "a\0b.txt", "here.txt/below"])
def test_a_name_that_no_file_can_have_does_not_exist(tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("here.txt").write_text("text")
    assert "does not exist" in refusal(lambda: resolve(name, cache=tmp_path))
    assert present(name, cache=tmp_path) is False


def test_a_file_without_the_right_to_read_it_is_told(tmp_path):
    """As a user that is not root, since root may read everything."""
    path = tmp_path / "mine.txt"
    path.write_text("text")
    path.chmod(0)
    code = (
        "import os, sys; from harness.data.sources import resolve; from harness.errors import UsageError; "
        "from pathlib import Path\n"
        "import harness.data.files\n"
        "if os.geteuid() == 0: os.setegid(65534); os.seteuid(65534)\n"
        "try: resolve(sys.argv[1], cache=Path(sys.argv[2]))\n"
        "except UsageError as error: print(error)"
    )
    for folder in [tmp_path, *tmp_path.parents]:
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o755)
    done = subprocess.run([sys.executable, "-c", code, path, tmp_path], capture_output=True, text=True)
    assert "mine.txt cannot be read or fetched (Permission denied)" in done.stdout, done.stderr


# A model's name


@pytest.mark.parametrize(
    "name",
    ["./nope", "../nope", "/nope/x", "~/nope-x", "models/nope", "nope.gguf", "a\\b", "me/x.safetensors"],
)
def test_a_mistyped_path_is_not_taken_for_a_hub_name(tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("models/bert-base").mkdir(parents=True)
    assert "does not exist" in refusal(lambda: resolve_model(name, cache=tmp_path))


def test_a_mistyped_model_is_answered_with_the_nearest_and_the_way_to_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("models/bert-base").mkdir(parents=True)
    said = refusal(lambda: resolve_model("models/bert-bas", cache=tmp_path))
    assert "did you mean 'bert-base'?" in said
    assert "(a model of the hub is written hub:models/bert-bas)" in said
    for name in ("hub:./models/x", "hub:data/train.jsonl"):
        assert "is not a folder here and not a hub name" in refusal(
            lambda name=name: resolve(name, cache=tmp_path)
        )


# Names of files and of columns


NAMES = [
    "a b.jsonl",
    "x (1).jsonl",
    "[v2] 한글.jsonl",
    "{y}.jsonl",
    "a,b.jsonl",
    "epoch=3.jsonl",
    "a#b.jsonl",
    "it's.jsonl",
    'say "x".jsonl',
    "what?.jsonl",
    "is it?text:x.jsonl",
    "50%.jsonl",
    "$x ~t&😀.jsonl",
    "file:x.jsonl",
    "hub:x.jsonl",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("prefix", ["", "file:"])
def test_a_file_may_have_any_name_with_and_without_chosen_columns(tmp_path, monkeypatch, name, prefix):
    monkeypatch.chdir(tmp_path)
    folder = Path("in a [folder], #1=x?")
    folder.mkdir()
    for path in (Path(name), folder / name, tmp_path / name):
        path.write_text('{"body": "one", "text": "two"}\n')
        assert read(f"{prefix}{path}", tmp_path / "cache")[0]["text"] == "two"
        chosen = resolve(f"{prefix}{path}?text:body", cache=tmp_path / "cache")
        assert [d.text for d in chosen.documents()] == ["one"]
        assert resolve(chosen.name, cache=tmp_path / "cache") == chosen


def test_a_source_with_chosen_columns_is_named_so_that_its_name_means_it_again(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"body": "one", "gold": 1}\n')
    source = resolve(f"{path}?text:body+score:gold", cache=tmp_path, columns=("text", "score"))
    assert source.name == f"{path}?text:body+score:gold"
    assert (
        resolve(source.name, cache=tmp_path).digest
        == source.digest
        != resolve(str(path), cache=tmp_path, columns=()).digest
    )
    assert f"'{path}?label:ITS_NAME'" in refusal(
        lambda: resolve(source.name, cache=tmp_path, columns=("label",))
    )
    again = resolve(f"{path}?text:body?score:gold", cache=tmp_path, columns=("text", "score"))
    assert list(again.rows()) == list(source.rows())


def test_a_column_within_a_column_is_reached_by_a_point(tmp_path):
    """The form in which KLUE-STS is handed out."""
    rows = [
        {"sentence1": "a", "sentence2": "b", "labels": {"label": 3.7, "real-label": 3.714, "deep": {"x": 1}}},
        {"sentence1": "c", "sentence2": "d", "labels": {"label": 0.0, "real-label": 0.1, "deep": {"x": 2}}},
    ]
    path = tmp_path / "klue.json"
    path.write_text(json.dumps(rows))
    columns = ("sentence1", "sentence2", "score")
    source = resolve(f"{path}?score:labels.real-label", cache=tmp_path, columns=columns)
    assert [row["score"] for row in source.rows()] == [3.714, 0.1]
    deep = resolve(f"{path}?score:labels.deep.x", cache=tmp_path, columns=columns)
    assert [row["score"] for row in deep.rows()] == [1, 2]
    said = refusal(lambda: resolve(f"{path}?score:labels.real-lable", cache=tmp_path, columns=columns))
    assert "did you mean 'labels.real-label'?" in said
    flat = tmp_path / "flat.jsonl"
    flat.write_text('{"labels.x": 5, "labels": {"x": 6}}\n')  # a column's own name comes first
    assert read(f"{flat}?y:labels.x", tmp_path, ("y",))[0]["y"] == 5


# Quotes in a tsv

TEXT = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0\r\ufeff"), max_size=8)
QUOTES = st.text('"\t\n a', max_size=6)


@settings(deadline=None)
@given(st.lists(st.tuples(TEXT | QUOTES, TEXT | QUOTES), min_size=1, max_size=6))
def test_a_tsv_that_pandas_wrote_is_read_as_pandas_reads_it(tmp_path_factory, rows):
    import csv

    import pandas as pd

    path = tmp_path_factory.mktemp("tsv") / "t.tsv"
    for style in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL):
        pd.DataFrame(rows, columns=["a", "b"]).to_csv(path, sep="\t", index=False, quoting=style)
        assert [(row["a"], row["b"]) for row in files.rows(path)] == rows


@pytest.mark.parametrize(
    "line",
    [
        '"He said',
        'say "hi" to\tx',
        '"quoted"',
        'a 3" pipe',
        '""',
        '"a" and "b"',
        'unbalanced "" inside',
        '"',
        "'\"",
    ],
)
def test_a_tsv_of_sentences_keeps_its_quotes(tmp_path, line):
    path = tmp_path / "t.tsv"
    first, _, second = line.partition("\t")
    path.write_text(f'text\tother\nplain\t1\n{first}\t{second or "2"}\n"open\t3\n')
    assert [row["text"] for row in files.rows(path)] == ["plain", first, '"open']


@settings(deadline=None)
@given(st.lists(st.tuples(TEXT | QUOTES, st.integers(0, 9), TEXT), min_size=1, max_size=6))
def test_a_tsv_whose_writer_quoted_all_texts_is_read_as_pandas_reads_it(tmp_path_factory, rows):
    import csv

    import pandas as pd

    path = tmp_path_factory.mktemp("tsv") / "t.tsv"
    table = pd.DataFrame(rows, columns=["a", "n", "b"])
    table.to_csv(path, sep="\t", index=False, quoting=csv.QUOTE_NONNUMERIC)
    assert [(row["a"], int(row["n"]), row["b"]) for row in files.rows(path)] == rows


def test_quotes_that_only_some_fields_have_are_kept_and_counted(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text('text\tn\n"he said ""no"""\t1\n"She left\t2\n"a ""b"" c"\t3\n')
    with pytest.warns(UserWarning, match="2 fields look quoted by a writer, and 1 begin with a quote"):
        assert [row["text"] for row in files.rows(path)] == ['"he said ""no"""', '"She left', '"a ""b"" c"']


# What would not fit


@pytest.mark.fault
def test_a_line_of_a_gigabyte_is_refused_within_memory(tmp_path):
    path = tmp_path / "large"
    with path.open("w") as file:
        file.write('{"text": "')
        for _ in range(1024):
            file.write("a" * 2**20)
    code = (
        "import sys; from pathlib import Path; from harness.data.sources import resolve\n"
        "resolve(sys.argv[1], cache=Path(sys.argv[2]))"
    )
    limit = 1_500_000_000
    for suffix in (".jsonl", ".json", ".csv", ".tsv"):
        path = path.rename(path.with_suffix(suffix))
        done = subprocess.run(
            [sys.executable, "-c", code, path, tmp_path / "cache"],
            capture_output=True,
            text=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        )
        assert f"large{suffix} line 1 is longer than 134,217,728 characters: break it" in done.stderr
        assert "MemoryError" not in done.stderr


def bomb(path: Path, size: int, pieces: int = 1) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for piece in range(pieces):
            with file.open(f"zeros-{piece}", "w", force_zip64=True) as member:
                for _ in range(size // pieces // 2**20 + 1):
                    member.write(bytes(2**20))
    return path


@pytest.mark.fault
@pytest.mark.parametrize("pieces", [1, 50])
def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path, pieces):
    path = bomb(tmp_path / "bomb.whl", SMALL, pieces)
    assert path.stat().st_size < 2**20
    assert "would unpack to" in refusal(lambda: unpack(path, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_small_archive_may_pack_well(tmp_path):
    unpack(bomb(tmp_path / "small.whl", 2**22), tmp_path / "out")
    assert (tmp_path / "out" / "zeros-0").stat().st_size > 2**22


def test_a_member_that_holds_more_than_it_tells_is_refused(tmp_path):
    path = bomb(tmp_path / "lie.whl", 2**22)
    whole = path.read_bytes()
    true, told = (5 * 2**20).to_bytes(8, "little"), (1000).to_bytes(8, "little")
    assert true[:4] in whole
    path.write_bytes(whole.replace(true, told).replace(true[:4], told[:4]))
    said = refusal(lambda: unpack(path, tmp_path / "out"))
    assert "lie.whl is not a whole zip archive" in said
    assert sum(p.stat().st_size for p in tmp_path.rglob("zeros*")) <= 1000


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\3\4" + bytes(100)])
def test_what_is_no_archive_is_refused(tmp_path, content):
    (tmp_path / "x.whl").write_bytes(content)
    assert "is not a whole zip archive" in refusal(lambda: unpack(tmp_path / "x.whl", tmp_path / "out"))


def test_a_link_in_a_data_folder_may_not_lead_outside(tmp_path):
    (tmp_path / "secret.txt").write_text("a secret")
    folder = tmp_path / "data"
    (folder / "in").mkdir(parents=True)
    (folder / "in" / "a.txt").write_text("one")
    (folder / "b.txt").symlink_to("in/a.txt")
    (tmp_path / "way").symlink_to(folder)
    for name in (
        folder,
        tmp_path / "way",
    ):  # what is named itself may be a link, and one within may stay within
        assert [d.text for d in resolve(str(name), cache=tmp_path / "c").documents()] == ["one", "one"]
    (folder / "c.txt").symlink_to(tmp_path / "secret.txt")
    said = refusal(lambda: resolve(str(folder), cache=tmp_path / "c"))
    assert f"c.txt is a link that leads outside its folder, to {tmp_path / 'secret.txt'}" in said
