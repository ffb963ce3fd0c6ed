"""`harness mixup weights`: what a value of alpha means."""

from typing import Annotated

import typer


def weights(alpha: Annotated[float, typer.Option(help="As in method.alpha.")] = 8.0) -> None:
    """Show how the mixing weight is spread: a share for each tenth of [0, 1]."""
    import numpy as np

    drawn = np.random.default_rng(0).beta(alpha, alpha, 100_000)
    counts, edges = np.histogram(drawn, bins=10, range=(0, 1))
    for count, edge in zip(counts, edges, strict=False):
        print(
            f"{edge:.1f} to {edge + 0.1:.1f}: {count / len(drawn):6.1%} {'#' * int(60 * count / len(drawn))}"
        )
