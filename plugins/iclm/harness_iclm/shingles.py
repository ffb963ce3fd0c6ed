"""Near duplicates by the shingles they share: exact and in file order, without comparing all pairs.

A shingle is three words in a row; three characters where words are few, or where a script has no blanks between
words or puts particles in them (Chinese, Japanese, Thai, Korean). Documents that share a part t of their shingles
share one of each one's rarest 1 - t (prefix filter: Bayardo, Ma, Srikant 2007, "Scaling up all pairs similarity
search"). So of the kept documents only those few are looked up. No pair is missed, as hashed bands (LSH) would, and
none is taken for one: the shares are counted on all shingles.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from harness_iclm.compiled import compiled

FEW = 8  # different word shingles below which a text is compared by its characters
UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3005-\u30ff\u3400-\u9fff\uac00-\ud7a3"
    "\uf900-\ufaff\U00020000-\U0003ffff]"
)
COUNTERS = 2**26  # how often a shingle occurs is counted in so many places at most


def shingles(text: str) -> np.ndarray:
    """Return the different shingles of a text as 64-bit hashes, rising, (shingles,) uint64.

    Case, punctuation, blanks and forms of one character (full width, composed) make no difference; a text without
    a letter or digit is taken as it is. Whether words or characters are taken depends on the different words alone, so
    that texts of equal shingles are compared by the same.
    """
    plain = unicodedata.normalize("NFKC", text).lower()
    words = re.findall(r"\w+", plain)
    joined = " ".join(words or plain.split())
    points = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
    if joined.isascii() or not unspaced(words):
        found = _of_words(points)
        if len(found) >= FEW:
            return np.asarray(found)
    return np.asarray(_of_characters(points))


def unspaced(words: Iterable[str]) -> bool:
    """Say whether most letters of the different words are of scripts whose words are not between blanks."""
    letters = "".join(set(words))
    return 2 * len(UNSPACED.sub("", letters)) < len(letters)


def write(texts: Iterable[str], path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Write the texts' shingles to `path`; return them end to end, read lazily, and where each text's begin."""
    starts = [0]
    with path.open("wb") as file:
        for text in texts:
            row = shingles(text)
            file.write(row.tobytes())
            starts.append(starts[-1] + len(row))
    whole = np.memmap(path, np.uint64, "r") if starts[-1] else np.empty(0, np.uint64)
    return whole, np.array(starts, np.int64)


def copies(hashes: np.ndarray, starts: np.ndarray, threshold: float = 0.8) -> tuple[np.ndarray, np.ndarray]:
    """Return which kept document before it each is a near copy of, (documents,) int64, -1: none; and the share.

    In the order of the documents: one is left out if its shingles and those of an earlier document that was kept
    are alike to `threshold` or more (Jaccard: shared by both, of all that either has); else it is kept. Of
    several such the most alike is named. A document without shingles is nobody's copy.
    """
    sizes = np.diff(starts)
    prefixes = sizes - np.ceil(threshold * sizes - 1e-9).astype(np.int64) + 1
    places = 1 << min(COUNTERS.bit_length() - 1, int(starts[-1]).bit_length())
    counts = np.zeros(places, np.uint32)
    _counted(hashes, counts)
    room = int(prefixes[sizes > 0].sum())  # at most; what is not written is not taken of memory
    heads = np.full(1 << min(28, max(10, room.bit_length())), -1, np.int64)
    tags, owners, following = np.empty(room, np.uint32), np.empty(room, np.int32), np.empty(room, np.int64)
    of, alike = np.full(len(sizes), -1), np.zeros(len(sizes))
    _greedy(hashes, starts, prefixes, counts, threshold, heads, tags, owners, following, of, alike)
    return of, alike


@compiled
def _mixed(state, value):  # type: ignore[no-untyped-def]
    """Return 64 bits made of a state and a value (splitmix64's last steps)."""
    x = (state ^ value) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@compiled
def _of_words(points):  # type: ignore[no-untyped-def]
    """Return the hashes of three words in a row; words are separated by one blank."""
    words = np.empty(len(points) // 2 + 1, np.uint64)
    count, word, inside = 0, np.uint64(1), False
    for point in points:
        if point == 32:
            words[count] = word
            count += 1
            word, inside = np.uint64(1), False
        else:
            word, inside = _mixed(word, np.uint64(point)), True
    if inside:
        words[count] = word
        count += 1
    found = np.empty(max(0, count - 2), np.uint64)
    for i in range(len(found)):
        found[i] = _mixed(_mixed(_mixed(np.uint64(2), words[i]), words[i + 1]), words[i + 2])
    return np.unique(found)


@compiled
def _of_characters(points):  # type: ignore[no-untyped-def]
    """Return the hashes of three characters in a row; of fewer characters, one of all."""
    size = min(3, len(points))
    found = np.empty(len(points) - size + 1 if size else 0, np.uint64)
    for i in range(len(found)):
        state = np.uint64(3)
        for j in range(size):
            state = _mixed(state, np.uint64(points[i + j]))
        found[i] = state
    return np.unique(found)


@compiled
def _counted(hashes, counts):  # type: ignore[no-untyped-def]
    """Count shingles; two that share a place are taken for equally frequent, which costs time and no pair."""
    last = np.uint64(len(counts) - 1)
    for shingle in hashes:
        counts[(shingle >> np.uint64(20)) & last] += 1


@compiled
def _greedy(hashes, starts, prefixes, counts, threshold, heads, tags, owners, following, of, alike):  # type: ignore[no-untyped-def]
    """Fill `of` and `alike`. The rare shingles of what is kept hang in chains, which begin at `heads`."""
    last_count, last_head = np.uint64(len(counts) - 1), np.uint64(len(heads) - 1)
    seen = np.full(len(of), -1)
    used = 0
    for d in range(len(of)):
        row = hashes[starts[d] : starts[d + 1]]
        size = len(row)
        if size == 0:
            continue
        often = counts[(row >> np.uint64(20)) & last_count]
        rare = row[
            np.argsort(often, kind="mergesort")[: prefixes[d]]
        ]  # ties by hash: one order for all documents
        best, most = -1, 0.0
        for shingle in rare:
            place = heads[shingle & last_head]
            while place >= 0:
                c = owners[place]
                if tags[place] == np.uint32(shingle >> np.uint64(32)) and seen[c] != d:
                    seen[c] = d
                    share = _jaccard(row, hashes[starts[c] : starts[c + 1]], threshold)
                    if share >= threshold and (share > most or (share == most and c < best)):
                        best, most = c, share
                place = following[place]
        of[d], alike[d] = best, most
        if best >= 0:
            continue
        for shingle in rare:
            head = shingle & last_head
            tags[used], owners[used], following[used] = np.uint32(shingle >> np.uint64(32)), d, heads[head]
            heads[head] = used
            used += 1


@compiled
def _jaccard(a, b, least):  # type: ignore[no-untyped-def]
    """Return the share of two rising rows' shingles that both have; 0 once it cannot reach `least`."""
    needed = least / (1 + least) * (len(a) + len(b)) - 1e-6
    i = j = both = 0
    while i < len(a) and j < len(b):
        if both + min(len(a) - i, len(b) - j) < needed:
            return 0.0
        if a[i] == b[j]:
            both += 1
            i += 1
            j += 1
        elif a[i] < b[j]:
            i += 1
        else:
            j += 1
    return both / (len(a) + len(b) - both)
