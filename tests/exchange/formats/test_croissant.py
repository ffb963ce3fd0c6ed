"""Croissant: MLCommons' own library finds no error in it and reads the rows that the runs read."""

import json
from dataclasses import dataclass, replace

import pytest

from harness.errors import HarnessError
from harness.exchange.formats import croissant
from harness.exchange.formats.croissant import exported
from harness.papers.statement import source
from harness.runs.files import write_text
from tests.records import PAPER, write_run


@dataclass
class Data:
    """Two sources: a text and a table."""

    corpus: str = source("builtin:python", "training text")
    pairs: str = source("", "pairs to judge", columns=("one", "other"))


PAIRED = replace(PAPER, data=Data)


def ran(folder, **named):
    """Return a run that read these sources as they are now."""
    from harness.data.sources import resolve

    read = {}
    for field, name in named.items():
        found = resolve(str(name), cache=folder / "stages" / "sources", columns=())
        read[field] = {"name": str(name), "digest": found.digest, "revision": found.revision}
    return write_run(folder, "toy", 0, {"accuracy": 0.5}, read=read)


def described(folder, record):
    (text,) = exported("toy", PAIRED, [record], folder / "stages" / "sources").values()
    return json.loads(text)


@pytest.fixture
def files(tmp_path):
    (tmp_path / "a.txt").write_text("one text\n", "utf-8")
    (tmp_path / "pairs.csv").write_text("one,other\nx,y\nz,ü\n", "utf-8")
    (tmp_path / "many").mkdir()
    for name in "bc":
        (tmp_path / "many" / f"{name}.txt").write_text(f"text {name}\n", "utf-8")
    return tmp_path


def test_mlcroissant_finds_no_error_and_reads_the_same_rows(files):
    mlc = pytest.importorskip("mlcroissant", reason="mlcroissant is not installed")
    record = ran(files, corpus=files / "a.txt", pairs=files / "pairs.csv")
    found = exported("toy", PAIRED, [record], files / "stages" / "sources")
    (place,) = found
    write_text(files / place, found[place])
    dataset = mlc.Dataset(jsonld=files / place)
    assert not dataset.metadata.ctx.issues.errors
    assert dataset.metadata.ctx.is_v1_1()
    rows = [
        {key.rpartition("/")[2]: value.decode() for key, value in row.items()}
        for row in dataset.records("pairs-records")
    ]
    assert rows == [{"one": "x", "other": "y"}, {"one": "z", "other": "ü"}]
    (text,) = dataset.records("corpus-records")
    assert [value.decode() for value in text.values()] == ["one text\n"]


def test_mlcroissant_would_find_an_error(files):
    mlc = pytest.importorskip("mlcroissant", reason="mlcroissant is not installed")
    told = described(files, ran(files, corpus=files / "a.txt"))
    del told["distribution"][0]["sha256"]
    write_text(files / "broken.json", json.dumps(told))
    with pytest.raises(mlc.ValidationError, match="sha256"):
        mlc.Dataset(jsonld=files / "broken.json")


def test_each_file_has_its_own_digest(files):
    from hashlib import sha256

    told = described(files, ran(files, corpus=files / "many"))
    assert {one["contentUrl"]: one["sha256"] for one in told["distribution"]} == {
        f"{name}.txt": sha256(f"text {name}\n".encode()).hexdigest() for name in "bc"
    }
    assert told["conformsTo"] == croissant.CONFORMS


def test_data_that_changed_or_are_gone_are_refused(files):
    record = ran(files, corpus=files / "a.txt")
    (files / "a.txt").write_text("another text\n", "utf-8")
    with pytest.raises(HarnessError, match=r"corpus: .* is not what the runs read"):
        described(files, record)
    (files / "a.txt").unlink()
    with pytest.raises(HarnessError, match="corpus: what the runs read is no longer there"):
        described(files, record)


def test_data_of_the_hub_are_named_by_their_revision(files):
    mlc = pytest.importorskip("mlcroissant", reason="mlcroissant is not installed")
    read = {"corpus": {"name": "hub:some/set@abc#test", "digest": "0" * 64, "revision": "abc"}}
    record = write_run(files, "toy", 0, {"accuracy": 0.5}, read=read)
    told = described(files, record)
    assert told["distribution"][0]["contentUrl"] == "https://huggingface.co/datasets/some/set/tree/abc"
    write_text(files / "hub.json", json.dumps(told))
    assert not mlc.Dataset(jsonld=files / "hub.json").metadata.ctx.issues.errors


def test_runs_on_the_same_data_are_described_once(files):
    one = ran(files, corpus=files / "a.txt")
    other = ran(files / "again", corpus=files / "a.txt")
    third = ran(files / "third", corpus=files / "pairs.csv")
    assert len(exported("toy", PAIRED, [one, other, third], files / "stages" / "sources")) == 2
