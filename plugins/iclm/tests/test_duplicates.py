"""Near duplicates: none is left out but for a kept one that shares its shingles; held against counting all pairs."""

import json
import os
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from harness_iclm import deduplicate, shingles
from harness_iclm.documents import read
from harness_iclm.duplicates import by_cosine, by_shingles, warning
from harness_iclm.ordering import Recipe, order_corpus
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from harness.data.sources import resolve
from harness.errors import UsageError


def plain(text: str) -> set:
    """Return a text's shingles, in plain Python and unhashed."""
    words = re.findall(r"\w+", unicodedata.normalize("NFKC", text).lower())
    three = {tuple(words[i : i + 3]) for i in range(len(words) - 2)}
    if len(three) >= 8 and not shingles.unspaced(words):
        return three
    joined = " ".join(words or unicodedata.normalize("NFKC", text).lower().split())
    return {joined[i : i + 3] for i in range(max(1, len(joined) - 2))} - {""}


def all_pairs(sets: list[set]) -> csr_array:
    """Return the exact Jaccard of all pairs that share a shingle, a sparse table."""
    numbers: dict = {}
    rows = [[numbers.setdefault(shingle, len(numbers)) for shingle in one] for one in sets]
    bounds = np.append(0, np.cumsum([len(row) for row in rows]))
    has = csr_array(
        (np.ones(bounds[-1]), np.concatenate([*rows, []]).astype(int), bounds), (len(sets), len(numbers))
    )
    both = (has @ has.T).tocoo()
    sizes = np.diff(bounds)
    return csr_array(
        (both.data / (sizes[both.row] + sizes[both.col] - both.data), (both.row, both.col)), both.shape
    )


def made(documents: int = 5000, seed: int = 0) -> list[str]:
    """Return texts of few subjects; a fifth are earlier ones with some words changed, some in chains."""
    random = np.random.default_rng(seed)
    texts: list[str] = []
    for number in range(documents):
        if number > 50 and random.random() < 0.2:
            words = texts[random.integers(max(0, number - 200), number)].split()
            for place in random.integers(len(words), size=random.integers(0, 6)):
                words[place] = f"new{random.integers(1000)}"
        else:
            subject = number % 40
            words = [f"s{subject}w{random.integers(30)}" for _ in range(random.integers(3, 90))]
        texts.append(" ".join(words))
    return texts


def real(cache: Path) -> list[str]:
    home = Path(os.environ.get("HARNESS_DATA") or "/nowhere") / "ag-news-test"
    if not home.is_dir():
        pytest.skip("HARNESS_DATA names no folder: real data sets are not here")
    return [document.text for document in read(resolve(str(home), cache=cache, columns=()))][:5000]


@pytest.mark.parametrize("corpus", ["made", "real"])
def test_what_is_left_out_is_exactly_what_all_pairs_in_file_order_leave_out(corpus, tmp_path):
    texts = made() if corpus == "made" else real(tmp_path)
    found = by_shingles(texts, 0.8, tmp_path / "shingles")
    share = all_pairs([plain(text) for text in texts])
    kept = np.zeros(len(texts), bool)
    wanted = []
    for number in range(len(texts)):
        near, alike = (
            x[share.indptr[number] : share.indptr[number + 1]] for x in (share.indices, share.data)
        )
        before = (near < number) & kept[near]
        near, alike = near[before], alike[before]
        if len(near) and alike.max() >= 0.8:
            wanted.append((number, near[alike == alike.max()].min(), alike.max()))
        else:
            kept[number] = True
    assert found.kept.tolist() == np.flatnonzero(kept).tolist()
    assert list(zip(found.dropped, found.of, found.similarity, strict=True)) == wanted
    assert len(wanted) > (300 if corpus == "made" else 5)
    assert set(found.of) <= set(found.kept)
    among = share[found.kept][:, found.kept].tolil()
    among.setdiag(0)
    assert among.tocsr().max() < 0.8  # so none at .95 is there twice


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.text(alphabet="ab cé한글日本 !", max_size=30), max_size=12), st.sampled_from([0.5, 0.8, 0.95])
)
def test_any_texts_are_judged_as_plain_sets_are(texts, threshold):
    import tempfile

    sets = [plain(text) for text in texts]
    assert [len(shingles.shingles(text)) for text in texts] == [len(one) for one in sets]
    with tempfile.TemporaryDirectory() as folder:
        found = by_shingles(texts, threshold, Path(folder) / "shingles")
    kept: list[int] = []
    for number, one in enumerate(sets):
        if not any(one and len(one & sets[k]) / len(one | sets[k]) >= threshold for k in kept):
            kept.append(number)
    assert found.kept.tolist() == kept


def test_a_chain_of_likeness_takes_nothing_along():
    # 0 is like 1, 1 like 2, 2 like 3; 0 and 2 are not alike.
    angles = np.radians([0, 15, 30, 45])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    found = by_cosine(vectors, 0.95)
    assert (found.kept.tolist(), found.dropped.tolist(), found.of.tolist()) == ([0, 2], [1, 3], [0, 2])
    assert found.similarity == pytest.approx(np.cos(np.radians([15, 15])))


@pytest.mark.parametrize("index", ["auto", "IVF8,Flat"])
def test_cosines_leave_out_what_all_pairs_in_file_order_leave_out(index):
    random = np.random.default_rng(0)
    centres = random.normal(size=(300, 12))
    vectors = centres[random.integers(300, size=2600)] + 0.15 * random.normal(size=(2600, 12))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = unit @ unit.T
    kept: list[int] = []
    for number in range(2600):
        if not kept or cosines[number, kept].max() <= 0.95:
            kept.append(number)
    found = by_cosine(vectors, 0.95, index, probes=8)
    assert found.kept.tolist() == kept
    assert found.similarity == pytest.approx(cosines[found.dropped, found.of], abs=1e-5)
    assert found.similarity == pytest.approx(
        [max(cosines[d, k] for k in kept if k < d) for d in found.dropped], abs=1e-5
    )


def test_threshold_one_leaves_nothing_out_and_other_numbers_are_refused(tmp_path):
    assert deduplicate(np.ones((9, 4)), 1.0).tolist() == list(range(9))
    assert by_shingles(["the same"] * 9, 1.0, tmp_path / "s").kept.tolist() == list(range(9))
    for threshold in (-0.1, 1.1):
        with pytest.raises(UsageError, match=r"is no likeness of near duplicates"):
            by_shingles(["a"], threshold, tmp_path / "s")


PAIRS = {
    "case and punctuation": ("A house, in the woods!", "a house in the woods", True),
    "korean, another particle": (
        "시속 400킬로미터로 달리는 기차가 오늘 아침 서울에서 부산까지 처음으로 달렸다",
        "시속 400킬로미터로 달리는 기차가 오늘 아침 서울에서 부산까지 처음 달렸다",
        True,
    ),
    "korean, another sentence": (
        "시속 400킬로미터로 달리는 기차가 오늘 아침 처음으로 달렸다",
        "시속 100킬로미터로 부는 바람이 오늘 저녁 서울에서 잦아들었다",
        False,
    ),
    "japanese": ("日本の首都は東京で人口は一千四百万人である", "日本の首都は東京で人口は一千三百万人である", False),
    "japanese, one mark": ("日本の首都は東京である。人口は多い。", "日本の首都は東京である 人口は多い", True),
    "decomposed": (unicodedata.normalize("NFD", "한국어 문장"), "한국어 문장", True),
    "only marks": ("!!! ???", "!!! ???", True),
    "other marks": ("!!!", "???", False),
    "numbers differ": ("the bank bought 150 mln stg of bills at 9 7/8 pct",
                       "the bank sold 731 mln stg of bonds at 8 1/4 pct", False),
}  # fmt: skip


@pytest.mark.parametrize("pair", PAIRS)
def test_what_is_a_copy_in_any_script(pair, tmp_path):
    first, second, alike = PAIRS[pair]
    assert (len(by_shingles([first, second], 0.8, tmp_path / "s").dropped) == 1) == alike


def test_what_was_left_out_is_written_down_with_what_for_and_many_are_told(tmp_path):
    texts = made(300, seed=1)
    texts += [f"{text} more" for text in texts[:25] if len(text.split()) > 40]
    (tmp_path / "corpus.jsonl").write_text(
        "".join(json.dumps({"id": f"d{i}", "text": text}) + "\n" for i, text in enumerate(["", *texts]))
    )
    source = resolve(str(tmp_path / "corpus.jsonl"), cache=tmp_path, columns=())
    report = order_corpus(source, Recipe(window=300), tmp_path / "out", tmp_path / "stages", lambda *_: None)
    rows = pq.read_table(tmp_path / "out" / "duplicates.parquet").to_pylist()
    ordered = set(pq.read_table(tmp_path / "out" / "order.parquet")["document"].to_pylist())
    assert len(rows) == report["duplicates"] > 0
    for row in rows:
        assert row["kept"] in ordered
        assert row["document"] not in ordered
        assert (row["id"], row["kept_id"]) == (f"d{row['document']}", f"d{row['kept']}")
        one, other = plain(texts[row["document"] - 1]), plain(texts[row["kept"] - 1])
        assert row["similarity"] == len(one & other) / len(one | other) >= 0.8
    assert f"{report['duplicates']} of {len(texts)} documents" in report["warning"]
    assert "--threshold 1 leaves none out" in report["warning"]
    assert warning(5, 100, "--threshold") == ""


def test_a_fresh_process_does_not_compile_again(tmp_path):
    script = (
        "import numpy as np; from harness_iclm import path; path(np.zeros((3, 1), int), np.zeros((3, 1)))"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "NUMBA_DEBUG_CACHE": "1"}
    told = [
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True
        ).stdout
        for _ in range(2)
    ]
    assert "data saved" in told[0]
    assert "data saved" not in told[1]
    assert "data loaded" in told[1]


def test_where_nothing_can_be_kept_the_walk_works_all_the_same(monkeypatch):
    import numba
    from harness_iclm.compiled import compiled

    njit = numba.njit

    def nowhere(*given, **options):
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return njit(*given, **options)

    monkeypatch.setattr(numba, "njit", nowhere)
    assert compiled(lambda x: x + 1)(2) == 3
