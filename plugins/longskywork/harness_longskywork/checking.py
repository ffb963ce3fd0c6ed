"""Execute every question again by other means: the table's text, read back, in DuckDB, by SQL.

A question is in order when the query returns exactly one row (none would be unanswerable, two ambiguous)
and it equals the answer that the generator gave.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from harness_longskywork.schemas import ENGLISH
from harness_longskywork.serialising import read


def errors(rows: Iterable[dict[str, Any]], absent: str = ENGLISH.absent) -> Iterator[str]:
    """Yield a sentence for each question whose answer another execution does not confirm."""
    import duckdb

    connection = duckdb.connect(config={"threads": 1})
    for number, row in enumerate(rows):
        header, cells = read(row["form"], row["table"])
        load(connection, header, cells)
        for text, answer, program in zip(row["questions"], row["answers"], row["programs"], strict=True):
            found = executed(connection, header, program, absent)
            if found != [answer]:
                yield f"table {number}: {text!r} has the answer {answer!r}, and executing it gives {found}"


def load(connection: Any, header: list[str], cells: list[list[str]]) -> None:
    """Make a table `t` of strings, with the row's place in `place`."""
    import pyarrow as pa

    columns = {name: [row[c] for row in cells] for c, name in enumerate(header)}
    found = pa.table({"place": list(range(len(cells))), **columns})
    connection.register("arrow", found)
    connection.execute("create or replace table t as select * from arrow")
    connection.unregister("arrow")


def executed(
    connection: Any, header: list[str], program: dict[str, str], absent: str = ENGLISH.absent
) -> list[str]:
    """Return all answers that the program has on table `t`; `absent` is the one for a key that is not there."""
    quoted = [f'"{name}"' for name in header]
    key, named = quoted[0], {name: f'"{value}"' for name, value in program.items()}
    column, group, operation = named.get("column"), named.get("group"), program["operation"]
    number = f"cast({column} as bigint)"
    within = f"from t where {group} = $value"
    sql = {
        "cell": f"select {column} from t where {key} = $key",
        "row": f"select concat_ws('; ', {', '.join(quoted)}) from t where {key} = $key",
        "key_of": f"select {key} from t where {column} = $value",
        "two_cells": f"select a.{column} || ', ' || b.{column} from t a, t b where a.{key} = $key and b.{key} = $other",
        "absent": f"select case when count(*) = 0 then '{absent}' else 'there' end from t where {key} = $key",
        "count": f"select count(*) {within}",
        "sum": f"select sum({number}) {within}",
        "mean": f"select cast(floor(sum({number}) / count(*)) as bigint) {within}",
        "min": f"select min({number}) {within}",
        "max": f"select max({number}) {within}",
        "compare": f"select {key} from t where {key} in ($key, $other) and {number} = "
        f"(select max({number}) from t where {key} in ($key, $other))",
        "two_hop": f"select b.{column} from t a join t b on a.{named.get('reference')} = b.{key} where a.{key} = $key",
        "top": f"select string_agg({key}, ', ' order by rank) from (select *, rank() over (order by {number} desc) "
        f"as rank {within}) where rank <= 2",
        "rows": "select count(*) from t",
        "frequent": f"select {column} from t group by 1 qualify rank() over (order by count(*) desc) = 1",
        "first": f"select {key} from t where place = 0",
        "last": f"select {key} from t where place = (select max(place) from t)",
        "duplicate": f"select {key} from t group by 1 having count(*) > 1",
        "negative": " union ".join(
            f"select '{name}' from t where try_cast({cell} as bigint) < 0 group by 1"
            for name, cell in zip(header, quoted, strict=True)
        ),
        "turn": f"select {key} from (select *, lag({number}) over (order by place) as before, "
        f"lead({number}) over (order by place) as after from t) where {number} > before and {number} > after",
    }[operation]
    told = {name: program[name] for name in ("key", "other", "value") if f"${name}" in sql}
    return [str(found[0]) for found in connection.execute(sql, told).fetchall()]
