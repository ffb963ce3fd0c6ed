"""What tables are about and how questions are worded, in English: a set to train on, another, disjoint, to test with.

Every schema has a unique key, a group that only a few rows share, a reference to another row's key, and more
columns of typed values. No header and no wording of the test set occurs in the training set.
"""

from __future__ import annotations

from dataclasses import dataclass

# kinds: key, group (few rows each), reference (another key), name, number, date, category


@dataclass(frozen=True)
class Schema:
    """A table's subject, its key's prefix, its headers by kind, and its categories."""

    subject: str
    prefix: str
    group: str
    reference: str
    more: tuple[tuple[str, str], ...]  # (header, kind) of the columns after key, group and reference
    categories: tuple[str, ...]
    key: str


@dataclass(frozen=True)
class Language:
    """What tables and questions are written in: schemas and wordings by split, and the words of worked answers."""

    schemas: dict[str, tuple[Schema, ...]]
    wordings: dict[str, dict[str, tuple[str, ...]]]
    absent: str  # the answer where a key is not there
    holds: str  # that a row is one of a group: {key}, {group}, {value}
    floor: str  # how a mean was made: {total}, {count}
    answer: str  # what a worked answer ends with: {answer}
    syllables: tuple[str, ...]  # names are made of


SCHEMAS = {
    "train": (
        Schema("staff", "EM", "team", "supervisor",
               (("salary", "number"), ("department", "category"), ("hired", "date"), ("surname", "name"),
                ("hours", "number"), ("birthday", "date"), ("overtime", "number"), ("village", "name"),
                ("badge", "number")),
               ("finance", "research", "sales", "support", "design"), "employee"),
        Schema("freight", "SH", "convoy", "follows",
               (("weight", "number"), ("cargo", "category"), ("departure", "date"), ("captain", "name"),
                ("fee", "number"), ("arrival", "date"), ("crates", "number"), ("harbour", "name"),
                ("insurance", "number")),
               ("grain", "timber", "steel", "textiles", "salt", "glass"), "shipment"),
        Schema("sensors", "SN", "station", "neighbour",
               (("reading", "number"), ("status", "category"), ("installed", "date"), ("maker", "name"),
                ("voltage", "number"), ("serviced", "date"), ("errors", "number"), ("valley", "name"),
                ("uptime", "number")),
               ("idle", "active", "faulty", "paused"), "sensor"),
    ),
    "test": (
        Schema("library loans", "BK", "shelf", "sequel",
               (("pages", "number"), ("genre", "category"), ("published", "date"), ("author", "name"),
                ("copies", "number"), ("returned", "date"), ("price", "number"), ("printer", "name"),
                ("readers", "number")),
               ("poetry", "history", "travel", "drama", "science"), "book"),
        Schema("climbs", "CL", "expedition", "partner",
               (("altitude", "number"), ("weather", "category"), ("begun", "date"), ("guide", "name"),
                ("camps", "number"), ("ended", "date"), ("ropes", "number"), ("peak", "name"),
                ("oxygen", "number")),
               ("clear", "windy", "snow", "fog"), "climb"),
    ),
}  # fmt: skip

WORDINGS: dict[str, dict[str, tuple[str, ...]]] = {
    "train": {
        "cell": ("What is the {column} of {key}?", "Give the {column} recorded for {key}."),
        "row": ("Write out the whole row of {key}, cells separated by semicolons.",),
        "key_of": ("Which {keys} has the {column} {value}?", "Whose {column} is {value}?"),
        "two_cells": ("What are the {column} of {key} and the {column} of {other}, in this order?",),
        "absent": (
            "What is the {column} of {key}?",
            "Give the {column} recorded for {key}.",
        ),  # as for a cell
        "count": ("How many rows have the {group} {value}?",),
        "sum": ("What is the sum of {column} over the {group} {value}?",),
        "mean": ("What is the mean of {column} over the {group} {value}, rounded down?",),
        "min": ("What is the smallest {column} in the {group} {value}?",),
        "max": ("What is the largest {column} in the {group} {value}?",),
        "compare": ("Which has the larger {column}, {key} or {other}?",),
        "two_hop": ("What is the {column} of the {reference} of {key}?",),
        "top": ("Which two of the {group} {value} have the largest {column}, largest first?",),
        "rows": ("How many rows does the table have?",),
        "frequent": ("Which {column} occurs most often?",),
        "first": ("Which {keys} is in the first row?",),
        "last": ("Which {keys} is in the last row?",),
        "duplicate": ("Which {keys} is listed twice?",),
        "negative": ("One column breaks the rule that numbers are not negative. Which?",),
        "turn": ("At which {keys} does {column} change from rising to falling?",),
    },
    "test": {
        "cell": ("Look up {key} and report its {column}.",),
        "row": ("Copy every cell of the line for {key}; put semicolons between them.",),
        "key_of": ("Find the {keys} where {column} equals {value}.",),
        "two_cells": ("Report {column} first for {key}, then for {other}.",),
        "absent": ("Look up {key} and report its {column}.",),
        "count": ("Count the lines whose {group} equals {value}.",),
        "sum": ("Add up {column} for all lines whose {group} equals {value}.",),
        "mean": ("Average {column} for all lines whose {group} equals {value}; drop the fraction.",),
        "min": ("Among lines whose {group} equals {value}, find the minimum of {column}.",),
        "max": ("Among lines whose {group} equals {value}, find the maximum of {column}.",),
        "compare": ("Of {key} and {other}, name the one that is higher in {column}.",),
        "two_hop": ("Follow the {reference} given for {key} and report the {column} found there.",),
        "top": ("Rank the lines whose {group} equals {value} by {column} downwards and name the top two.",),
        "rows": ("Count all lines below the header.",),
        "frequent": ("Name the commonest {column}.",),
        "first": ("Name the {keys} that opens the table.",),
        "last": ("Name the {keys} that closes the table.",),
        "duplicate": ("Name the {keys} that appears more than once.",),
        "negative": ("Negative numbers are forbidden, yet one column has one. Name the column.",),
        "turn": ("{column} climbs at first and then descends. Name the {keys} at the summit.",),
    },
}
KINDS = {
    "retrieval": ("cell", "row", "key_of", "two_cells", "absent"),
    "reasoning": ("count", "sum", "mean", "min", "max", "compare", "two_hop", "top"),
    "global": ("rows", "frequent", "first", "last", "duplicate", "negative", "turn"),
}

ENGLISH = Language(
    SCHEMAS, WORDINGS, absent="not in the table", holds="{key} has {group} {value}",
    floor="{total} over {count}, rounded down", answer="Answer: {answer}",
    syllables=("ba", "de", "fi", "go", "ku", "la", "mi", "no", "pe", "ra", "so", "tu", "ve", "wi", "yo", "za"),
)  # fmt: skip
