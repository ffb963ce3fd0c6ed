"""Put a corpus in order, step by step: each step is a stage, so a changed walk does not embed again.

    documents -> kept -> embeddings -> neighbours -> order -> windows -> files for trainers

With an encoder the embeddings come before what is kept, since they tell what is alike. Embeddings, neighbours and files
are made in shards, which processes started by the same command share (`harness_iclm.steps`). The corpus is read as
a stream; what stays in memory are a length and a vector a document, and the index. Nothing is written but numbers,
unless the text in its new order is asked for.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.sources import Source, resolve
from harness.errors import UsageError, nearest
from harness.tools import folder_to_write, shared, stage, write_json
from harness_iclm import duplicates, embedding, intrinsic, search, trainers
from harness_iclm.documents import read
from harness_iclm.orders import shuffle
from harness_iclm.packing import Windows, windows
from harness_iclm.preparation import load_windows, save_windows
from harness_iclm.walk import RESTARTS, path

Progress = Callable[[str, int, int], object]  # stage, done, total (0: not known)
UNTIL = ("documents", "embeddings", "neighbours")  # steps that one may stop after


@dataclass
class Recipe:
    """How a corpus is to be ordered; `tokenizer` None counts UTF-8 bytes, `model` None is TF-IDF + SVD.

    `pooling` and `prompt` replace what the model's folder says, `trusted` lets its code run.
    `to` names the trainers' formats to write, `until` the step to stop after; `shard` is in documents.
    """

    window: int = 8192
    k: int = 10
    threshold: float = 0.0
    restart: str = "residual"
    seed: int = 0
    index: str = "auto"
    probes: int = 0
    dimensions: int = 128
    encoder_length: int = 512
    batch_size: int = 128
    device: str = "cpu"
    tokenizer: Source | None = None
    model: Source | None = None
    pooling: str = ""
    prompt: str | None = None
    trusted: bool = False
    to: Sequence[str] = ()
    until: str = ""
    shard: int = 100_000


def demand(recipe: Recipe, out: Path) -> None:
    """Raise UsageError for a setting that cannot work, before anything is read."""
    r = recipe
    windows(np.empty(0, np.int64), np.empty(0, np.int64), r.window)
    duplicates.demand(r.threshold)
    search.demand_index(r.index, r.probes)
    if r.k < 1:
        raise UsageError(f"{r.k} neighbours relate nothing: ask for at least 1")
    if r.shard < 1:
        raise UsageError(f"a shard of {r.shard} documents holds none: use at least 1")
    for given, known, option in ((r.restart, RESTARTS, "restart"), (r.until, ("", *UNTIL), "until")):
        if given not in known:
            raise UsageError(f"--{option}={given} is not known: {nearest(given, [k for k in known if k])}")
    for form in r.to:
        if form not in trainers.FORMATS:
            raise UsageError(f"--to={form} is not known: {nearest(form, trainers.FORMATS)}")
        if form == "text":
            continue
        if r.tokenizer is None:
            raise UsageError(f"--to={form} writes tokens: add --tokenizer, a hub id or a folder")
    if r.tokenizer is not None:
        trainers.tokenizer_of(r.tokenizer, marked=any(form != "text" for form in r.to))
    folder_to_write(out)


def order_corpus(
    source: Source, recipe: Recipe, out: Path, stages: Path, progress: Progress
) -> dict[str, Any]:
    """Write `order`, `windows` and `duplicates.parquet` and `report.json` into `out`; return the report.

    Files for trainers are beside them, in a folder a format. Where the recipe says `until`, nothing is written but
    stages, and the report says how many documents they hold. Raises UsageError for settings that cannot work, and for a
    corpus without text, with too few documents, or that changed while it was read.
    """
    demand(recipe, out)
    r, seconds = recipe, {}

    def kept_stage(name: str, inputs: dict[str, Any], make: Callable[[Path], None]) -> Path:
        begun = time.perf_counter()
        folder = stage(stages, f"iclm-{name}", inputs, make)
        seconds[name] = round(time.perf_counter() - begun, 3)
        progress(name, 1, 1)
        return folder

    def shards(
        name: str, inputs: dict[str, Any], total: int, make: Callable[[slice, Path], None]
    ) -> list[Path]:
        """Make a step by shards of documents; a step of one shard is a stage like any other."""
        begun = time.perf_counter()
        spans = [(first, min(first + r.shard, total)) for first in range(0, total, r.shard)]
        parts = [inputs | ({"documents": span} if len(spans) > 1 else {}) for span in spans]
        found = shared(
            stages,
            f"iclm-{name}",
            parts,
            lambda i, folder: make(slice(*spans[i]), folder),
            _tell(progress, name),
        )
        seconds[name] = round(time.perf_counter() - begun, 3)
        return found

    corpus = {"corpus": source.digest}
    how = r.tokenizer.digest if r.tokenizer else "bytes"
    counted = kept_stage(
        "documents", corpus | {"tokens": how}, lambda f: _count(source, r, f, stages, progress)
    )
    lengths, empty = np.load(counted / "lengths.npy"), np.load(counted / "empty.npy")
    total, real = len(lengths), np.flatnonzero(~empty)
    if r.model or len(real) < 2:  # before anything is embedded; shingles tell more at little cost
        _enough(total, len(real), 0, r)
    search.demand_index(r.index, r.probes, documents=len(real))
    told: dict[str, Any] = {"documents": total, "empty": int(empty.sum())}
    if r.until == "documents":
        return told

    def embedded() -> list[Path]:
        if model := r.model:
            encoder = functools.cache(
                lambda: embedding.load(model, r.encoder_length, r.device, r.pooling, r.prompt, r.trusted)
            )
            said = f" {r.pooling} {r.prompt!r}" if r.pooling or r.prompt is not None else ""
            inputs = corpus | {"by": f"{model.digest} {r.encoder_length}{said}"}
            return shards(
                "embeddings", inputs, total, lambda span, f: _encode(source, r, encoder, span, f, stages)
            )
        inputs = corpus | {"by": f"tfidf {r.dimensions}"}
        if total <= embedding.LEARNED:
            return [kept_stage("embeddings", inputs, lambda f: _tfidf(source, r, f, total, stages, progress))]
        known = kept_stage("words", inputs, lambda f: _learn(source, r, f, total, stages, progress))
        words = functools.cache(lambda: embedding.load_words(known))
        return shards("embeddings", inputs, total, lambda span, f: _apply(source, words, span, f, stages))

    def keep(folder: Path) -> None:
        if r.model is None:
            texts = (document.text for document in read(source) if document.text.strip())
            found = duplicates.by_shingles(
                _counting(texts, len(real), progress), r.threshold, folder / "shingles"
            )
            _unchanged(source, stages)
        else:
            rows, say = _vectors(embedded(), real), _tell(progress, "kept")
            found = duplicates.by_cosine(rows, r.threshold, r.index, r.probes, say)
        np.savez(folder / "copies.npz", **vars(found.numbered(real)))

    inputs: dict[str, Any] = {"documents": counted.name, "threshold": r.threshold}
    inputs |= (
        {"embeddings": [f.name for f in embedded()], "index": r.index, "probes": r.probes} if r.model else {}
    )
    chosen = kept_stage("kept", inputs, keep)
    with np.load(chosen / "copies.npz") as file:
        copies = duplicates.Copies(**file)
    kept = copies.kept
    told |= {"duplicates": len(copies.dropped), "kept": len(kept)}
    told["warning"] = duplicates.warning(len(copies.dropped), len(real), "--threshold")
    _enough(total, len(real), len(copies.dropped), r)
    vectors = embedded()
    if r.until == "embeddings":
        return told
    mine = functools.cache(lambda: _vectors(vectors, kept))
    inputs = {
        "embeddings": [f.name for f in vectors],
        "kept": chosen.name,
        "index": r.index,
        "probes": r.probes,
    }

    def fill(folder: Path) -> None:
        import faiss

        filled = search.filled_index(search.normalised(mine()), r.index, r.probes)
        faiss.write_index(filled, str(folder / "index.faiss"))

    if len(kept) > r.shard:  # one index for all shards
        index = kept_stage("index", inputs, fill)

    @functools.cache
    def searcher() -> tuple[Any, np.ndarray]:
        import faiss

        rows = search.normalised(mine())
        if len(kept) > r.shard:
            return faiss.read_index(str(index / "index.faiss"), faiss.IO_FLAG_MMAP), rows
        return search.filled_index(rows, r.index, r.probes), rows

    def find(span: slice, folder: Path) -> None:
        wanted = np.arange(span.start, span.stop)
        ids, cosines = search.nearest(*searcher(), wanted, r.k, _tell(progress, "neighbours"))
        np.savez(folder / "near.npz", ids=ids, cosines=cosines)

    near = shards("neighbours", inputs | {"k": r.k}, len(kept), find)
    searcher.cache_clear()
    if r.until == "neighbours":
        return told
    ids, cosines = (np.concatenate(x) for x in zip(*map(_near, near), strict=True))

    def walk(folder: Path) -> None:
        np.save(folder / "order.npy", path(ids, cosines, r.restart, r.seed))

    walked = kept_stage(
        "order", {"neighbours": [f.name for f in near], "restart": r.restart, "seed": r.seed}, walk
    )
    order = np.load(walked / "order.npy")

    def cut(folder: Path) -> None:
        packed = windows(order, lengths[kept], r.window, r.seed)
        short_last = np.argsort(packed.tokens < r.window, kind="stable")
        save_windows(folder / "windows.npz", packed.only(short_last))

    inputs = {"order": walked.name, "documents": counted.name, "window": r.window, "seed": r.seed}
    cut_in = kept_stage("windows", inputs, cut)
    packed = load_windows(cut_in / "windows.npz")
    random = shuffle(len(kept), r.seed)
    weight, jumps = intrinsic.path_weight(ids, cosines, order)
    names = [json.loads(line) for line in (counted / "ids.txt").read_text(encoding="utf-8").splitlines()]
    report = {
        "corpus": source.name,
        "digest": source.digest,
        **told,
        "alike_by": "cosine" if r.model else "shingles",
        "threshold": r.threshold or (duplicates.COSINE if r.model else duplicates.SHARED),
        "tokens": int(lengths[kept].sum()),
        "counted_in": r.tokenizer.name if r.tokenizer else "bytes",
        "window": r.window,
        "windows": len(packed),
        "short_window": int(packed.tokens[-1]) if packed.tokens[-1] < r.window else 0,
        "path_weight": weight,
        "jumps": jumps,
        "in_context": intrinsic.measure(mine(), order, packed),
        "random": intrinsic.measure(mine(), random, windows(random, lengths[kept], r.window, r.seed)),
        "seconds": seconds,
    }
    _write(out, report, copies, order, packed, names)
    for form in r.to:
        begun = time.perf_counter()
        if form == "text":
            folder = kept_stage(
                "text", corpus | {"order": walked.name}, lambda f: _text(source, kept[order], f, r, stages)
            )
            trainers.gather_text(folder, out / "text", stages)
        elif r.tokenizer:
            filled = trainers.filled(packed, kept, counted, r.tokenizer)
            made_of = {"windows": cut_in.name, "tokens": counted.name}
            about = {"seed": r.seed, "tokenizer": r.tokenizer.name, "tokenizer_digest": r.tokenizer.digest}
            _export(form, filled, r.window, made_of, about, out, stages, _tell(progress, form))
        seconds[form] = round(time.perf_counter() - begun, 3)
    if r.to:
        write_json(out / "report.json", report)
    return report


def _enough(total: int, real: int, dropped: int, recipe: Recipe) -> None:
    """Raise UsageError where too few different documents are left for the neighbours asked for."""
    left = real - dropped
    if left > recipe.k:
        return
    of = f"{total:,} document{'' if total == 1 else 's'}"
    gone = ((total - real, "empty"), (dropped, "left out as near duplicates"))
    parts = [f"{number:,} {why}" for number, why in gone if number]
    told = f"{of} ({', '.join(parts)})" if parts else of
    if left < 2:
        raise UsageError(
            f"of {told} {left} {'is' if left == 1 else 'are'} left to put in order: give at least two different ones"
            if parts
            else f"{of} cannot be put in order: give at least two different ones"
        )
    raise UsageError(
        f"{recipe.k} neighbours were asked of {left:,} documents"
        + (f", what is left of {told}" if parts else "")
        + f": ask for 1 to {left - 1}, or give more"
    )


def _tell(progress: Progress, name: str) -> Callable[[int, int], object]:
    return lambda done, total: progress(name, done, total)


def _counting(texts: Iterator[str], total: int, progress: Progress) -> Iterator[str]:
    for number, text in enumerate(texts, 1):
        if number % 1024 == 0 or number == total:
            progress("kept", number, total)
        yield text


def _vectors(folders: Sequence[Path], wanted: np.ndarray) -> np.ndarray:
    """Return the vectors of these documents, rising numbers, from the shards that hold them."""
    parts, first = [], 0
    for folder in folders:
        rows = np.load(folder / "vectors.npy", mmap_mode="r")
        low, high = np.searchsorted(wanted, (first, first + len(rows)))
        parts.append(rows[wanted[low:high] - first])
        first += len(rows)
    return np.concatenate(parts)


def _near(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    with np.load(folder / "near.npz") as found:
        return found["ids"], found["cosines"]


def _count(source: Source, recipe: Recipe, folder: Path, stages: Path, progress: Progress) -> None:
    """Leave each document's length, id and whether it is empty; with a tokenizer its tokens, too."""
    empty: list[bool] = []
    sizes: list[int] = []
    with (folder / "ids.txt").open("w", encoding="utf-8") as file:

        def noted() -> Iterator[Any]:
            for document in read(source):
                file.write(json.dumps(document.id) + "\n")
                empty.append(not document.text.strip())
                if len(empty) % 256 == 0:
                    progress("documents", len(empty), 0)
                yield document

        if recipe.tokenizer:
            from harness.data.tokens import encode, starts

            tokenizer = trainers.tokenizer_of(recipe.tokenizer)
            encode(noted(), tokenizer, folder / "tokens.npy")
            lengths = np.diff(starts(folder / "tokens.npy"))
        else:
            sizes += (len(document.text.encode()) for document in noted())
            lengths = np.array(sizes, np.int64)
    _unchanged(source, stages)
    if not empty or all(empty):
        raise UsageError(f"{source.name} holds no document with text: give another corpus")
    np.save(folder / "lengths.npy", lengths)
    np.save(folder / "empty.npy", np.array(empty))


def _texts(source: Source, span: slice) -> Iterator[str]:
    return (document.text for document in islice(read(source), span.start, span.stop))


def _encode(
    source: Source, recipe: Recipe, encoder: Callable[[], Any], span: slice, folder: Path, stages: Path
) -> None:
    found = embedding.encode_by(encoder(), _texts(source, span), folder / "vectors.npy", recipe.batch_size)
    _whole(source, len(found), span, stages)


def _apply(source: Source, words: Callable[[], Any], span: slice, folder: Path, stages: Path) -> None:
    found = embedding.apply(words(), _texts(source, span))
    np.save(folder / "vectors.npy", found)
    _whole(source, len(found), span, stages)


def _tfidf(
    source: Source, recipe: Recipe, folder: Path, total: int, stages: Path, progress: Progress
) -> None:
    texts = _embedding(_texts(source, slice(0, None)), total, progress)
    found = embedding.tfidf(texts, recipe.dimensions)
    np.save(folder / "vectors.npy", found)
    _whole(source, len(found), slice(0, total), stages)


def _learn(
    source: Source, recipe: Recipe, folder: Path, total: int, stages: Path, progress: Progress
) -> None:
    """Leave TF-IDF's words and directions, learned from an even sample of the documents."""
    sample = np.zeros(total, bool)
    sample[np.linspace(0, total - 1, embedding.LEARNED).astype(np.int64)] = True
    texts = (text for text, taken in zip(_texts(source, slice(0, None)), sample, strict=False) if taken)
    words = embedding.learn(_embedding(texts, embedding.LEARNED, progress), recipe.dimensions)
    embedding.save_words(words, folder)
    _unchanged(source, stages)


def _embedding(texts: Iterator[str], total: int, progress: Progress) -> Iterator[str]:
    for number, text in enumerate(texts, 1):
        if number % 256 == 0 or number == total:
            progress("embeddings", number, total)
        yield text


def _whole(source: Source, found: int, span: slice, stages: Path) -> None:
    """Raise UsageError where the corpus is another by now, or gave other documents."""
    _unchanged(source, stages)
    if found != span.stop - span.start:
        raise UsageError(
            f"{source.name} had {span.stop} documents and now {span.start + found}: leave it as it is meanwhile"
        )


def _unchanged(source: Source, stages: Path) -> None:
    """Raise UsageError where the corpus is no longer the one whose digest names the stages."""
    if source.kind != "file":
        return  # fetched ones are pinned
    now = resolve(source.name, cache=stages / "sources", columns=()).digest
    if now != source.digest:
        raise UsageError(
            f"{source.name} changed while it was read (digest {source.digest[:12]}, now {now[:12]}): "
            "repeat the command once nobody writes to it"
        )


def _text(source: Source, rows: np.ndarray, folder: Path, recipe: Recipe, stages: Path) -> None:
    """Leave the documents `rows` in that order as jsonl of document, id and text, by shards.

    They are read once and laid in files by shard, each of which is then put in order in memory.
    """
    place = np.full(int(rows.max()) + 1, -1)
    place[rows] = np.arange(len(rows))
    count = -(-len(rows) // recipe.shard)
    files = [(folder / f"part-{number:05d}.jsonl").open("w", encoding="utf-8") for number in range(count)]
    try:
        for number, document in enumerate(islice(read(source), len(place))):
            if place[number] >= 0:
                line = {"document": number, "id": document.id, "text": document.text}
                files[place[number] // recipe.shard].write(json.dumps(line, ensure_ascii=False) + "\n")
    finally:
        for file in files:
            file.close()
    _unchanged(source, stages)
    for file in files:
        with Path(file.name).open(encoding="utf-8", newline="\n") as lines:
            found = sorted(lines, key=lambda line: place[json.loads(line)["document"]])
        Path(file.name).write_text("".join(found), encoding="utf-8")


def _export(
    form: str,
    filled: trainers.Filled,
    window: int,
    made_of: dict[str, Any],
    about: dict[str, Any],
    out: Path,
    stages: Path,
    progress: Callable[[int, int], object],
) -> None:
    """Write windows for a trainer: full ones into the format's folder, the short one into `<format>-short`."""
    parts = trainers.parts(filled.packed, window)
    inputs = [made_of | {"rows": part[:2]} for part in parts]
    write = trainers.WRITERS[form]
    made = shared(stages, f"iclm-{form}", inputs, lambda i, f: write(filled, *parts[i][:2], f), progress)
    about = {"format": form, "window": window, "end_of_document": filled.end} | about
    for full, name in ((True, form), (False, f"{form}-short")):
        chosen = [folder for part, folder in zip(parts, made, strict=True) if part[2] is full]
        trainers.gather(form, chosen, out / name, stages)
        about[f"windows in {name}"] = sum(last - first for first, last, whole in parts if whole is full)
    write_json(out / f"{form}.json", about)


def _write(
    out: Path, report: dict[str, Any], copies: duplicates.Copies, order: Any, packed: Windows, ids: list[str]
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    out.mkdir(parents=True, exist_ok=True)
    kept = copies.kept
    rows = kept[order]  # numbers of documents in the corpus
    pieces = {"first": packed.pieces[:, 1], "end": packed.pieces[:, 2]}
    number = np.repeat(np.arange(len(packed)), np.diff(packed.bounds))
    tables = {
        "order": pa.table({"document": rows, "id": [ids[row] for row in rows]}),
        "windows": pa.table({"window": number, "document": kept[packed.pieces[:, 0]], **pieces}),
        "duplicates": duplicates.table(copies, ids),
    }
    for name, table in tables.items():
        temporary = out / f".{name}.parquet"
        pq.write_table(table, temporary)
        temporary.replace(out / f"{name}.parquet")
    write_json(out / "report.json", report)
