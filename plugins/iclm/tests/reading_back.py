"""Read what `harness iclm order --to parquet --to mds --to megatron` wrote, with the trainers' own libraries.

They pin other versions of numpy than the harness has, so this runs in an environment of its own and is no test of CI:

    python -m venv env && env/bin/pip install mosaicml-streaming pyarrow && env/bin/pip install --no-deps megatron-core
    env/bin/python plugins/iclm/tests/reading_back.py OUT

It demands that all three hold the same windows in the same order, as the parquet file has them; that Megatron's
`GPTDataset` gives each full window as one sample; and says versions and numbers.
"""

import importlib.metadata
import json
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig
from megatron.core.datasets.indexed_dataset import IndexedDataset
from megatron.core.datasets.utils import Split
from streaming import StreamingDataset


def parquet(folder: Path) -> tuple[list, list]:
    """Return tokens and documents of every window."""
    tables = [pq.read_table(file) for file in sorted(folder.glob("*.parquet"))]
    columns = ("input_ids", "document_ids")
    return tuple([row for table in tables for row in table[name].to_pylist()] for name in columns)


def mds(folder: Path) -> tuple[list, list]:
    """Return the same as `StreamingDataset` gives it."""
    found = StreamingDataset(local=str(folder), shuffle=False, batch_size=1)
    rows = [found[i] for i in range(found.num_samples)]
    return [row["tokens"].tolist() for row in rows], [row["document_ids"].tolist() for row in rows]


def megatron(folder: Path) -> list:
    """Return the windows as `IndexedDataset` gives them."""
    prefixes = sorted(str(file)[:-4] for file in folder.glob("*.bin"))
    return [row.tolist() for prefix in prefixes for row in IndexedDataset(prefix, mmap=True)]


def samples(prefix: str, window: int, end: int) -> tuple[list, int]:
    """Return the windows that `GPTDataset` gives as samples in an epoch, and how many the file holds."""
    low = IndexedDataset(prefix, mmap=True)
    tokenizer = SimpleNamespace(eod=end, pad=end, vocab_size=end + 1, unique_identifiers={"name": "harness"})
    with tempfile.TemporaryDirectory() as cache:
        config = GPTDatasetConfig(
            random_seed=1, sequence_length=window, blend=([prefix], None), split="1,0,0", path_to_cache=cache,
            tokenizer=tokenizer, reset_position_ids=True, reset_attention_mask=True, eod_mask_loss=False,
        )  # fmt: skip
        indices = np.arange(len(low), dtype=np.int32)
        data = GPTDataset(low, prefix, indices, None, Split.train, config)
        return [data[i]["tokens"].tolist() for i in range(len(data))], len(low)


def main(out: Path) -> None:
    """Compare, and print what was read."""
    for name in ("streaming", "megatron-core", "pyarrow", "torch", "numpy"):
        package = {"streaming": "mosaicml-streaming"}.get(name, name)
        print(package, importlib.metadata.version(package))
    about = json.loads((out / "parquet.json").read_text())
    for kind in ("", "-short"):
        if not (out / f"parquet{kind}").is_dir():
            continue
        tokens, documents = parquet(out / f"parquet{kind}")
        assert mds(out / f"mds{kind}") == (tokens, documents)
        assert megatron(out / f"megatron{kind}") == tokens
        print(
            f"{len(tokens)} windows of {sorted(set(map(len, tokens)))} tokens{kind and ', short'}: alike in all three"
        )
    known = {tuple(row) for row in parquet(out / "parquet")[0]}
    prefixes = sorted(str(file)[:-4] for file in (out / "megatron").glob("*.bin"))
    given = held = 0
    for prefix in prefixes:
        found, count = samples(prefix, about["window"], about["end_of_document"])
        assert all(tuple(row) in known for row in found)
        assert len({tuple(row) for row in found}) == len(found)
        given, held = given + len(found), held + count
    print(
        f"GPTDataset: {given} of {held} windows of {len(prefixes)} files, each whole, as samples of an epoch"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
