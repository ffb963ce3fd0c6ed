"""What comes in and goes out: results that others made, under the rule of this house, and claims as records.

May import: `verdicts` and what stands below it.
"""
