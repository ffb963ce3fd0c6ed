"""One run, from its spec to its folder: stages, results, provenance, its own process, leases, the mirror to MLflow.

May import: `papers`, the toolbox, `numbers`, `errors`.
"""
