"""How conclusions are said and drawn: phrases, text, HTML, pictures, and what is published.

May import: `verdicts` and what stands below it.
"""
