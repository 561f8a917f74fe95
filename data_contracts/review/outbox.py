"""Where decisions wait to leave: a verdict enters in the transaction that makes it final, so that none is ever lost."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, func, insert, select

from data_contracts.ledger.chain import canonical_json
from data_contracts.ledger.instants import as_text
from data_contracts.ledger.lookups import rows_where_in
from data_contracts.ledger.standpoints import Standpoints
from data_contracts.ledger.tables import EXTERNAL_ID, IMAGE, LABEL_EVENT, OCCURRENCE
from data_contracts.ledger.tables_review import DECISION_OUT
from data_contracts.records import LabelEvent
from data_contracts.review.task_rows import TaskRow
from data_contracts.vocabulary import SubjectKind, TaskState

Subject = tuple[str, str]

FILE_NAME = "file_name"


def publish_settled(
    connection: Connection, task: TaskRow, state: TaskState, event: LabelEvent, at: datetime
) -> str | None:
    """Put into the outbox what follows from an event of a task; returns the decision's id, ``None`` if nothing does.

    A task that closes gives the verdict that holds for its subject now. A task that was closed and is not any more
    gives a decision that takes the one before back.

    Args:
        connection: inside the transaction that appended ``event``.
        task: the task.
        state: its state after the event.
        event: the event.
        at: when.
    """
    kind, subject = SubjectKind(task["subject_kind"]), str(task["subject_id"])
    before = latest_decision(connection, (kind.value, subject))
    if state == TaskState.CLOSED:
        verdict, bad_image = verdict_in(connection, kind, subject)
        said = (verdict, bad_image, event.who, False)
        if before is not None and said == tuple(before[name] for name in ("verdict", "bad_image", "who", "automatic")):
            return None
    elif before is None or before["automatic"] or _of_task(connection, before["event_id"]) != task["task_id"]:
        return None
    else:
        verdict, bad_image = None, False
        if before["verdict"] is None and not before["bad_image"]:
            return None
    decision = {
        "decision_id": decision_id_of("event", event.event_id),
        "subject_kind": kind.value,
        "subject_id": subject,
        "verdict": verdict,
        "bad_image": bad_image,
        "automatic": False,
        "who": event.who,
        "model_version": task["model_version"],
        "supersedes": None if before is None else before["decision_id"],
        "event_id": event.event_id,
    }
    append_decisions(connection, [decision], at)
    return str(decision["decision_id"])


def append_decisions(connection: Connection, decisions: Sequence[Mapping[str, Any]], at: datetime) -> None:
    """Append decisions, each with the external ids of its subject as they are known now."""
    if not decisions:
        return
    ids = external_ids_of(connection, [(row["subject_kind"], row["subject_id"]) for row in decisions])
    last = connection.execute(select(func.coalesce(func.max(DECISION_OUT.c.sequence), 0))).scalar_one()
    rows = [
        {
            **row,
            "sequence": last + number,
            "at": as_text(at),
            "external_ids": canonical_json(ids[row["subject_kind"], row["subject_id"]]),
        }
        for number, row in enumerate(decisions, start=1)
    ]
    connection.execute(insert(DECISION_OUT), rows)


def decision_id_of(*parts: str) -> str:
    """The id that follows from what a decision comes from: made twice, it is the same."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def latest_decision(connection: Connection, subject: Subject) -> RowMapping | None:
    """The last decision on a subject (subject kind, subject id), if there is one."""
    here = (DECISION_OUT.c.subject_kind == subject[0]) & (DECISION_OUT.c.subject_id == subject[1])
    query = select(DECISION_OUT).where(here).order_by(DECISION_OUT.c.sequence.desc()).limit(1)
    return connection.execute(query).mappings().first()


def verdict_in(connection: Connection, kind: SubjectKind, subject: str) -> tuple[str | None, bool]:
    """What holds for a subject now: its class, and whether it is unusable (then there is no class)."""
    standpoints = Standpoints.load(connection, [(kind, subject)])
    places = [(kind.value, subject)]
    if kind == SubjectKind.IMAGE and subject in standpoints.group_of:
        places.append((SubjectKind.GROUP.value, standpoints.group_of[subject]))
    if any(standpoints.standing[place].bad_image for place in places if place in standpoints.standing):
        return None, True
    label = standpoints.label(kind, subject)
    return (None if label is None else standpoints.spelling(label)), False


def external_ids_of(connection: Connection, subjects: Collection[Subject]) -> dict[Subject, dict[str, list[str]]]:
    """Every external id of each subject's images, and their file names, sorted."""
    groups = {subject for kind, subject in subjects if kind == SubjectKind.GROUP}
    query = select(IMAGE.c.image_id, IMAGE.c.group_id)
    owner: dict[str, list[Subject]] = defaultdict(list)
    for row in rows_where_in(connection, query, IMAGE.c.group_id, groups):
        owner[row.image_id].append((SubjectKind.GROUP.value, row.group_id))
    for kind, subject in subjects:
        if kind == SubjectKind.IMAGE:
            owner[subject].append((kind, subject))
    found: dict[Subject, dict[str, set[str]]] = {subject: defaultdict(set) for subject in subjects}
    names = select(OCCURRENCE.c.image_id, OCCURRENCE.c.file_name)
    for row in rows_where_in(connection, names, OCCURRENCE.c.image_id, owner):
        for place in owner[row.image_id]:
            found[place][FILE_NAME].add(row.file_name)
    for row in rows_where_in(connection, select(EXTERNAL_ID), EXTERNAL_ID.c.image_id, owner):
        for place in owner[row.image_id]:
            found[place][row.name].add(row.value)
    return {place: {name: sorted(found[place][name]) for name in sorted(found[place])} for place in found}


def _of_task(connection: Connection, event_id: str | None) -> str | None:
    return connection.execute(select(LABEL_EVENT.c.task_id).where(LABEL_EVENT.c.event_id == event_id)).scalar()
