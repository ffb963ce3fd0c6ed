"""The needle grid as a picture: length across, depth down, exact match as colour and number."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from harness_longskywork.metrics import DEPTHS, LENGTHS


def grid(metrics: Mapping[str, float]) -> np.ndarray:
    """Return exact match, (depths, lengths)."""
    return np.asarray([[metrics[f"needle_{length}_{depth}"] for length in LENGTHS] for depth in DEPTHS])


def draw(values: np.ndarray, title: str, path: Path) -> None:
    """Write the picture; the ending of `path` says its format."""
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(4.2, 3.4), layout="constrained")
    axes = canvas.add_subplot()
    image = axes.imshow(values, vmin=0, vmax=1, cmap="viridis", aspect="auto")
    axes.set_xticks(range(len(LENGTHS)), list(LENGTHS))
    axes.set_yticks(range(len(DEPTHS)), [f"{depth} %" for depth in DEPTHS])
    axes.set(title=title, xlabel="length of the prose, in training lengths", ylabel="depth of the needle")
    for (row, column), value in np.ndenumerate(values):
        axes.text(
            column, row, f"{value:.2f}", ha="center", va="center", color="white" if value < 0.6 else "black"
        )
    canvas.colorbar(image, label="exact match")
    canvas.savefig(path)
