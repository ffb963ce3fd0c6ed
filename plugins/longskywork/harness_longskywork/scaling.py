"""A larger RoPE base, so that positions beyond the training length turn queries and keys by known angles.

Pair i of a head of size h turns by angle p * base^(-2i/h) at position p. NTK-aware scaling raises the base by
s^(h/(h-2)) for s times the length: the slowest pair then turns at s * p exactly as it did at p, the fastest is
unchanged. LongSkywork uses it before its long pretraining; ABF ("adjusted base frequency") sets a base by hand.
"""


def ntk_base(base: float, scale: float, head_dim: int) -> float:
    """Return the RoPE base that reaches `scale` times the trained length, for heads of `head_dim`.

    Raises ValueError where there is nothing to stretch: `head_dim` below 4, or a scale that is not positive.
    """
    if head_dim < 4:
        raise ValueError(
            f"head_dim={head_dim} has one pair, which NTK-aware scaling leaves alone: give 4 or more"
        )
    if scale <= 0:
        raise ValueError(f"scale={scale} must be above 0: the new length over the old one")
    return base * scale ** (head_dim / (head_dim - 2))
