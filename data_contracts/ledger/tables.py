"""The tables, as SQLAlchemy core. ``migrations`` builds them; a test compares the two.

Instants are text in UTC (ISO 8601 with microseconds) and structured values are canonical JSON text, so that what was
hashed comes back from any database byte for byte. On a PostgreSQL server every text column is ``text COLLATE "C"``
whatever length is said here, see :func:`data_contracts.ledger.postgresql.keep_text_as_it_is`.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, ForeignKey, Index, Integer, String, Table, Text

from data_contracts.ledger.column_kinds import HASH, ID, INSTANT, NAME
from data_contracts.ledger.column_kinds import METADATA as METADATA
from data_contracts.ledger.tables_review import REVIEW_TABLES as REVIEW_TABLES  # they belong to METADATA as well

LEDGER_META = Table(
    "ledger_meta",
    METADATA,
    Column("name", String(40), primary_key=True),
    Column("value", Text, nullable=False),
)

CHAIN_HEAD = Table(
    "chain_head",
    METADATA,
    Column("chain", String(40), primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("hash", HASH, nullable=False),
    Column("seal", HASH, nullable=False),
)
"""The end of each chain, sealed with the key: whoever cuts the end off cannot make a seal for what is left."""

ROOT = Table(
    "root",
    METADATA,
    Column("root_id", String(12), primary_key=True),
    Column("folder", Text, nullable=False),
    Column("registered_at", INSTANT, nullable=False),
)

IMAGE = Table(
    "image",
    METADATA,
    Column("image_id", ID, primary_key=True),
    Column("uri", Text, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("mode", String(20), nullable=False),
    Column("bit_depth", Integer, nullable=False),
    Column("format", String(20), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("perceptual_hash", BigInteger, nullable=False),
    Column("brightness", Float),
    Column("group_id", NAME, index=True),
    Column("series", NAME),
    Column("captured_at", INSTANT),
    Column("site", NAME),
    Column("given_split", String(10)),
    Column("metadata", Text, nullable=False),
    Column("batch", NAME, nullable=False, index=True),
    Column("first_seen", INSTANT, nullable=False),
)

OCCURRENCE = Table(
    "occurrence",
    METADATA,
    Column("root_id", String(12), ForeignKey("root.root_id"), primary_key=True),
    Column("path", Text, primary_key=True),
    Column("image_id", ID, ForeignKey("image.image_id"), primary_key=True),
    Column("file_name", Text, nullable=False, index=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("modified_ns", BigInteger, nullable=False),
)

EXTERNAL_ID = Table(
    "external_id",
    METADATA,
    Column("image_id", ID, ForeignKey("image.image_id"), primary_key=True),
    Column("name", NAME, primary_key=True),
    Column("value", NAME, primary_key=True, index=True),
)

QUARANTINE = Table(
    "quarantine",
    METADATA,
    Column("root_id", String(12), ForeignKey("root.root_id"), primary_key=True),
    Column("path", Text, primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("reason", Text, nullable=False),
    Column("batch", NAME, nullable=False),
    Column("at", INSTANT, nullable=False),
)

NEAR_DUPLICATE = Table(
    "near_duplicate",
    METADATA,
    Column("image_a", ID, ForeignKey("image.image_id"), primary_key=True),
    Column("image_b", ID, ForeignKey("image.image_id"), primary_key=True),
    Column("hash_distance", Integer, nullable=False),
    Column("correlation", Float, nullable=False),
    Column("transform", String(40), nullable=False),
    Column("binding", Boolean, nullable=False),
)

CONFLICT = Table(
    "conflict",
    METADATA,
    Column("conflict_id", HASH, primary_key=True),
    Column("kind", String(40), nullable=False),
    Column("subject_kind", String(10), nullable=False),
    Column("subject_id", NAME, nullable=False),
    Column("labels", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("at", INSTANT, nullable=False),
)

LABEL_EVENT = Table(
    "label_event",
    METADATA,
    Column("sequence", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("event_id", String(40), nullable=False, unique=True),
    Column("at", INSTANT, nullable=False),
    Column("who", NAME, nullable=False),
    Column("subject_kind", String(10), nullable=False),
    Column("subject_id", NAME, nullable=False),
    Column("action", String(20), nullable=False),
    Column("label", NAME),
    Column("previous_label", NAME),
    Column("note", Text),
    Column("certainty", String(10)),
    Column("source", String(20), nullable=False),
    Column("task_id", String(40)),
    Column("seconds_spent", Float),
    Column("model_version", String(40)),
    Column("blind", Boolean, nullable=False),
    Column("undoes", String(40)),
    Column("request_id", NAME, unique=True),
    Column("previous_hash", HASH, nullable=False),
    Column("hash", HASH, nullable=False),
    Index(None, "subject_id", "subject_kind"),
    Index(None, "task_id"),
)

PROMOTION_EVENT = Table(
    "promotion_event",
    METADATA,
    Column("sequence", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("at", INSTANT, nullable=False),
    Column("model_version", String(40), nullable=False),
    Column("to_alias", String(20), nullable=False),
    Column("from_alias", String(20)),
    Column("previous_version", String(40)),
    Column("who", NAME, nullable=False),
    Column("why", Text, nullable=False),
    Column("override", Boolean, nullable=False),
    Column("gate_report", Text, nullable=False),
    Column("head_sequence", BigInteger, nullable=False),
    Column("head_hash", HASH, nullable=False),
    Column("previous_hash", HASH, nullable=False),
    Column("hash", HASH, nullable=False),
)

GATE_LOOK = Table(
    "gate_look",
    METADATA,
    Column("sequence", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("at", INSTANT, nullable=False),
    Column("model_version", String(40), nullable=False),
    Column("against", String(40)),
    Column("dataset_version", String(40), nullable=False),
    Column("passed", Boolean, nullable=False),
    Column("report", Text, nullable=False),
    Column("previous_hash", HASH, nullable=False),
    Column("hash", HASH, nullable=False),
)

TAXONOMY_VERSION = Table(
    "taxonomy_version",
    METADATA,
    Column("sequence", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("at", INSTANT, nullable=False),
    Column("taxonomy", Text, nullable=False),
    Column("who", NAME, nullable=False),
    Column("why", Text, nullable=False),
    Column("previous_hash", HASH, nullable=False),
    Column("hash", HASH, nullable=False),
)
"""``sequence`` is the taxonomy's version."""

DATASET_VERSION = Table(
    "dataset_version",
    METADATA,
    Column("sequence", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("at", INSTANT, nullable=False),
    Column("dataset_version", String(40), nullable=False, index=True),
    Column("manifest_sha256", HASH, nullable=False),
    Column("head_sequence", BigInteger, nullable=False),
    Column("head_hash", HASH, nullable=False),
    Column("record", Text, nullable=False),
    Column("previous_hash", HASH, nullable=False),
    Column("hash", HASH, nullable=False),
)
"""One row each time curating arrives at a data set; a data set that is reached again gets a second row."""

SPLIT_ASSIGNMENT = Table(
    "split_assignment",
    METADATA,
    Column("image_id", ID, primary_key=True),
    Column("split", String(10), nullable=False),
    Column("dataset_version", String(40), nullable=False),
    Column("at", INSTANT, nullable=False),
)
