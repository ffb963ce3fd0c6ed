"""Runs that travel with all that their verdicts rest on, and what a stranger can recompute of them."""
