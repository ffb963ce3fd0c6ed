"""How conclusions are said and drawn: phrases, text, HTML, pictures, and what is published.

May import: `exchange` and what stands below it.
"""
