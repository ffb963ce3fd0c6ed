"""What is measured, by name: light, so that claims can be stated without importing what measures them."""

PACKINGS = ("related", "shuffled")
PLACES = ("first", "second", "later")
CONTEXTS = {"related": "its own neighbours", "unrelated": "another's neighbours", "no": "nothing"}
