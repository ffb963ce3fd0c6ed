"""What a command reads is never what it writes: the file stays, and one sentence says so before work starts."""

import json

import pytest

from harness.errors import UsageError
from harness.tools import outside

COMMANDS = {
    "questions.json": "magpie answer questions.json --model tiny --out questions.json",
    "words.txt": "simcse sentences words.txt --to ./words.txt",
    "nli.csv": "simcse triplets nli.csv?gold_label:gold --to nli.csv",
    "table.csv": "rdass score table.csv --out table.csv",
    "lines.txt": "longskywork interleave --documents lines.txt --out lines.txt",
}
TEXTS = {
    "questions.json": json.dumps([{"instruction": "hi there"}]),
    "words.txt": "one sentence here.\nanother one here now.\n",
    "nli.csv": "sentence1,sentence2,gold\na,b,entailment\na,c,contradiction\n",
    "table.csv": "document,reference,summary\nabc def,abc,abc\n",
    "lines.txt": "many words " * 200,
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_does_not_write_over_what_it_reads(harness, name):
    (harness.folder / name).write_text(TEXTS[name], encoding="utf-8")
    done = harness(*COMMANDS[name].split(), code=2)
    assert "lies in what is read" in done.stderr
    assert (harness.folder / name).read_text(encoding="utf-8") == TEXTS[name]


def test_a_place_within_a_folder_that_is_read_is_refused_and_one_beside_it_is_not(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    for place in ("mine", "mine/new.txt", "mine/deep/new.txt", "link/new.txt"):
        with pytest.raises(UsageError, match="lies in what is read"):
            outside(tmp_path / place, str(tmp_path / "mine"))
    for place in ("new.txt", "mine.txt"):
        outside(tmp_path / place, tmp_path / "mine", str(tmp_path / "elsewhere?text:body"))
