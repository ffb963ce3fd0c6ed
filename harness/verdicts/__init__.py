"""What runs let one conclude: the verdict rule, scorecards, comparisons, places, power and cost, as plain data.

May import: `runs` and what stands below it.
"""
