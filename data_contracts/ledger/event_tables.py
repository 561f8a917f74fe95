"""Label events between their rows in the database, their records and their table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from sqlalchemy import Connection, RowMapping, select

from data_contracts.ledger.instants import from_text
from data_contracts.ledger.tables import LABEL_EVENT
from data_contracts.records import LabelEvent


def event_of(row: Mapping[str, Any] | RowMapping) -> LabelEvent:
    """The record of a row."""
    return LabelEvent.model_validate({**row, "at": from_text(row["at"])})


def event_frame_of(connection: Connection) -> pd.DataFrame:
    """All label events in order, one row each, columns as in the record; ``at`` is a UTC instant."""
    rows = connection.execute(select(LABEL_EVENT).order_by(LABEL_EVENT.c.sequence)).all()
    frame = pd.DataFrame(rows, columns=[column.name for column in LABEL_EVENT.columns], dtype=object)
    return frame.assign(
        at=pd.to_datetime(frame["at"], format="ISO8601", utc=True).astype("datetime64[ns, UTC]"),
        sequence=frame["sequence"].astype("int64"),
        blind=frame["blind"].astype(bool),
        seconds_spent=frame["seconds_spent"].astype("float64"),
    )
