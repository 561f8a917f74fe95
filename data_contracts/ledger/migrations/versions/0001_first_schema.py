"""The first schema.

Append-only schemas resist later change, so the columns of later rooms (group subjects, certainty, review tasks) are
here from the start. Never alter an append-only table with Alembic's ``batch_alter_table``: it drops the triggers.
"""

import sqlalchemy as sa
from alembic import op

from data_contracts.ledger.append_only import guard_statements

revision = "0001"
down_revision = None

GUARDED = {
    "label_event": ("sequence", "event_id", "request_id"),
    "promotion_event": ("sequence",),
    "gate_look": ("sequence",),
    "taxonomy_version": ("sequence",),
    "dataset_version": ("sequence",),
    "split_assignment": ("image_id",),
}


def upgrade() -> None:
    op.create_table(
        "chain_head",
        sa.Column("chain", sa.String(length=40), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("seal", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("chain", name=op.f("pk_chain_head")),
    )
    op.create_table(
        "conflict",
        sa.Column("conflict_id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("subject_kind", sa.String(length=10), nullable=False),
        sa.Column("subject_id", sa.String(length=255), nullable=False),
        sa.Column("labels", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("conflict_id", name=op.f("pk_conflict")),
    )
    op.create_table(
        "dataset_version",
        sa.Column(
            "sequence", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("at", sa.String(length=32), nullable=False),
        sa.Column("dataset_version", sa.String(length=40), nullable=False),
        sa.Column("manifest_sha256", sa.String(length=64), nullable=False),
        sa.Column("head_sequence", sa.BigInteger(), nullable=False),
        sa.Column("head_hash", sa.String(length=64), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.Column("previous_hash", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_dataset_version")),
    )
    op.create_index(op.f("ix_dataset_version_dataset_version"), "dataset_version", ["dataset_version"], unique=False)
    op.create_table(
        "gate_look",
        sa.Column(
            "sequence", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("at", sa.String(length=32), nullable=False),
        sa.Column("model_version", sa.String(length=40), nullable=False),
        sa.Column("against", sa.String(length=40), nullable=True),
        sa.Column("dataset_version", sa.String(length=40), nullable=False),
        sa.Column("passed", sa.Boolean(), nullable=False),
        sa.Column("report", sa.Text(), nullable=False),
        sa.Column("previous_hash", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_gate_look")),
    )
    op.create_table(
        "image",
        sa.Column("image_id", sa.String(length=80), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("mode", sa.String(length=20), nullable=False),
        sa.Column("bit_depth", sa.Integer(), nullable=False),
        sa.Column("format", sa.String(length=20), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("perceptual_hash", sa.BigInteger(), nullable=False),
        sa.Column("group_id", sa.String(length=255), nullable=True),
        sa.Column("series", sa.String(length=255), nullable=True),
        sa.Column("captured_at", sa.String(length=32), nullable=True),
        sa.Column("site", sa.String(length=255), nullable=True),
        sa.Column("given_split", sa.String(length=10), nullable=True),
        sa.Column("metadata", sa.Text(), nullable=False),
        sa.Column("batch", sa.String(length=255), nullable=False),
        sa.Column("first_seen", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("image_id", name=op.f("pk_image")),
    )
    op.create_index(op.f("ix_image_batch"), "image", ["batch"], unique=False)
    op.create_index(op.f("ix_image_group_id"), "image", ["group_id"], unique=False)
    op.create_table(
        "label_event",
        sa.Column(
            "sequence", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("event_id", sa.String(length=40), nullable=False),
        sa.Column("at", sa.String(length=32), nullable=False),
        sa.Column("who", sa.String(length=255), nullable=False),
        sa.Column("subject_kind", sa.String(length=10), nullable=False),
        sa.Column("subject_id", sa.String(length=255), nullable=False),
        sa.Column("action", sa.String(length=20), nullable=False),
        sa.Column("label", sa.String(length=255), nullable=True),
        sa.Column("previous_label", sa.String(length=255), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("certainty", sa.String(length=10), nullable=True),
        sa.Column("source", sa.String(length=20), nullable=False),
        sa.Column("task_id", sa.String(length=40), nullable=True),
        sa.Column("seconds_spent", sa.Float(), nullable=True),
        sa.Column("model_version", sa.String(length=40), nullable=True),
        sa.Column("blind", sa.Boolean(), nullable=False),
        sa.Column("undoes", sa.String(length=40), nullable=True),
        sa.Column("request_id", sa.String(length=255), nullable=True),
        sa.Column("previous_hash", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_label_event")),
        sa.UniqueConstraint("event_id", name=op.f("uq_label_event_event_id")),
        sa.UniqueConstraint("request_id", name=op.f("uq_label_event_request_id")),
    )
    op.create_index(
        op.f("ix_label_event_subject_id_subject_kind"), "label_event", ["subject_id", "subject_kind"], unique=False
    )
    op.create_table(
        "ledger_meta",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_ledger_meta")),
    )
    op.create_table(
        "promotion_event",
        sa.Column(
            "sequence", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("at", sa.String(length=32), nullable=False),
        sa.Column("model_version", sa.String(length=40), nullable=False),
        sa.Column("to_alias", sa.String(length=20), nullable=False),
        sa.Column("from_alias", sa.String(length=20), nullable=True),
        sa.Column("previous_version", sa.String(length=40), nullable=True),
        sa.Column("who", sa.String(length=255), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("override", sa.Boolean(), nullable=False),
        sa.Column("gate_report", sa.Text(), nullable=False),
        sa.Column("head_sequence", sa.BigInteger(), nullable=False),
        sa.Column("head_hash", sa.String(length=64), nullable=False),
        sa.Column("previous_hash", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_promotion_event")),
    )
    op.create_table(
        "review_task",
        sa.Column("task_id", sa.String(length=40), nullable=False),
        sa.Column("subject_kind", sa.String(length=10), nullable=False),
        sa.Column("subject_id", sa.String(length=255), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("priority", sa.Float(), nullable=False),
        sa.Column("model_version", sa.String(length=40), nullable=True),
        sa.Column("round", sa.String(length=255), nullable=False),
        sa.Column("readings_required", sa.Integer(), nullable=False),
        sa.Column("blind", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("due_at", sa.String(length=32), nullable=True),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("task_id", name=op.f("pk_review_task")),
    )
    op.create_index(op.f("ix_review_task_state_priority"), "review_task", ["state", "priority"], unique=False)
    op.create_index(
        op.f("ix_review_task_subject_id_subject_kind"), "review_task", ["subject_id", "subject_kind"], unique=False
    )
    op.create_table(
        "root",
        sa.Column("root_id", sa.String(length=12), nullable=False),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("registered_at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("root_id", name=op.f("pk_root")),
    )
    op.create_table(
        "split_assignment",
        sa.Column("image_id", sa.String(length=80), nullable=False),
        sa.Column("split", sa.String(length=10), nullable=False),
        sa.Column("dataset_version", sa.String(length=40), nullable=False),
        sa.Column("at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("image_id", name=op.f("pk_split_assignment")),
    )
    op.create_table(
        "taxonomy_version",
        sa.Column(
            "sequence", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("at", sa.String(length=32), nullable=False),
        sa.Column("taxonomy", sa.Text(), nullable=False),
        sa.Column("who", sa.String(length=255), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("previous_hash", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_taxonomy_version")),
    )
    op.create_table(
        "external_id",
        sa.Column("image_id", sa.String(length=80), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("value", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(["image_id"], ["image.image_id"], name=op.f("fk_external_id_image_id")),
        sa.PrimaryKeyConstraint("image_id", "name", "value", name=op.f("pk_external_id")),
    )
    op.create_index(op.f("ix_external_id_value"), "external_id", ["value"], unique=False)
    op.create_table(
        "lease",
        sa.Column("task_id", sa.String(length=40), nullable=False),
        sa.Column("who", sa.String(length=255), nullable=False),
        sa.Column("leased_at", sa.String(length=32), nullable=False),
        sa.Column("expires_at", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["task_id"], ["review_task.task_id"], name=op.f("fk_lease_task_id")),
        sa.PrimaryKeyConstraint("task_id", "who", name=op.f("pk_lease")),
    )
    op.create_table(
        "near_duplicate",
        sa.Column("image_a", sa.String(length=80), nullable=False),
        sa.Column("image_b", sa.String(length=80), nullable=False),
        sa.Column("hash_distance", sa.Integer(), nullable=False),
        sa.Column("correlation", sa.Float(), nullable=False),
        sa.Column("transform", sa.String(length=40), nullable=False),
        sa.Column("binding", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["image_a"], ["image.image_id"], name=op.f("fk_near_duplicate_image_a")),
        sa.ForeignKeyConstraint(["image_b"], ["image.image_id"], name=op.f("fk_near_duplicate_image_b")),
        sa.PrimaryKeyConstraint("image_a", "image_b", name=op.f("pk_near_duplicate")),
    )
    op.create_table(
        "occurrence",
        sa.Column("root_id", sa.String(length=12), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("image_id", sa.String(length=80), nullable=False),
        sa.Column("file_name", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("modified_ns", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["image_id"], ["image.image_id"], name=op.f("fk_occurrence_image_id")),
        sa.ForeignKeyConstraint(["root_id"], ["root.root_id"], name=op.f("fk_occurrence_root_id")),
        sa.PrimaryKeyConstraint("root_id", "path", "image_id", name=op.f("pk_occurrence")),
    )
    op.create_index(op.f("ix_occurrence_file_name"), "occurrence", ["file_name"], unique=False)
    op.create_table(
        "quarantine",
        sa.Column("root_id", sa.String(length=12), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("batch", sa.String(length=255), nullable=False),
        sa.Column("at", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["root_id"], ["root.root_id"], name=op.f("fk_quarantine_root_id")),
        sa.PrimaryKeyConstraint("root_id", "path", name=op.f("pk_quarantine")),
    )

    dialect = op.get_bind().dialect.name
    for table, unique in GUARDED.items():
        for statement in guard_statements(table, unique, dialect):
            op.execute(statement)
