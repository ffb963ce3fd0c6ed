"""Vectors from a server: those that it sends, in the order of the texts, and kept until all are there."""

import numpy as np
import pytest

from benchmarks.serving import Loopback, garbage, half, reset, says
from harness.engines import Embeddings
from harness.engines.wire import ServerError
from harness.errors import UsageError
from tests.engines.test_completions import soon  # noqa: F401

TEXTS = ["a b", "c", "한국어", "a b", "dd"]


def vector(text: str) -> list[float]:
    return [float(len(text)), float(sum(map(ord, text))), 0.1]


def encoded(texts):
    return np.array([vector(text) for text in texts], dtype=np.float32)


def test_vectors_come_in_the_order_of_the_texts_whatever_order_the_server_has():
    heard = []
    with Loopback(vectors=vector) as server:
        found = Embeddings(server.address).encode(
            TEXTS, batch_size=2, progress=lambda *done: heard.append(done)
        )
        assert sum(len(body["input"]) for body in server.asked) == 1 + 4  # the one that it is met with
    assert np.array_equal(found, encoded(TEXTS))
    assert found.dtype == np.float32
    assert heard == [(2, 4), (4, 4)]


def test_a_prompt_stands_before_every_text():
    with Loopback(vectors=vector) as server:
        found = Embeddings(f"{server.address}#tiny", prompt="query: ").encode(TEXTS)
    assert np.array_equal(found, encoded([f"query: {text}" for text in TEXTS]))


BAD = {
    "no vectors": {"data": []},
    "one too few": {"data": [{"index": 0, "embedding": [1.0, 2.0, 3.0]}]},
    "another width": {"data": [{"embedding": [1.0]}] * 4},
}
PASSING = {
    "a text for a vector": {"data": [{"embedding": "abc"}] * 4},
    "words in a vector": {"data": [{"embedding": ["x", "y", "z"]}] * 4},
    "a vector a token": {"data": [{"embedding": [[1.0, 2.0, 3.0]]}] * 4},
    "not finite": {"data": [{"embedding": [float("nan")] * 3}] * 4},
    "the same place twice": {"data": [{"index": 0, "embedding": [1.0, 2.0, 3.0]}] * 4},
    "rows that are none": {"data": [1, 2, 3, 4]},
}


@pytest.mark.parametrize("value", BAD.values(), ids=BAD.keys())
def test_vectors_that_do_not_fit_the_texts_are_one_sentence(value):
    with Loopback(vectors=vector) as server:
        encoder = Embeddings(server.address)
        server.troubles = [says(200, value)]
        with pytest.raises(ServerError, match=r"sent \d vectors for 4 texts, or of another width than 3"):
            encoder.encode(TEXTS)


@pytest.mark.parametrize(
    "trouble",
    [garbage, half, reset, says(429, Retry_After="0"), *(says(200, value) for value in PASSING.values())],
)
@pytest.mark.usefixtures("soon")
def test_what_passes_is_asked_again(trouble):
    with Loopback(vectors=vector) as server:
        encoder = Embeddings(server.address)
        server.troubles = [trouble]
        assert np.array_equal(encoder.encode(TEXTS), encoded(TEXTS))


@pytest.mark.usefixtures("soon")
def test_a_server_that_dies_midway_loses_nothing(tmp_path):
    keep = tmp_path / "kept.jsonl"
    texts = [str(i) for i in range(40)]
    with Loopback(vectors=vector, dies_after=4) as server:
        port = server.port
        with pytest.raises(ServerError, match="what has come is kept"):
            Embeddings(server.address, keep=keep, tries=2).encode(texts, batch_size=5)
    kept = len(keep.read_text().splitlines())
    assert kept == 15
    with Loopback(vectors=vector, port=port) as server:
        found = Embeddings(server.address, keep=keep).encode(texts, batch_size=5)
        assert sum(len(body["input"]) for body in server.asked) == 1 + 40 - kept
    assert np.array_equal(found, encoded(texts))
    assert not keep.exists()


def test_a_server_without_the_route_is_one_sentence():
    with Loopback() as server, pytest.raises(UsageError, match="has no route embeddings"):
        Embeddings(server.address)


def test_of_several_models_one_is_to_be_named():
    with Loopback(vectors=vector, models=["a", "b"]) as server:
        with pytest.raises(UsageError, match="serves a, b: write the one that is meant behind the address"):
            Embeddings(server.address)
        with pytest.raises(UsageError, match="serves a, b and not c"):
            Embeddings(f"{server.address}#c")
        assert Embeddings(f"{server.address}#b").told["model"] == "b"


def test_nothing_to_encode_is_refused():
    with Loopback(vectors=vector) as server, pytest.raises(UsageError, match="no texts to encode"):
        Embeddings(server.address).encode([])
