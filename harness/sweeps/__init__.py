"""`harness run`: settings, composition, launching, watching and tuning of many runs.

May import: `reports` and what stands below it.
"""
