"""Final verdicts leave: each once per sink, in order, with external ids, reader and model version.

What holds when a process is killed: a decision is in the outbox as soon as it is final (one transaction), and is
recorded as delivered after the sink took it. A kill between the two delivers it again. Each decision carries a
``decision_id`` that never changes, so a repeated one is recognisable: :class:`~data_contracts.review.sinks.CsvSink`
looks at the end of its file and leaves out what stands there, which makes it exactly once; a webhook gets the ids as
its idempotency key and has to keep them. What was offered together once is offered together again, however much has
become final since, so that the key is the same. Nothing is ever left out.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import Connection, func, insert, select

from data_contracts.errors import BadInput
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.instants import as_text, from_text
from data_contracts.ledger.instants import now as this_moment
from data_contracts.ledger.lookups import rows_where_in
from data_contracts.ledger.tables import IMAGE
from data_contracts.ledger.tables_review import DECISION_OUT, DELIVERY, REVIEW_TASK
from data_contracts.review.outbox import append_decisions, decision_id_of
from data_contracts.review.records import DecisionOut
from data_contracts.review.task_rows import UNSETTLED
from data_contracts.vocabulary import Decision, Purpose, SubjectKind, TaskState
from data_contracts.workspace import write_atomically

TOGETHER = 100
"""How many decisions a sink is given at once; as many may come twice after a kill."""

LOCK_SECONDS = 30.0

Write = Callable[[Sequence[DecisionOut]], None]
"""Takes decisions in order; returning means that they are safe with the receiver."""

_NOT_A_NAME = re.compile(r"[\x00-\x1f\x7f]")


def publish(ledger: Ledger, scores: pd.DataFrame, *, now: datetime | None = None) -> int:
    """Put the automatic decisions of a batch into the outbox; returns how many were new.

    Human decisions need no call: they enter when their task closes. Passed over are rows that are not automatic or have
    no prediction, subjects that have a decision already (the first final one stays until a person changes it), and
    subjects that people are being asked about (audits aside: these look at what was decided automatically) or disagree
    about.

    Args:
        ledger: where.
        scores: columns ``image_id, predicted, decision, model_version`` as in ``frames.SCORES``; for decisions on
            groups also ``subject_kind`` and ``subject_id``, filled in every row.
        now: when.

    Raises:
        BadInput: a column is missing, or an image is not known.
    """
    missing = sorted({"image_id", "predicted", "decision", "model_version"} - set(scores.columns))
    if missing:
        raise BadInput(f"The scores have no column {', '.join(missing)}.", remedy="Give a file that `score` wrote.")
    final = scores[
        scores["decision"].eq(Decision.AUTO.value) & scores["image_id"].notna() & scores["predicted"].notna()
    ]
    wanted: dict[tuple[str, str], dict[str, Any]] = {}
    for row in final.to_dict("records"):
        kind = SubjectKind(row.get("subject_kind", SubjectKind.IMAGE))
        subject = str(row.get("subject_id", row["image_id"]))
        decision = {
            "decision_id": decision_id_of("automatic", kind.value, subject),
            "subject_kind": kind.value,
            "subject_id": subject,
            "verdict": str(row["predicted"]),
            "bad_image": False,
            "automatic": True,
            "who": None,
            "model_version": str(row["model_version"]),
            "supersedes": None,
            "event_id": None,
        }
        wanted.setdefault((kind.value, subject), decision)
    with ledger.writing() as connection:
        _require_known(connection, [subject for kind, subject in wanted if kind == SubjectKind.IMAGE])
        taken = _decided(connection, wanted.keys()) | _asked_about(connection, wanted.keys())
        fresh = [decision for subject, decision in wanted.items() if subject not in taken]
        append_decisions(connection, fresh, now or this_moment())
    return len(fresh)


def deliver(ledger: Ledger, sink_name: str, write: Write, *, now: datetime | None = None) -> int:
    """Hand every decision that has not left for this sink to it, oldest first; returns how many left.

    One process at a time serves a sink; another waits. If ``write`` raises, what it was given counts as not delivered.

    Args:
        ledger: where.
        sink_name: what the sink is called, for ever; the name, not the address, says what it has received.
        write: takes the decisions, at most :data:`TOGETHER` at once.
        now: when.

    Raises:
        BadInput: the name is empty, too long or has control characters.
        Busy: another process serves this sink for longer than half a minute.
    """
    if not sink_name.strip() or len(sink_name) > 200 or _NOT_A_NAME.search(sink_name):
        raise BadInput(f"{sink_name[:60]!r} cannot name a sink.", remedy="Give a short name, such as 'line-3'.")
    place = hashlib.sha256(sink_name.encode()).hexdigest()[:16]
    delivered = 0
    with ledger.workspace.lock(f"deliver-{place}", wait_seconds=LOCK_SECONDS):
        while waiting := _offered(ledger, sink_name, ledger.workspace.deliveries / f"{place}.json"):
            write(waiting)
            at = as_text(now or this_moment())
            with ledger.writing() as connection:
                rows = [
                    {
                        "delivery_id": f"{decision.decision_id}@{sink_name}",
                        "sink": sink_name,
                        "sequence": decision.sequence,
                        "decision_id": decision.decision_id,
                        "at": at,
                    }
                    for decision in waiting
                ]
                connection.execute(insert(DELIVERY), rows)
            delivered += len(waiting)
    return delivered


def _offered(ledger: Ledger, sink_name: str, note: Path) -> list[DecisionOut]:
    """What the sink is offered next: what it was offered before and did not take, else what waits (noted first)."""
    waiting = waiting_for(ledger, sink_name, limit=TOGETHER)
    if not waiting:
        return []
    try:
        last = int(json.loads(note.read_text(encoding="utf-8"))["last_offered"])
    except (OSError, ValueError, KeyError, TypeError):
        last = 0
    before = [decision for decision in waiting if decision.sequence <= last]
    if not before:
        write_atomically(note, json.dumps({"last_offered": waiting[-1].sequence}))
    return before or waiting


def waiting_for(ledger: Ledger, sink_name: str, *, limit: int | None = None) -> list[DecisionOut]:
    """Decisions that have not left for a sink yet, oldest first."""
    with ledger.reading() as connection:
        last = select(func.max(DELIVERY.c.sequence)).where(DELIVERY.c.sink == sink_name)
        done = connection.execute(last).scalar() or 0
        query = select(DECISION_OUT).where(DECISION_OUT.c.sequence > done).order_by(DECISION_OUT.c.sequence)
        rows = connection.execute(query if limit is None else query.limit(limit)).mappings().all()
    return [_decision_of(row) for row in rows]


def decisions(ledger: Ledger) -> list[DecisionOut]:
    """Every decision, oldest first."""
    with ledger.reading() as connection:
        rows = connection.execute(select(DECISION_OUT).order_by(DECISION_OUT.c.sequence)).mappings().all()
    return [_decision_of(row) for row in rows]


def _decision_of(row: Any) -> DecisionOut:
    values = {**row, "at": from_text(row["at"]), "external_ids": json.loads(row["external_ids"])}
    return DecisionOut.model_validate(values)


def _require_known(connection: Connection, images: Sequence[str]) -> None:
    known = {row.image_id for row in rows_where_in(connection, select(IMAGE.c.image_id), IMAGE.c.image_id, images)}
    unknown = sorted(set(images) - known)
    if unknown:
        raise BadInput(
            f"{len(unknown)} scored images are not known to the ledger, first {unknown[0]}.",
            remedy="Ingest the images before deciding on them.",
        )


def _decided(connection: Connection, subjects: Any) -> set[tuple[str, str]]:
    query = select(DECISION_OUT.c.subject_kind, DECISION_OUT.c.subject_id)
    rows = rows_where_in(connection, query, DECISION_OUT.c.subject_id, (subject for _, subject in subjects))
    return {(row.subject_kind, row.subject_id) for row in rows}


def _asked_about(connection: Connection, subjects: Any) -> set[tuple[str, str]]:
    """Subjects with a task under way, or in dispute; of an image also those whose group has one."""
    waiting = REVIEW_TASK.c.state.in_(UNSETTLED) & (REVIEW_TASK.c.purpose == Purpose.REVIEW.value)
    query = select(REVIEW_TASK.c.subject_kind, REVIEW_TASK.c.subject_id).where(
        waiting | (REVIEW_TASK.c.state == TaskState.DISPUTED.value)
    )
    images = [subject for kind, subject in subjects if kind == SubjectKind.IMAGE]
    grouped = select(IMAGE.c.image_id, IMAGE.c.group_id).where(IMAGE.c.group_id.is_not(None))
    group_of = {row.image_id: row.group_id for row in rows_where_in(connection, grouped, IMAGE.c.image_id, images)}
    names = [*(subject for _, subject in subjects), *group_of.values()]
    rows = rows_where_in(connection, query, REVIEW_TASK.c.subject_id, names)
    asked = {(row.subject_kind, row.subject_id) for row in rows}
    of_group = {
        (SubjectKind.IMAGE.value, image)
        for image, group in group_of.items()
        if (SubjectKind.GROUP.value, group) in asked
    }
    return asked | of_group
