"""The tables of the review: tasks, leases, rounds, people's roles, decisions out, promotions that wait.

The state of a task, its leases and the notes of who was shown it may change; each change goes with a label event in one
transaction, and the state can be computed from the events again. All the other tables here are append-only.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, ForeignKey, Index, Integer, String, Table, Text, text

from data_contracts.ledger.column_kinds import INSTANT, METADATA, NAME

_SEQUENCE = BigInteger().with_variant(Integer, "sqlite")

REVIEW_TASK = Table(
    "review_task",
    METADATA,
    Column("task_id", String(40), primary_key=True),
    Column("subject_kind", String(10), nullable=False),
    Column("subject_id", NAME, nullable=False),
    Column("kind", String(10), nullable=False),
    Column("reason", Text, nullable=False),
    Column("priority", Float, nullable=False),
    Column("model_version", String(40)),
    Column("round", NAME, nullable=False),
    Column("readings_required", Integer, nullable=False),
    Column("blind", Boolean, nullable=False),
    Column("state", String(20), nullable=False),
    Column("due_at", INSTANT),
    Column("created_at", INSTANT, nullable=False),
    Column("strategy", Text),
    Column("batch", NAME),
    Column("evidence", Text, nullable=False, server_default="{}"),
    Column("predicted", NAME),
    Column("confidence", Float),
    Column("class_a", NAME),
    Column("class_b", NAME),
    Column("purpose", String(10), nullable=False, server_default="review"),
    Index(None, "state", "priority"),
    Index(None, "subject_id", "subject_kind"),
    Index("ix_review_task_due", "state", "kind", "due_at", "priority", "task_id"),
    Index(None, "state", "kind", "priority", "task_id"),
    Index(None, "round"),
)
"""``state`` is never ``leased``: whether somebody holds a task depends on the time, see :data:`LEASE`."""

LEASE = Table(
    "lease",
    METADATA,
    Column("task_id", String(40), ForeignKey("review_task.task_id"), primary_key=True),
    Column("who", NAME, primary_key=True),
    Column("leased_at", INSTANT, nullable=False),
    Column("expires_at", INSTANT, nullable=False),
    Column("reserved", Boolean, nullable=False, server_default=text("false")),
    Index(None, "who"),
)
"""``reserved``: the task was returned to this reader; letting go of what is on the screen does not give it away."""

SERVED = Table(
    "served",
    METADATA,
    Column("who", NAME, primary_key=True),
    Column("task_id", String(40), ForeignKey("review_task.task_id"), primary_key=True),
    Column("at", INSTANT, nullable=False),
    Column("said", String(20)),
    Column("said_at", INSTANT),
    Index(None, "task_id"),
)
"""Who was shown which task, and what of theirs stands: ``answered``, ``unsure``, ``skip`` or null."""

REVIEW_ROUND = Table(
    "review_round",
    METADATA,
    Column("round_id", NAME, primary_key=True),
    Column("at", INSTANT, nullable=False),
    Column("model_version", String(40)),
    Column("strategy", Text),
    Column("budget", Integer),
    Column("counts", Text, nullable=False),
    Column("seed", BigInteger, nullable=False),
)

ROLE_EVENT = Table(
    "role_event",
    METADATA,
    Column("sequence", _SEQUENCE, primary_key=True, autoincrement=False),
    Column("at", INSTANT, nullable=False),
    Column("who", NAME, nullable=False, index=True),
    Column("role", String(20), nullable=False),
    Column("by", NAME, nullable=False),
)
"""The latest row of a person is their role."""

DECISION_OUT = Table(
    "decision_out",
    METADATA,
    Column("sequence", _SEQUENCE, primary_key=True, autoincrement=False),
    Column("decision_id", String(40), nullable=False, unique=True),
    Column("at", INSTANT, nullable=False),
    Column("subject_kind", String(10), nullable=False),
    Column("subject_id", NAME, nullable=False),
    Column("verdict", NAME),
    Column("bad_image", Boolean, nullable=False),
    Column("automatic", Boolean, nullable=False),
    Column("who", NAME),
    Column("model_version", String(40)),
    Column("external_ids", Text, nullable=False),
    Column("supersedes", String(40)),
    Column("event_id", String(40), unique=True),
    Index(None, "subject_id", "subject_kind"),
)
"""``verdict`` null and ``bad_image`` false: the decision before was taken back and none has taken its place yet."""

DELIVERY = Table(
    "delivery",
    METADATA,
    Column("delivery_id", NAME, primary_key=True),
    Column("sink", NAME, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("decision_id", String(40), ForeignKey("decision_out.decision_id"), nullable=False),
    Column("at", INSTANT, nullable=False),
    Index(None, "sink", "sequence"),
)
"""What has left, per sink. ``sequence`` is the decision's; ``delivery_id`` is ``decision_id@sink``, so that nothing is
recorded twice."""

PROMOTION_REQUEST = Table(
    "promotion_request",
    METADATA,
    Column("sequence", _SEQUENCE, primary_key=True, autoincrement=False),
    Column("at", INSTANT, nullable=False),
    Column("model_version", String(40), nullable=False),
    Column("gate_report", Text, nullable=False),
    Column("who", NAME, nullable=False),
    Column("why", Text, nullable=False),
)

PROMOTION_APPROVAL = Table(
    "promotion_approval",
    METADATA,
    Column("sequence", _SEQUENCE, primary_key=True, autoincrement=False),
    Column("request", BigInteger, ForeignKey("promotion_request.sequence"), nullable=False, unique=True),
    Column("at", INSTANT, nullable=False),
    Column("model_version", String(40), nullable=False),
    Column("who", NAME, nullable=False),
    Column("why", Text, nullable=False),
    Column("approved", Boolean, nullable=False),
)
"""One answer to each request."""

SETTING_EVENT = Table(
    "setting_event",
    METADATA,
    Column("sequence", _SEQUENCE, primary_key=True, autoincrement=False),
    Column("at", INSTANT, nullable=False),
    Column("who", NAME, nullable=False),
    Column("name", String(60), nullable=False, index=True),
    Column("value", Text, nullable=False),
)
"""The latest row of a name is its value."""

REVIEW_TABLES = (
    REVIEW_TASK,
    LEASE,
    SERVED,
    REVIEW_ROUND,
    ROLE_EVENT,
    DECISION_OUT,
    DELIVERY,
    PROMOTION_REQUEST,
    PROMOTION_APPROVAL,
    SETTING_EVENT,
)
