"""Tables with questions whose answers are checked, beside a loop over Faker that lets pandas answer.

Tokens are words, single digits and marks, counted alike. Ours executes every question again in DuckDB; the peer
answers each question once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.measuring import Measured, Pairs, Target, interleaved


def with_faker(count: int, tokens: tuple[int, int], questions: int) -> int:
    """Make `count` tables of eight columns by Faker, with questions answered by pandas; return their tokens."""
    import math

    import numpy as np
    import pandas as pd
    from faker import Faker
    from harness_longskywork.synl import plain_length

    fake = Faker()
    Faker.seed(0)
    rng = np.random.default_rng(0)
    used = 0
    for _ in range(count):
        target = math.exp(rng.uniform(*np.log(tokens)))
        rows: list[dict[str, Any]] = []
        size = 0
        while size < target:
            row = {
                "order": fake.bothify("ord-#####"), "region": fake.random_element(["north", "south", "east", "west"]),
                "customer": fake.first_name(), "amount": fake.random_int(100, 10_000), "due": fake.date(),
                "status": fake.random_element(["open", "paid", "late"]), "city": fake.city(),
                "weight": fake.random_int(1, 99),
            }  # fmt: skip
            size += plain_length(",".join(map(str, row.values())))
            rows.append(row)
        frame = pd.DataFrame(rows)
        text = frame.to_csv(index=False)
        asked = []
        for _ in range(int(rng.integers(1, questions + 1))):
            kind, row = int(rng.integers(4)), frame.iloc[int(rng.integers(len(frame)))]
            if kind == 0:
                answer = frame.loc[frame["order"] == row["order"], "amount"].iloc[0]
            elif kind == 1:
                answer = frame.loc[frame["region"] == row["region"], "amount"].sum()
            elif kind == 2:
                answer = frame["status"].value_counts().idxmax()
            else:
                answer = frame.loc[frame["city"] == row["city"]].nlargest(2, "amount")["order"].tolist()
            asked.append((kind, str(answer)))
        used += plain_length(text)
    return used


def with_synl(count: int, tokens: tuple[int, int], questions: int) -> int:
    """Make `count` tables by SynL and execute every question again; return their tokens."""
    from harness_longskywork.checking import errors
    from harness_longskywork.synl import tables

    made = tables(count, tokens, seed=0, questions=questions)
    for error in errors(made):
        raise RuntimeError(error)
    return sum(row["tokens"] for row in made)


def measure(toy: bool) -> Iterator[Measured]:
    """Time both a token."""
    count, tokens, questions = (2, (600, 800), 4) if toy else (12, (2000, 100_000), 8)
    made: dict[str, int] = {}

    def ours() -> None:
        made["ours"] = with_synl(count, tokens, questions)

    def theirs() -> None:
        made["theirs"] = with_faker(count, tokens, questions)

    pairs: Pairs = interleaved(ours, theirs, rounds=1 if toy else 5)
    what = f"SynL, tokens/s, {count} tables of {tokens[0]:,} to {tokens[1]:,} tokens, answers executed again"
    peer = "a Faker loop with pandas answers"
    yield pairs.against(what, peer, Target("at least", 5), ours=made["ours"], theirs=made["theirs"])
