"""A plain toolbox of model parts: knows nothing of runs, hooks or Hydra."""
