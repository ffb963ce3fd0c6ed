"""The picture of a model's reach: loss by length, loss by position in the longest window, and what is copied."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def draw(found: Mapping[str, Any], path: Path) -> None:
    """Write the picture of what `lengths.curve` found; the ending of `path` says its format."""
    from matplotlib.figure import Figure

    panels = 3 if found.get("retrieval") else 2
    canvas = Figure(figsize=(3.6 * panels, 3.4), layout="constrained")
    axes = canvas.subplots(1, panels)
    canvas.suptitle(f"{found['name']}: {found['positions']['kind']} positions, {found['own']:,} tokens")
    rows = found["lengths"]
    lengths = [row["length"] for row in rows]
    axes[0].plot(lengths, [row["loss"] for row in rows], marker="o", label="without overlap")
    if "sliding_loss" in rows[0]:
        axes[0].plot(lengths, [row["sliding_loss"] for row in rows], marker="s", label="sliding")
    axes[0].legend()
    axes[0].set(xlabel="tokens in a window", ylabel="loss, nats a token")
    places = found["by_position"]
    axes[1].step([place["to"] for place in places], [place["loss"] for place in places], where="pre")
    axes[1].set(xlabel=f"position in a window of {lengths[-1]:,}, up to", ylabel="loss, nats a token")
    if panels == 3:
        probes = found["retrieval"]
        axes[2].plot([p["distance"] for p in probes], [p["accuracy"] for p in probes], marker="o")
        axes[2].set(xlabel="tokens since the value was seen", ylabel="share of it copied", ylim=(-0.02, 1.02))
    for one in axes:
        one.set_xscale("log", base=2)
        one.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        one.axvline(found["own"], color="grey", linewidth=0.8, linestyle=":")
        one.grid(alpha=0.2)
    canvas.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
