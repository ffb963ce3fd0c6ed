"""Names become documents and rows; what cannot be read is refused in one sentence with the fix."""

import hashlib
import json
import os
import re
import subprocess
import sys
import zipfile

import pytest

from harness.data.files import LARGE
from harness.data.packages import unpack
from harness.data.sources import Document, Source, present, resolve, resolve_model
from harness.errors import HarnessError, UsageError


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refusal(name, cache, **options):
    with pytest.raises(UsageError) as caught:
        resolve(str(name), cache=cache, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Files


def test_a_text_file_is_one_document_and_its_rows_are_its_lines(tmp_path, cache):
    path = write(tmp_path / "notes.txt", "one\r\n\n  two\n")
    source = resolve(f"file:{path}", cache=cache)
    assert list(source.documents()) == [Document("notes.txt", "one\n\n  two\n")]
    assert list(source.rows()) == [{"text": "one"}, {"text": "  two"}]
    assert source.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert resolve(str(path), cache=cache).digest == source.digest


def test_every_kind_of_table_gives_the_same_rows(tmp_path, cache):
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"a": 'say "hi', "b": "1"}, {"a": "한국어, 둘", "b": "2"}]
    write(tmp_path / "t.jsonl", "\n".join(json.dumps(r) for r in rows) + "\n\n")
    write(tmp_path / "t.json", json.dumps(rows))
    write(tmp_path / "t.csv", 'a,b\n"say ""hi",1\n"한국어, 둘",2\n')
    write(tmp_path / "t.tsv", 'a\tb\nsay "hi\t1\n한국어, 둘\t2\n')
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    for suffix in ("jsonl", "json", "csv", "tsv", "parquet"):
        source = resolve(str(tmp_path / f"t.{suffix}"), cache=cache, columns=("a", "b"))
        assert list(source.rows()) == rows, suffix
        assert [d.text for d in source.documents("a")] == [r["a"] for r in rows], suffix


def test_a_row_is_named_by_its_id_or_else_by_its_number(tmp_path, cache):
    named = write(tmp_path / "named.jsonl", '{"id": 7, "text": "x"}\n')
    plain = write(tmp_path / "plain.jsonl", '{"text": "x"}\n{"text": "y"}\n')
    assert [d.id for d in resolve(str(named), cache=cache).documents()] == ["7"]
    assert [d.id for d in resolve(str(plain), cache=cache).documents()] == ["plain.jsonl#0", "plain.jsonl#1"]


def test_a_byte_order_mark_is_not_part_of_the_first_column(tmp_path, cache):
    path = write(tmp_path / "excel.csv", "﻿text,label\na,1\n")
    assert list(resolve(str(path), cache=cache).rows()) == [{"text": "a", "label": "1"}]


def test_a_folder_is_its_data_files_without_those_about_them(tmp_path, cache):
    home = tmp_path / "corpus"
    for name in (
        "b.txt",
        "a/z.md",
        "README.md",
        "SOURCE.txt",
        "LICENSE",
        "readme.txt",
        ".hidden/c.txt",
        "x.png",
    ):
        write(home / name, f"text of {name}")
    source = resolve(str(home), cache=cache)
    assert [d.id for d in source.documents()] == ["a/z.md", "b.txt"]
    assert source.licence == "see LICENSE"


def test_a_folder_digest_is_that_of_sha256sum_over_its_files(tmp_path, cache):
    home = tmp_path / "corpus"
    write(home / "b.txt", "two")
    write(home / "a.txt", "one")
    listing = "".join(
        f"{hashlib.sha256(t).hexdigest()}  {n}\n" for n, t in (("a.txt", b"one"), ("b.txt", b"two"))
    )
    source = resolve(str(home), cache=cache)
    assert source.digest == hashlib.sha256(listing.encode()).hexdigest()
    write(home / "README.md", "new words about the same data")
    assert resolve(str(home), cache=cache).digest == source.digest
    write(home / "b.txt", "too")
    assert resolve(str(home), cache=cache).digest != source.digest


def test_a_large_file_is_digested_again_only_when_it_changed(tmp_path, cache):
    path = write(tmp_path / "large.txt", b"abc\n" * (LARGE // 4))
    first = resolve(str(path), cache=cache).digest
    assert first == hashlib.sha256(path.read_bytes()).hexdigest()
    assert len(list((cache / "digests").iterdir())) == 1
    assert resolve(str(path), cache=cache).digest == first
    write(path, b"abd\n" * (LARGE // 4))
    os.utime(path, ns=(1, 1))
    assert resolve(str(path), cache=cache).digest == hashlib.sha256(path.read_bytes()).hexdigest() != first


def test_columns_can_be_called_what_is_asked_for(tmp_path, cache):
    path = write(tmp_path / "pairs.tsv", "premise\tgold label\nA man\t1\n")
    bare = resolve(str(path), cache=cache, columns=())
    source = resolve(f"{path}?text:premise+score:gold label", cache=cache, columns=("text", "score"))
    assert [(r["text"], r["score"]) for r in source.rows()] == [("A man", "1")]
    assert source.digest != bare.digest
    taken = write(tmp_path / "taken.tsv", "mine\ttext\nA man\tx\n")
    assert [d.text for d in resolve(f"{taken}?text:mine", cache=cache).documents()] == ["A man"]


# What is refused


def test_a_missing_file_is_answered_with_the_nearest_name(tmp_path, cache):
    write(tmp_path / "valid.txt", "x")
    assert "did you mean 'valid.txt'?" in refusal(tmp_path / "vaild.txt", cache)
    assert "nor does its folder" in refusal(tmp_path / "nowhere" / "x.txt", cache)


@pytest.mark.parametrize("content", ["", " \n\n\t"])
def test_an_empty_file_is_refused(tmp_path, cache, content):
    assert "is empty" in refusal(write(tmp_path / "e.txt", content), cache)


def test_a_table_without_rows_is_refused(tmp_path, cache):
    assert "has no rows" in refusal(write(tmp_path / "e.csv", "text,label\n"), cache)


def test_a_folder_without_readable_files_is_refused(tmp_path, cache):
    write(tmp_path / "pictures" / "a.png", "x")
    assert "holds no file that can be read" in refusal(tmp_path / "pictures", cache)


def test_a_binary_file_is_refused_by_the_place_of_its_zero(tmp_path, cache):
    assert "binary (byte 3 is zero)" in refusal(write(tmp_path / "b.txt", b"abc\0def"), cache)


def test_another_encoding_is_refused_with_the_byte_the_line_and_iconv(tmp_path, cache):
    said = refusal(write(tmp_path / "k.txt", b"one\ntwo\n" + "한국어".encode("cp949")), cache)
    assert "byte 8, line 3" in said
    assert "iconv -f ITS_ENCODING -t UTF-8 k.txt > k-utf8.txt" in said
    assert "iconv -f UTF-16" in refusal(write(tmp_path / "w.txt", "hello".encode("utf-16")), cache)


@pytest.mark.parametrize("before", [2**20 - 1, 2**20, 2**20 + 1])
def test_an_encoding_error_is_found_wherever_the_reading_is_cut(tmp_path, cache, before):
    bad = b"\n" + b"a" * (before - 2) + "é".encode()[:1] + b"zz"
    assert f"byte {before - 1}, line 2" in refusal(write(tmp_path / "c.txt", bad), cache)
    good = b"a" * (before - 1) + "한é".encode()
    assert (
        resolve(str(write(tmp_path / "g.txt", good)), cache=cache).digest == hashlib.sha256(good).hexdigest()
    )


def test_a_character_cut_off_at_the_end_of_the_file_is_refused(tmp_path, cache):
    assert "not UTF-8" in refusal(write(tmp_path / "c.txt", "abc한".encode()[:-1]), cache)


def test_a_line_that_is_not_json_is_named(tmp_path, cache):
    bad = write(tmp_path / "b.jsonl", '{"text": "a"}\n{"text": \n')
    with pytest.raises(UsageError, match=r"b\.jsonl line 2 is not JSON"):
        list(resolve(str(bad), cache=cache).rows())
    assert "line 1 is not a JSON object" in refusal(write(tmp_path / "l.jsonl", "[1]\n"), cache)
    assert "call it .jsonl" in refusal(write(tmp_path / "l.json", '{"text": 1}\n{"text": 2}\n'), cache)


def test_a_line_with_a_field_too_many_or_too_few_is_named(tmp_path, cache):
    bad = write(tmp_path / "b.tsv", "text\tlabel\na\t1\nb\n")
    with pytest.raises(UsageError, match=r"b\.tsv line 3 has 1 fields, its header 2"):
        list(resolve(str(bad), cache=cache).rows())


def test_a_missing_column_is_answered_with_the_columns_there_are_and_the_override(tmp_path, cache):
    path = write(tmp_path / "p.tsv", "sentence_1\tsentence_2\tgold\na\tb\t1\n")
    said = refusal(path, cache, columns=("sentence1", "score"))
    assert "p.tsv has no column sentence1, score, only sentence_1, sentence_2, gold" in said
    override = re.search("'(.*)'", said)[1]
    assert override == f"{path}?sentence1:sentence_1+score:ITS_NAME"
    fixed = resolve(override.replace("ITS_NAME", "gold"), cache=cache, columns=("sentence1", "score"))
    assert next(fixed.rows())["score"] == "1"
    assert "has no column 'glod' to call 'score'" in refusal(f"{path}?score:glod", cache, columns=("score",))
    assert "names no columns" in refusal(f"{path}?score", cache)


def test_a_text_file_cannot_stand_in_for_a_table(tmp_path, cache):
    assert "has no column sentence1" in refusal(write(tmp_path / "t.txt", "a"), cache, columns=("sentence1",))


def test_an_unknown_prefix_or_builtin_is_answered_with_the_nearest(cache):
    assert "did you mean 'builtin'?" in refusal("built:python", cache)
    assert "did you mean 'python'?" in refusal("builtin:pyhton", cache)


# The text that every Python has


@pytest.fixture(scope="module")
def python_text(tmp_path_factory, own_text):
    cache = tmp_path_factory.mktemp("python")
    assert not present("builtin:python", cache=cache)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.data.python_text.write", own_text)
        return cache, resolve("builtin:python", cache=cache)


def test_the_builtin_text_is_real_plain_and_without_duplicates(python_text):
    documents = list(python_text[1].documents())
    texts = [d.text for d in documents]
    assert 2.0e6 < sum(map(len, texts)) < 3.5e6
    assert len(set(texts)) == len(texts)
    assert len({d.id for d in documents}) == len(documents)
    assert all(c == "\n" or " " <= c <= "~" for text in texts for c in text)
    by_id = {d.id: d.text for d in documents}
    assert 'The "with" statement' in by_id["topics/with"]
    assert (
        "Wrap text to fit" in by_id["docstrings/textwrap.py"] or "wrapping" in by_id["docstrings/textwrap.py"]
    )
    assert not [name for name in by_id if "/test/" in name or "site-packages" in name]


def test_the_builtin_text_is_built_once_and_known_by_its_digest(python_text):
    cache, source = python_text
    assert present("builtin:python", cache=cache)
    before = source.path.stat().st_mtime_ns
    again = resolve("builtin:python", cache=cache)
    assert again == source
    assert again.path.stat().st_mtime_ns == before
    assert again.digest == hashlib.sha256(source.path.read_bytes()).hexdigest()
    assert (source.kind, source.licence) == ("builtin", "PSF-2.0")


# Packages


def wheel(folder, name="tiny_words", version="1.0", members=None):
    """Make a wheel that would leave a trace if any of its code ran."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{name}/__init__.py", "raise SystemExit('the package was run')")
        file.writestr(f"{name}/data/words.txt", "some words\n")
        file.writestr(f"{name}/model/model.safetensors", b"\0" * 8)
        file.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nLicense: MIT\n"
        )
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")
        for member, content in (members or {}).items():
            file.writestr(member, content)
    return path


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A package index that is a folder."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    return tmp_path / "index"


def test_a_path_inside_a_package_is_a_source_like_a_file(index, cache):
    made = wheel(index)
    name = "pypi:tiny-words==1.0#tiny_words/data/words.txt"
    assert not present(name, cache=cache)
    source = resolve(name, cache=cache)
    assert [d.text for d in source.documents()] == ["some words\n"]
    assert source.revision == f"1.0 sha256:{hashlib.sha256(made.read_bytes()).hexdigest()}"
    assert source.licence == "MIT"
    made.unlink()  # fetched once
    assert present(name, cache=cache)
    assert resolve(name, cache=cache) == source


def test_a_package_can_hold_a_model(index, cache):
    wheel(index)
    source = resolve_model("pypi:tiny-words==1.0#tiny_words/model", cache=cache)
    assert (source.path / "model.safetensors").exists()


def test_what_a_package_does_not_hold_is_answered_with_the_nearest(index, cache):
    wheel(index)
    assert "did you mean 'words.txt'?" in refusal("pypi:tiny-words==1.0#tiny_words/data/wrods.txt", cache)
    assert "leads outside" in refusal("pypi:tiny-words==1.0#../../x", cache)
    assert "not a pinned package" in refusal("pypi:tiny-words#x", cache)
    assert "not a pinned package" in refusal("pypi:-r/etc/passwd==1#x", cache)
    with pytest.raises(HarnessError, match=r"could not download tiny-words==2\.0"):
        resolve("pypi:tiny-words==2.0#x", cache=cache)
    assert not list(cache.glob("pypi/tiny-words-2.0*"))


def test_a_package_with_only_source_code_is_not_built(index, cache, tmp_path):
    import tarfile

    index.mkdir()
    trace = tmp_path / "ran"
    write(tmp_path / "sdist_only-1.0/setup.py", f"open({str(trace)!r}, 'w')")
    with tarfile.open(index / "sdist_only-1.0.tar.gz", "w:gz") as file:
        file.add(tmp_path / "sdist_only-1.0", "sdist_only-1.0")
    with pytest.raises(HarnessError, match="as a wheel"):
        resolve("pypi:sdist-only==1.0#x", cache=cache)
    assert not trace.exists()


@pytest.mark.parametrize(
    "member", ["../evil.txt", "/evil.txt", "a/../../evil.txt", "..\\evil.txt", "C:/evil.txt"]
)
def test_an_archive_that_leads_outside_is_refused_whole(tmp_path, member):
    path = wheel(tmp_path / "w", members={member: "x"})
    with pytest.raises(HarnessError, match="leads outside"):
        unpack(path, tmp_path / "w" / "out")
    assert not (tmp_path / "w" / "out").exists()


def test_an_archive_with_a_link_is_refused(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    path = wheel(tmp_path / "w", members={link: "/etc/passwd"})
    with pytest.raises(HarnessError, match="leads outside"):
        unpack(path, tmp_path / "w" / "out")


# The hub, from its local cache


OFFLINE_HUB = """
import json, os, sys
from pathlib import Path
home, cache, names = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
from harness.data.sources import present, resolve, resolve_model
from harness.errors import HarnessError
for name in names:
    try:
        if name.startswith("model "):
            s = resolve_model(name.split()[1], cache=cache)
            print(json.dumps([s.kind, s.name, s.licence, sorted(p.name for p in s.path.iterdir())]))
            continue
        here = present(name, cache=cache)
        s = resolve(name, cache=cache)
        print(json.dumps([here, s.name, s.licence, s.digest, [d.text for d in s.documents()]]))
    except HarnessError as error:
        print(json.dumps(str(error)))
"""


def test_the_hub_is_pinned_and_read_from_the_local_cache_when_offline(tmp_path, cache):
    import pyarrow as pa
    import pyarrow.parquet as pq

    commit = "c0ffee" + "0" * 34
    repository = tmp_path / "hf/hub/datasets--me--tiny"
    snapshot = repository / "snapshots" / commit
    write(repository / "refs/main", commit)
    write(snapshot / "README.md", "---\nlanguage: en\nlicense: cc-by-4.0\n---\nA data set.\n")
    for split, texts in (("train", ["a", "b"]), ("test", ["c"])):
        (snapshot / "data").mkdir(exist_ok=True)
        pq.write_table(pa.table({"text": texts}), snapshot / f"data/{split}-00000-of-00001.parquet")
    base, pickled = tmp_path / "hf/hub/models--me--base", tmp_path / "hf/hub/models--me--pickled"
    for home, weights in ((base, "model.safetensors"), (pickled, "pytorch_model.bin")):
        write(home / "refs/main", commit)
        write(home / "snapshots" / commit / "config.json", "{}")
        write(home / "snapshots" / commit / weights, b"\0")
    names = [
        "model me/base",
        "model me/pickled",
        "hub:me/tiny#train",
        f"hub:me/tiny@{commit}#train",
        "hub:me/tiny@main#train",
        f"hub:{snapshot}#test",
        "hub:me/tiny",
        "hub:me/tiny#trian",
        "hub:me/other#train",
        "hub:not a name",
    ]
    environ = {**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE_HUB, str(tmp_path), str(cache), *names],
        env=environ,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    model, refused, *data = map(json.loads, done.stdout.splitlines())
    assert model == ["hub", f"hub:me/base@{commit}", "", ["config.json", "model.safetensors"]]
    assert "only as pytorch_model.bin" in refused
    by_branch, by_commit, again, folder, whole, typo, absent, bad = data
    here, pinned, licence, digest, texts = by_branch
    assert (here, pinned, licence, texts) == (False, f"hub:me/tiny@{commit}#train", "cc-by-4.0", ["a", "b"])
    assert by_commit[1:] == by_branch[1:]
    assert again == [True, *by_branch[1:]]
    assert folder[4] == ["c"]
    assert folder[3] != digest
    assert "add #train or #test" in whole
    assert "trian" in typo
    assert "did not give hub:me/other" in absent
    assert "not a hub name" in bad


# Models


def test_a_model_that_is_neither_here_nor_on_the_hub_is_said_to_be_neither(cache, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        HarnessError, match=r"^models/nope is no folder here, and .* hub:models/nope \(\w+: [^)]+\): "
    ):
        resolve_model("models/nope", cache=cache)
    with pytest.raises(HarnessError, match=r"^the hub's local cache"):
        resolve_model("hub:models/nope", cache=cache)


def test_a_model_folder_is_known_by_all_its_files(tmp_path, cache):
    write(tmp_path / "m/config.json", "{}")
    write(tmp_path / "m/model.safetensors", b"\0\1\2")
    source = resolve_model(str(tmp_path / "m"), cache=cache)
    assert isinstance(source, Source)
    assert (source.kind, source.path) == ("file", tmp_path / "m")
    write(tmp_path / "m/model.safetensors", b"\0\1\3")
    assert resolve_model(f"file:{tmp_path / 'm'}", cache=cache).digest != source.digest


def test_a_gguf_file_is_a_model(tmp_path, cache):
    path = write(tmp_path / "m.gguf", b"GGUF\0")
    assert resolve_model(str(path), cache=cache).path == path


def test_weights_that_can_run_code_are_refused_unless_allowed(tmp_path, cache):
    home = tmp_path / "m"
    write(home / "config.json", "{}")
    with pytest.raises(UsageError, match="has no safetensors or GGUF weights"):
        resolve_model(str(home), cache=cache)
    write(home / "pytorch_model.bin", b"\0")
    with pytest.raises(UsageError, match=r"only as pytorch_model\.bin.*allow_pickle=true"):
        resolve_model(str(home), cache=cache)
    assert resolve_model(str(home), cache=cache, allow_pickle=True).path == home


DECOYS = {
    "another name": {"decoy.safetensors": ""},
    "another folder": {"sub/model.safetensors": ""},
    "a gguf": {"decoy.gguf": ""},
    "an index of pickles": {
        "model.safetensors.index.json": '{"weight_map": {"a": "pytorch_model.bin"}}',
        "model.safetensors": "",
    },
    "a config that names one": {
        "config.json": '{"transformers_weights": "adapter_model.bin"}',
        "adapter_model.bin": "",
        "adapter_model.safetensors": "",
        "model.safetensors": "",
    },
    "an adapter's": {"adapter_model.bin": "", "model.safetensors": ""},
    "a module's": {
        "modules.json": '[{"path": ""}, {"path": "2_Dense"}]',
        "2_Dense/pytorch_model.bin": "",
        "model.safetensors": "",
    },
    "in parts": {
        "pytorch_model.bin.index.json": "{}",
        "pytorch_model-00001-of-2.bin": "",
        "decoy.safetensors": "",
    },
}


@pytest.mark.parametrize("decoy", DECOYS)
def test_a_decoy_beside_a_pickle_does_not_open_it(tmp_path, cache, decoy):
    for name, content in {"config.json": "{}", "pytorch_model.bin": "\0", **DECOYS[decoy]}.items():
        write(tmp_path / "m" / name, content)
    with pytest.raises(UsageError, match=r"would be read from \S+, which can run code.*allow_pickle=true"):
        resolve_model(str(tmp_path / "m"), cache=cache)
    assert resolve_model(str(tmp_path / "m"), cache=cache, allow_pickle=True).path == tmp_path / "m"


def test_pickles_that_nobody_opens_may_lie_beside_safetensors(tmp_path, cache):
    for name in (
        *("model.safetensors", "pytorch_model.bin", "optimizer.pt", "training_args.bin", "config.json"),
        *("original/consolidated.00.pth", "adapter_model.safetensors", "adapter_model.bin"),
    ):
        write(tmp_path / "m" / name, "{}")
    assert resolve_model(str(tmp_path / "m"), cache=cache).path == tmp_path / "m"


def test_a_model_that_is_not_there_is_answered_by_its_folder(tmp_path, cache):
    write(tmp_path / "base/model.safetensors", b"\0")
    with pytest.raises(UsageError, match="did you mean 'base'"):
        resolve_model(str(tmp_path / "bsae"), cache=cache)
    with pytest.raises(UsageError, match="is no model"):
        resolve_model("builtin:python", cache=cache)


# Real data


@pytest.mark.parametrize(
    ("name", "columns", "count"),
    [
        ("korsts/sts-dev.tsv", ("sentence1", "sentence2", "score"), 1500),
        ("kornli-small/xnli.test.ko.tsv", ("sentence1", "gold_label"), 5010),
        ("gsm8k/test.jsonl", ("question", "answer"), 1319),
        ("klue-nli-dev/klue-nli-v1.1_dev.json", ("premise", "hypothesis"), 3000),
    ],
)
def test_real_tables_are_read_whole(data_home, cache, name, columns, count):
    source = resolve(str(data_home / name), cache=cache, columns=columns)
    assert sum(1 for _ in source.rows()) == count
    assert source.licence == "see SOURCE.txt"
