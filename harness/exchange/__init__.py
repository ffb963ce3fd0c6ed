"""Results that others made: how their files are read, and what the rule of this house says of them.

May import: `verdicts` and what stands below it.
"""
