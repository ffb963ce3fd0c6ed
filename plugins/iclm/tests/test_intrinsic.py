"""What an order is worth before training: the table of two text sets, and its twin on made topics."""

import os
from pathlib import Path

import numpy as np
import pytest
from harness_iclm import deduplicate, neighbours, path, windows
from harness_iclm.documents import read
from harness_iclm.embedding import tfidf
from harness_iclm.intrinsic import adjacent_similarity, measure
from harness_iclm.orders import clusters, nearest_first, shuffle
from harness_iclm.search import normalised

from harness.data.sources import resolve

# Adjacent cosine, and the mean cosine in groups of 8; TF-IDF + SVD, ten neighbours, duplicates left in.
TABLE = {
    "ag-news-test": {
        "shuffled": (0.050, 0.050),
        "random": (0.627, 0.440),
        "static": (0.628, 0.438),
        "residual": (0.641, 0.452),
    },
    "wikitext-2": {
        "shuffled": (0.050, 0.048),
        "random": (0.658, 0.471),
        "static": (0.664, 0.480),
        "residual": (0.673, 0.487),
    },
}


def group_similarity(embeddings, order, size=8) -> float:
    """Return the mean cosine of two documents of one group, for groups of `size` cut from `order`."""
    vectors = normalised(embeddings)[order[: len(order) // size * size]]
    groups = vectors.reshape(-1, size, vectors.shape[1])
    cosines = np.einsum("gid,gjd->gij", groups, groups)
    return float((cosines.sum() - np.einsum("gii->", cosines)) / (len(groups) * size * (size - 1)))


def texts_of(name, home, cache) -> list[str]:
    if name == "ag-news-test":
        return [d.text for d in read(resolve(str(home / name), cache=cache, columns=()))]
    lines = (home / name / "valid.txt").read_text(encoding="utf-8").splitlines()
    paragraphs = [line for line in lines if len(line.split()) >= 20 and not line.strip().startswith("=")]
    return [text.replace("<unk>", "") for text in paragraphs]  # the mark of a rare word is no word they share


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """Embeddings and ten neighbours of both sets."""
    data_home = Path(os.environ.get("HARNESS_DATA") or "/nowhere")
    if not data_home.is_dir():
        pytest.skip("HARNESS_DATA names no folder: real data sets are not here")
    found = {}
    for name in TABLE:
        texts = texts_of(name, data_home, tmp_path_factory.mktemp("cache"))
        vectors = tfidf(texts)
        found[name] = (texts, vectors, *neighbours(vectors, 10))
    return found


@pytest.mark.parametrize("name", TABLE)
def test_the_table_of_the_orders_is_met(corpora, name):
    texts, vectors, ids, cosines = corpora[name]
    assert len(texts) == {"ag-news-test": 7600, "wikitext-2": 1647}[name]
    orders = {restart: path(ids, cosines, restart) for restart in ("residual", "static", "random")}
    orders["shuffled"] = shuffle(len(vectors))
    for restart, order in orders.items():
        adjacent, within = TABLE[name][restart]
        assert adjacent_similarity(vectors, order) == pytest.approx(adjacent, abs=0.02), restart
        assert group_similarity(vectors, order) == pytest.approx(within, abs=0.02), restart


def test_orders_rank_as_told_and_the_path_reaches_most_of_the_nearest(corpora):
    _, vectors, ids, cosines = corpora["ag-news-test"]
    orders = [shuffle(7600), clusters(vectors), path(ids, cosines, "static"), path(ids, cosines)]
    worth = [adjacent_similarity(vectors, order) for order in orders]
    assert worth == sorted(worth)
    assert worth[-1] >= 0.8 * cosines[:, 0].mean()


def test_planted_duplicates_are_removed_and_the_originals_stay(corpora):
    texts = corpora["ag-news-test"][0][:3000]
    random = np.random.default_rng(0)
    copies = []
    for number in random.permutation(3000)[:200]:
        words = texts[number].split()
        for place in random.permutation(len(words))[: random.integers(1, 4)]:
            words[place] = texts[int(random.integers(3000))].split()[0]
        copies.append(" ".join(words))
    kept = deduplicate(tfidf([*texts, *copies]), 0.95)
    assert (kept >= 3000).sum() <= 0.15 * 200
    assert (kept < 3000).sum() >= 0.97 * 3000


def test_shuffled_windows_are_strangers_and_their_documents_relatives(corpora):
    _, vectors, ids, cosines = corpora["ag-news-test"]
    lengths = np.full(7600, 60)
    order = path(ids, cosines)
    packed = measure(vectors, order, windows(order, lengths, 256))
    left = measure(vectors, order, windows(order, lengths, 256, shuffled=False))
    random = shuffle(7600)
    baseline = measure(vectors, random, windows(random, lengths, 256))
    assert packed["window_similarity"] > baseline["window_similarity"] + 0.3
    assert packed["between_similarity"] < baseline["between_similarity"] + 0.02
    assert left["between_similarity"] > packed["between_similarity"] + 0.2
    assert (
        measure(vectors, nearest_first(ids), windows(nearest_first(ids), lengths, 256))["documents_used"]
        < 0.8
    )


# The same on made text


def made_texts(documents: int = 400, topics: int = 20, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Return texts of made words, two thirds of them of the text's own topic, and the topics."""
    random = np.random.default_rng(seed)
    topic = random.integers(topics, size=documents)
    return [
        " ".join(
            f"t{t}w{random.integers(12)}" if random.random() < 2 / 3 else f"w{random.integers(60)}"
            for _ in range(25)
        )
        for t in topic
    ], topic


def test_on_made_topics_the_path_keeps_to_a_topic_and_random_does_not():
    texts, topic = made_texts()
    vectors = tfidf(texts)
    ids, cosines = neighbours(vectors, 8)

    def same(order):
        return (topic[order[1:]] == topic[order[:-1]]).mean()

    assert same(path(ids, cosines)) > 0.9
    assert same(clusters(vectors)) > 0.7
    assert same(shuffle(400)) < 0.15


def test_measures_on_numbers_one_can_check_by_hand():
    vectors = np.array([[1.0, 0], [1, 0], [0, 1], [0, 1]])
    order = np.arange(4)
    packed = windows(order, np.array([2, 2, 2, 2]), 4, shuffled=False)
    found = measure(vectors, order, packed)
    assert found["adjacent_similarity"] == pytest.approx(2 / 3)
    assert found["window_similarity"] == 1.0
    assert found["between_similarity"] == 0.0
    assert (found["documents_cut"], found["documents_used"]) == (0.0, 1.0)
    cut = measure(vectors, order, windows(order, np.array([3, 3, 1, 1]), 4, shuffled=False))
    assert cut["documents_cut"] == 0.25
    assert group_similarity(vectors, order, 2) == pytest.approx(1.0)
    assert group_similarity(vectors, order, 4) == pytest.approx(1 / 3)
