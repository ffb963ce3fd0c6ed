"""Tags over shards: the same numbers as in one piece, shared by processes, gone on with after a kill."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import filelock
import numpy as np
import pytest
from harness_magpie.neighbours import REPEAT, between, hashed, mark
from harness_magpie.synthesis import alone
from harness_magpie.tagging import Shards, Tools, score, tag
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness.errors import HarnessError, UsageError

WORDS = (
    "write",
    "a",
    "poem",
    "about",
    "the",
    "sea",
    "why",
    "is",
    "rain",
    "wet",
    "name",
    "three",
    "birds",
    "바다",
    "새",
)
GRID = (-1.0, -0.3, 0.0, 0.1, 0.6, 1.0, 30.0)
TEXTS = st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=5).map(" ".join), max_size=24)


def dense(texts: list[str]) -> np.ndarray:
    """Return the texts' unit TF-IDF vectors by scikit-learn alone, (n, 4096)."""
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

    hashing = HashingVectorizer(n_features=4096, ngram_range=(1, 2), norm=None, alternate_sign=False)
    return TfidfTransformer().fit_transform(hashing.transform(texts)).toarray().astype(np.float32)


def rows_of(texts: list[str]) -> list[dict]:
    return [{"id": f"r{i}", "instruction": text, "answer": text[::-1]} for i, text in enumerate(texts)]


@given(TEXTS, st.integers(1, 25))
@settings(max_examples=60, deadline=None)
def test_shards_of_any_size_find_the_neighbours_of_the_whole(tmp_path_factory, texts, shard):
    whole, parts = rows_of(texts), rows_of(texts)
    mark(whole, dense)
    tag(Shards(parts, tmp_path_factory.mktemp("shards"), shard=shard), Tools(), 8)
    for name in ("repeats", "first"):
        assert [row[name] for row in parts] == [row[name] for row in whole]
    assert [row["distance"] for row in parts] == pytest.approx([row["distance"] for row in whole], abs=1e-6)


@given(
    hnp.arrays(
        np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.sampled_from(GRID)
    )
)
@settings(max_examples=100, deadline=None)
def test_rows_of_any_length_are_near_as_their_differences_say(rows):
    from scipy.sparse import csr_array

    for given_as in (rows, csr_array(rows)):
        distance, repeats, first = between(given_as, given_as, same=True)
        for i, row in enumerate(rows):
            far = [float(((row - other) ** 2).sum()) if i != j else np.inf for j, other in enumerate(rows)]
            near = [j for j, one in enumerate(far) if one < REPEAT]
            assert distance[i] == pytest.approx(min(far), abs=1e-6, rel=1e-6)
            assert (repeats[i], first[i]) == (len(near), min(near, default=len(rows)))


def test_a_part_s_vectors_are_those_of_the_whole():
    texts = [" ".join(WORDS[i : i + 4]) for i in range(12)]
    of = hashed(texts)
    assert np.array_equal(np.vstack([of(texts[:5]).toarray(), of(texts[5:]).toarray()]), dense(texts))
    assert not np.array_equal(
        dense(texts[:5]), of(texts[:5]).toarray()
    )  # how rare a word is, a part cannot know


def test_an_encoder_reads_each_text_once_and_what_is_there_is_not_made_again(tmp_path):
    texts = [" ".join(WORDS[i : i + 3]) for i in range(13)]
    asked: list[str] = []

    def note(found):
        def tool(texts):
            asked.extend(texts)
            return found(texts)

        return tool

    def labels(prompts, attempt):
        asked.extend(prompts)
        said = {"category": "Math", "difficulty": "easy", "quality": "good"}
        return [json.dumps(said)] * len(prompts)

    tools = Tools(
        vectors=note(lambda part: hashed(texts)(part).toarray()),
        languages=note(lambda texts: ["en"] * len(texts)),
        judge=labels,
        reward=lambda questions, answers: [float(len(one)) for one in answers],
    )
    whole, parts = rows_of(texts), rows_of(texts)
    mark(whole, dense)
    told: list[tuple[str, int, int]] = []
    for again in (False, True):
        shards = Shards(parts, tmp_path, lambda *said: told.append(said), shard=4)
        tag(shards, tools, 2)
        score(shards, tools, 2)
        assert len(asked) == 13 * (1 + 1 + 3), f"asked again: {again}"
    assert [row["distance"] for row in parts] == pytest.approx([row["distance"] for row in whole], abs=1e-6)
    assert {row["language"] for row in parts} == {"en"}
    assert {row["quality"] for row in parts} == {"good"}
    assert [row["reward"] for row in parts] == [len(text) for text in texts]
    for step, total in (("languages", 13), ("embeddings", 13), ("neighbours", 16), ("labels", 13)):
        heard = [done for name, done, of in told if name == step and of == total]
        assert heard[: len(heard) // 2] == sorted(heard[: len(heard) // 2])
        assert heard[-1] == total


def test_one_thing_said_again_and_again_is_looked_at_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("harness_magpie.neighbours.LOOKED_AT", 7)
    rows = rows_of(["name three birds", *["write a poem"] * 30, "why is rain wet"])
    tag(Shards(rows, tmp_path, shard=11), Tools(), 8)
    assert [row["repeats"] for row in rows] == [0, *[29] * 30, 0]
    assert [row["first"] for row in rows] == ["r0", *["r1"] * 30, "r31"]
    assert [row["distance"] for row in rows[1:31]] == [0] * 30


def test_a_vector_that_is_no_number_is_refused(tmp_path):
    with pytest.raises(HarnessError, match="not a number: the encoder failed"):
        tag(
            Shards(rows_of(["a", "b"]), tmp_path),
            Tools(vectors=lambda texts: np.full((len(texts), 3), np.nan)),
            8,
        )


def test_a_judge_that_dies_has_lost_one_batch(tmp_path):
    asked = []

    def dying(prompts, attempt):
        asked.extend(prompts)
        if len(asked) > 6 * 3:
            raise KeyboardInterrupt
        return [json.dumps({"category": "Math", "difficulty": "easy", "quality": "good"})] * len(prompts)

    texts = [" ".join(WORDS[i : i + 3]) for i in range(12)]
    with pytest.raises(KeyboardInterrupt):
        tag(Shards(rows_of(texts), tmp_path, shard=5), Tools(judge=dying), 2)
    assert len((tmp_path / "labels-0.jsonl").read_text().splitlines()) == 5
    asked.clear()

    def willing(prompts, attempt):
        asked.extend(prompts)
        return [json.dumps({"category": "Math", "difficulty": "easy", "quality": "good"})] * len(prompts)

    tag(Shards(rows_of(texts), tmp_path, shard=5), Tools(judge=willing), 2)
    assert len(asked) == (12 - 5) * 3


def test_a_shard_without_a_row_is_refused(tmp_path):
    with pytest.raises(UsageError, match="--shard 0 holds no row"):
        Shards(rows_of(["a"]), tmp_path, shard=0)


def test_one_process_writes_and_another_says_that_it_waits(tmp_path):
    told = []
    held = filelock.FileLock(tmp_path / ".writing.lock")
    held.acquire()

    def tell(step, done, total):
        told.append((step, done))
        held.release()

    with alone(tmp_path, tell):
        assert told[0] == ("another process writes this set", 0)
        with pytest.raises(filelock.Timeout):
            filelock.FileLock(tmp_path / ".writing.lock").acquire(timeout=0)


@pytest.mark.fault
def test_processes_of_one_command_share_a_set_and_one_may_be_killed(tmp_path):
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    words = [
        sys.executable, "-m", "harness", "magpie", "synthesize", "--model", "tiny", "--precision", "float32",
        "--device", "cpu", "--batch-size", "8", "--max-instruction-tokens", "24", "--max-answer-tokens", "6",
        "--count", "240", "--filter", "none",
    ]  # fmt: skip

    def start(*more: str) -> subprocess.Popen:
        return subprocess.Popen([*words, *more], cwd=tmp_path, env=environ, stdout=subprocess.DEVNULL)

    def shared() -> list[Path]:
        return list((tmp_path / "set" / "stages").glob("neighbours-*[0-9a-f]"))

    one, two = (start("--out", "set", "--shard", "20") for _ in range(2))
    deadline = time.time() + 120
    while time.time() < deadline and len(shared()) < 3:
        time.sleep(0.01)
    one.send_signal(signal.SIGKILL)
    one.wait()
    assert two.wait(120) == 0
    assert len(shared()) > 20
    assert start("--out", "whole").wait(120) == 0
    first, second = ((tmp_path / name / "train.jsonl").read_text() for name in ("set", "whole"))
    assert first == second
    assert first
