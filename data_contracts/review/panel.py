"""Subjects that several people have read independently: what a consensus and the readers' quality rest on.

An answer is independent if whoever gave it saw neither the model nor another answer: a blind first reading of a task,
or a row of an imported labels file, whose ``reviewer`` is taken to have read alone. Folders and label columns that came
with the images are nobody's reading, and an adjudicator has seen the answers before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
from sqlalchemy import Connection, or_, select

from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.instants import from_text
from data_contracts.ledger.tables import LABEL_EVENT
from data_contracts.ledger.taxonomies import taxonomy_in
from data_contracts.review.agreement import readings
from data_contracts.review.standing import standing_events
from data_contracts.vocabulary import Action, Source

PANEL_COLUMNS = ("subject_kind", "subject_id", "who", "label", "at", "event_id")

FROM_FILES = "ingest:"
"""How the request ids of labels begin that came with the images."""

_SUBJECT = ["subject_kind", "subject_id"]


def independent_answers(ledger: Ledger) -> pd.DataFrame:
    """The last independent answer of each person to each subject that at least two people have answered.

    Returns:
        Columns :data:`PANEL_COLUMNS`: ``label`` is a class of the current taxonomy, ``at`` an instant (UTC); sorted by
        subject and person. Answers that name no single class of today (a bad image, a class that was split) are left
        out.
    """
    with ledger.reading() as connection:
        taxonomy = taxonomy_in(connection)
        rows = []
        for event in (*_imported(connection), *_read_blind(connection)):
            meant = taxonomy.possible(event["label"], event=int(event["sequence"])) if event["label"] else frozenset()
            if len(meant) == 1 and event["action"] != Action.BAD_IMAGE:
                place = (event["subject_kind"], event["subject_id"], event["who"])
                facts = (next(iter(meant)), from_text(event["at"]), event["event_id"])
                rows.append((*place, *facts, int(event["sequence"])))
    frame = pd.DataFrame(rows, columns=[*PANEL_COLUMNS, "sequence"])
    frame = frame.sort_values("sequence", kind="stable").drop_duplicates([*_SUBJECT, "who"], keep="last")
    several = frame.groupby(_SUBJECT)["who"].transform("size") >= 2
    kept = frame.loc[several.astype(bool), list(PANEL_COLUMNS)]
    return kept.sort_values([*_SUBJECT, "who"], kind="stable").reset_index(drop=True)


def _read_blind(connection: Connection) -> Iterator[Mapping[str, Any]]:
    for reading in readings(connection):
        if reading.first["blind"]:
            yield {**reading.first, **{name: reading.task[name] for name in _SUBJECT}}


def _imported(connection: Connection) -> Iterator[Mapping[str, Any]]:
    of_reviewers = (
        (LABEL_EVENT.c.action == Action.IMPORT.value)
        & LABEL_EVENT.c.source.in_([Source.IMPORT.value, Source.READER.value])
        & (LABEL_EVENT.c.request_id.is_(None) | ~LABEL_EVENT.c.request_id.startswith(FROM_FILES))
    )
    query = select(LABEL_EVENT).where(or_(of_reviewers, LABEL_EVENT.c.action == Action.UNDO.value))
    events = [dict(row) for row in connection.execute(query.order_by(LABEL_EVENT.c.sequence)).mappings()]
    yield from standing_events(events)
