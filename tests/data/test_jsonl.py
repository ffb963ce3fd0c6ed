"""Lines of JSON come back as they were, and a file is whole or not there."""

import pytest

from harness.data.files import rows
from harness.data.jsonl import read_jsonl, write_jsonl


def test_rows_come_back_as_they_were_and_as_every_other_reader_sees_them(tmp_path):
    wanted = [{"text": "a\nb", "n": 1}, {"text": "\u2028 é 한국", "list": [1.5, None]}]
    assert write_jsonl(tmp_path / "a.jsonl", iter(wanted)) == 2
    assert read_jsonl(tmp_path / "a.jsonl") == wanted == list(rows(tmp_path / "a.jsonl"))


def test_a_file_that_could_not_be_finished_is_not_there(tmp_path):
    def failing():
        yield {"n": 1}
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        write_jsonl(tmp_path / "a.jsonl", failing())
    assert list(tmp_path.iterdir()) == []
