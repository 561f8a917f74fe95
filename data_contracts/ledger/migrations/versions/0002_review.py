"""The review: what a task shows, rounds, roles, who was served what, decisions out, promotions that wait.

Additive: columns are added in place (``ADD COLUMN``), because ``batch_alter_table`` would rebuild tables without their
triggers. Tasks of schema 0001 get the values that they had in effect.
"""

import sqlalchemy as sa
from alembic import op

from data_contracts.ledger.append_only import guard_statements

revision = "0002"
down_revision = "0001"

GUARDED = {
    "review_round": ("round_id",),
    "role_event": ("sequence",),
    "decision_out": ("sequence", "decision_id", "event_id"),
    "delivery": ("delivery_id",),
    "promotion_request": ("sequence",),
    "promotion_approval": ("sequence", "request"),
    "setting_event": ("sequence",),
}

SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
NAME = sa.String(length=255)
INSTANT = sa.String(length=32)


def upgrade() -> None:
    for column in (
        sa.Column("strategy", sa.Text(), nullable=True),
        sa.Column("batch", NAME, nullable=True),
        sa.Column("evidence", sa.Text(), nullable=False, server_default="{}"),
        sa.Column("predicted", NAME, nullable=True),
        sa.Column("confidence", sa.Float(), nullable=True),
        sa.Column("class_a", NAME, nullable=True),
        sa.Column("class_b", NAME, nullable=True),
        sa.Column("purpose", sa.String(length=10), nullable=False, server_default="review"),
    ):
        op.add_column("review_task", column)
    due = ["state", "kind", "due_at", "priority", "task_id"]
    op.create_index(op.f("ix_review_task_due"), "review_task", due, unique=False)
    for columns in (("state", "kind", "priority", "task_id"), ("round",)):
        op.create_index(op.f(f"ix_review_task_{'_'.join(columns)}"), "review_task", list(columns), unique=False)
    op.add_column("lease", sa.Column("reserved", sa.Boolean(), nullable=False, server_default=sa.text("false")))
    op.create_index(op.f("ix_lease_who"), "lease", ["who"], unique=False)
    op.create_index(op.f("ix_label_event_task_id"), "label_event", ["task_id"], unique=False)

    op.create_table(
        "served",
        sa.Column("who", NAME, nullable=False),
        sa.Column("task_id", sa.String(length=40), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("said", sa.String(length=20), nullable=True),
        sa.Column("said_at", INSTANT, nullable=True),
        sa.ForeignKeyConstraint(["task_id"], ["review_task.task_id"], name=op.f("fk_served_task_id")),
        sa.PrimaryKeyConstraint("who", "task_id", name=op.f("pk_served")),
    )
    op.create_index(op.f("ix_served_task_id"), "served", ["task_id"], unique=False)
    op.create_table(
        "review_round",
        sa.Column("round_id", NAME, nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("model_version", sa.String(length=40), nullable=True),
        sa.Column("strategy", sa.Text(), nullable=True),
        sa.Column("budget", sa.Integer(), nullable=True),
        sa.Column("counts", sa.Text(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("round_id", name=op.f("pk_review_round")),
    )
    op.create_table(
        "role_event",
        sa.Column("sequence", SEQUENCE, autoincrement=False, nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("who", NAME, nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("by", NAME, nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_role_event")),
    )
    op.create_index(op.f("ix_role_event_who"), "role_event", ["who"], unique=False)
    op.create_table(
        "decision_out",
        sa.Column("sequence", SEQUENCE, autoincrement=False, nullable=False),
        sa.Column("decision_id", sa.String(length=40), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("subject_kind", sa.String(length=10), nullable=False),
        sa.Column("subject_id", NAME, nullable=False),
        sa.Column("verdict", NAME, nullable=True),
        sa.Column("bad_image", sa.Boolean(), nullable=False),
        sa.Column("automatic", sa.Boolean(), nullable=False),
        sa.Column("who", NAME, nullable=True),
        sa.Column("model_version", sa.String(length=40), nullable=True),
        sa.Column("external_ids", sa.Text(), nullable=False),
        sa.Column("supersedes", sa.String(length=40), nullable=True),
        sa.Column("event_id", sa.String(length=40), nullable=True),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_decision_out")),
        sa.UniqueConstraint("decision_id", name=op.f("uq_decision_out_decision_id")),
        sa.UniqueConstraint("event_id", name=op.f("uq_decision_out_event_id")),
    )
    op.create_index(
        op.f("ix_decision_out_subject_id_subject_kind"), "decision_out", ["subject_id", "subject_kind"], unique=False
    )
    op.create_table(
        "delivery",
        sa.Column("delivery_id", NAME, nullable=False),
        sa.Column("sink", NAME, nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("decision_id", sa.String(length=40), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["decision_id"], ["decision_out.decision_id"], name=op.f("fk_delivery_decision_id")),
        sa.PrimaryKeyConstraint("delivery_id", name=op.f("pk_delivery")),
    )
    op.create_index(op.f("ix_delivery_sink_sequence"), "delivery", ["sink", "sequence"], unique=False)
    op.create_table(
        "promotion_request",
        sa.Column("sequence", SEQUENCE, autoincrement=False, nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("model_version", sa.String(length=40), nullable=False),
        sa.Column("gate_report", sa.Text(), nullable=False),
        sa.Column("who", NAME, nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_promotion_request")),
    )
    op.create_table(
        "promotion_approval",
        sa.Column("sequence", SEQUENCE, autoincrement=False, nullable=False),
        sa.Column("request", sa.BigInteger(), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("model_version", sa.String(length=40), nullable=False),
        sa.Column("who", NAME, nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("approved", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["request"], ["promotion_request.sequence"], name=op.f("fk_promotion_approval_request")
        ),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_promotion_approval")),
        sa.UniqueConstraint("request", name=op.f("uq_promotion_approval_request")),
    )
    op.create_table(
        "setting_event",
        sa.Column("sequence", SEQUENCE, autoincrement=False, nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("who", NAME, nullable=False),
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_setting_event")),
    )
    op.create_index(op.f("ix_setting_event_name"), "setting_event", ["name"], unique=False)

    dialect = op.get_bind().dialect.name
    for table, unique in GUARDED.items():
        for statement in guard_statements(table, unique, dialect):
            op.execute(statement)
