"""Images with their labels: split, and some training labels made wrong on purpose."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from harness.errors import UsageError
from harness_mixup.settings import Task


def prepare(task: Task, data: Mapping[str, Any], data_dir: Path) -> None:
    """Leave `train`, `validation` and `test.safetensors` in `data_dir`: images, labels, and which are wrong."""
    images, labels = table(data["images"].rows()) if "images" in data else digits()
    random = np.random.default_rng(0)  # one split for all seeds
    order = random.permutation(len(images))
    rest = order[task.examples :]
    if len(rest) < 8:
        raise UsageError(f"{len(images)} images are too few: lower task.examples={task.examples}")
    parts = {
        "train": order[: task.examples],
        "validation": rest[: len(rest) // 4],
        "test": rest[len(rest) // 4 :][: task.test],
    }
    classes = int(labels.max()) + 1
    for name, rows in parts.items():
        wrong = random.random(len(rows)) < (task.wrong if name == "train" else 0.0)
        other = (labels[rows] + random.integers(1, classes, len(rows))) % classes
        tensors = {"images": images[rows], "labels": np.where(wrong, other, labels[rows]), "wrong": wrong}
        save_file({k: torch.from_numpy(v) for k, v in tensors.items()}, data_dir / f"{name}.safetensors")


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Return scikit-learn's 1,797 digits: (n, 64) float32 in [0, 1], (n,) int64."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return (found.data / 16).astype(np.float32), found.target.astype(np.int64)


def table(rows: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the images and labels of a table's rows, pixels divided by the largest."""
    kept = list(rows)
    try:
        images = np.array([[float(v) for k, v in row.items() if k != "label"] for row in kept], np.float32)
        labels = np.array([int(row["label"]) for row in kept], np.int64)
    except ValueError as error:
        raise UsageError(f"labels must be whole numbers from 0 and pixels numbers: {error}") from None
    return images / max(float(images.max()), 1e-9), labels


def read(data_dir: Path, name: str) -> dict[str, torch.Tensor]:
    """Return `images` (n, pixels), `labels` (n,) and `wrong` (n,) of a split."""
    found: dict[str, torch.Tensor] = load_file(data_dir / f"{name}.safetensors")
    return found


def scramble(data_dir: Path, seed: int) -> None:
    """Give every image, also the test's, the label of another."""
    generator = torch.Generator().manual_seed(seed)
    for name in ("train", "validation", "test"):
        found = read(data_dir, name)
        found["labels"] = found["labels"][torch.randperm(len(found["labels"]), generator=generator)]
        save_file(found, data_dir / f"{name}.safetensors")
