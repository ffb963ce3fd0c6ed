"""Hydra's launchers that are ours: for the cores of this machine, and for a Ray cluster."""
