"""Look many rows up by their keys, some hundreds at a time, whatever the database's limit on parameters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select

CHUNK = 800


def rows_where_in(
    connection: Connection, query: Select[Any], column: ColumnElement[Any], values: Iterable[object]
) -> Iterator[Row[Any]]:
    """Rows of ``query`` whose ``column`` is one of ``values`` (each value is asked for once)."""
    distinct = list(dict.fromkeys(values))
    for start in range(0, len(distinct), CHUNK):
        yield from connection.execute(query.where(column.in_(distinct[start : start + CHUNK])))
