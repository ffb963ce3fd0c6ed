"""What comes in and goes out: others' results under the rule of this house, claims as records, runs as bundles.

May import: `verdicts` and what stands below it.
"""
