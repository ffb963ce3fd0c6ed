"""Training text and held-out text share nothing, and stay put from run to run."""

import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data.documents import FEW, part_of, split
from harness.data.sources import Document

names = st.lists(st.text(max_size=12), unique=True, min_size=FEW, max_size=80)
texts = st.lists(st.text(min_size=0, max_size=200), min_size=1, max_size=FEW - 1)


def held_out(name):
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % 10 == 0


@given(names)
def test_many_documents_are_held_out_by_their_names_alone(ids):
    documents = [Document(name, "x") for name in ids]
    parts = split(documents)
    if not all(sum(part_of(i) == part for i in ids) for part in ("train", "validation", "test")):
        return  # too few to fill all three: by position, below
    assert {d.id for d in parts.validation + parts.test} == {i for i in ids if held_out(i)}
    assert sorted(d.id for d in parts.train + parts.validation + parts.test) == sorted(ids)
    assert not {d.id for d in parts.validation} & {d.id for d in parts.test}
    more = split([*documents, Document("one more document", "y")])
    assert [d for d in more.test if d.id != "one more document"] == parts.test


@given(texts)
@settings(max_examples=200)
def test_of_few_documents_the_last_tenth_of_the_text_is_held_out(contents):
    documents = [Document(str(i), text) for i, text in enumerate(contents)]
    parts = split(documents)
    whole = "".join(contents)
    train, validation, test = (
        "".join(d.text for d in p) for p in (parts.train, parts.validation, parts.test)
    )
    assert train + validation + test == whole
    assert len(train) == len(whole) * 90 // 100
    assert len(train) + len(validation) == len(whole) * 95 // 100


def test_one_book_is_cut_at_ninety_and_ninety_five_per_cent():
    parts = split([Document("book", "a" * 90 + "b" * 5 + "c" * 5)])
    assert (parts.train, parts.validation, parts.test) == (
        [Document("book", "a" * 90)],
        [Document("book", "b" * 5)],
        [Document("book", "c" * 5)],
    )


def test_a_dozen_documents_that_leave_a_part_empty_are_cut_by_position():
    ids = [name for name in map(str, range(100)) if part_of(name) == "train"][:12]
    parts = split([Document(name, "x" * 100) for name in ids])
    assert sum(len(d.text) for d in parts.test) == 60
    assert sum(len(d.text) for d in parts.validation) == 60


def test_about_a_tenth_is_held_out_half_of_it_for_validation():
    found = [part_of(str(i)) for i in range(10_000)]
    assert 400 < found.count("test") < 600
    assert 400 < found.count("validation") < 600
