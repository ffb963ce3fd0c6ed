"""A plain toolbox from source names to batches: knows nothing of runs, hooks or Hydra.

May import: `errors`, `nn`, `fit`.
"""
