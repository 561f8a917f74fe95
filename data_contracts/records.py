"""What a record *is*: the frozen values that cross rooms."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from data_contracts.taxonomy import Taxonomy
from data_contracts.vocabulary import (
    Action,
    Alias,
    Certainty,
    ConflictKind,
    QuarantineKind,
    Source,
    Split,
    SubjectKind,
)


class Record(BaseModel):
    """Base of all records: frozen, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ImageRecord(Record):
    """One distinct image. ``image_id`` is the sha256 of the file's bytes, with ``#n`` for frame n of several.

    ``uri`` is ``root_id/relative/path`` (plus ``#n``) under a registered root. ``perceptual_hash`` is a signed 64-bit
    integer; ``brightness`` is the mean stored value, 0 (black) to 1, ``None`` for images of before it was asked.
    ``group`` (patient, lesion, tile, lot) is never split. ``given_split`` is what the user's split column said.
    """

    image_id: str
    uri: str
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    mode: str
    bit_depth: int
    format: str
    size_bytes: int
    perceptual_hash: int
    brightness: float | None = Field(default=None, ge=0, le=1)
    group: str | None = None
    series: str | None = None
    captured_at: datetime | None = None
    site: str | None = None
    given_split: Split | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)


class Occurrence(Record):
    """One place where an image's bytes were seen; size and modification time let a second ingest skip reading."""

    image_id: str
    root_id: str
    path: str
    size_bytes: int
    modified_ns: int
    external_ids: dict[str, str] = Field(default_factory=dict)


class QuarantinedFile(Record):
    """A file that was set aside, and why, in words that a person understands."""

    path: str
    kind: QuarantineKind
    reason: str


class LabelError(Record):
    """A row of a labels CSV that could not be used; ``row`` counts as a spreadsheet does (1 is the header)."""

    row: int | None
    value: str
    nearest: str | None
    reason: str


class NewLabelEvent(Record):
    """What somebody says about one subject, before the ledger gives it a place in the chain."""

    who: str = Field(min_length=1)
    subject_kind: SubjectKind = SubjectKind.IMAGE
    subject_id: str
    action: Action
    label: str | None = None
    note: str | None = None
    certainty: Certainty | None = None
    source: Source
    task_id: str | None = None
    seconds_spent: float | None = None
    model_version: str | None = None
    blind: bool = False
    undoes: str | None = Field(default=None, description="event_id that an undo takes back")
    request_id: str | None = Field(default=None, description="makes a repeated request idempotent")


class LabelEvent(NewLabelEvent):
    """One entry of the ledger. ``sequence`` counts from 1; ``hash`` is keyed and covers ``previous_hash``."""

    sequence: int
    event_id: str
    at: datetime
    previous_label: str | None = None
    previous_hash: str
    hash: str


class LedgerHead(Record):
    """The end of the chain: how many events there are, and the hash of the last (64 zeros when empty)."""

    sequence: int
    hash: str


class Conflict(Record):
    """Statements about one subject that cannot both be true."""

    kind: ConflictKind
    subject_kind: SubjectKind
    subject_id: str
    labels: tuple[str, ...]
    detail: str


class NearDuplicate(Record):
    """A pair of images that look the same. Only ``binding`` pairs keep two images in one split."""

    image_a: str
    image_b: str
    hash_distance: int
    correlation: float
    transform: str
    binding: bool


class DatasetVersion(Record):
    """An immutable data set: its manifest's content hash is its name."""

    dataset_version: str
    created_at: datetime
    manifest_sha256: str
    taxonomy: Taxonomy
    profile_hash: str
    ledger_head: LedgerHead
    test_edition: int
    parent: str | None
    counts: dict[str, dict[str, int]]
    imbalance_factor: float | None
    classes_under_minimum: tuple[str, ...]
    seed: int


class GateLook(Record):
    """One look of the gate, kept whether it agreed or not."""

    sequence: int
    at: datetime
    model_version: str
    against: str | None
    dataset_version: str
    passed: bool
    report: dict[str, Any]


class PromotionEvent(Record):
    """One move of an alias. ``override`` says that the gate had refused and a person went on."""

    sequence: int
    at: datetime
    model_version: str
    to_alias: Alias
    from_alias: Alias | None
    previous_version: str | None
    who: str
    why: str
    override: bool
    gate_report: dict[str, Any]
    ledger_head: LedgerHead
    previous_hash: str
    hash: str


class PromotionRequest(Record):
    """Somebody, or a sensor, asks that a model version becomes champion."""

    sequence: int
    at: datetime
    model_version: str
    gate_report: dict[str, Any]
    who: str
    why: str


class PromotionApproval(Record):
    """A lead's answer to a promotion request (its ``sequence``)."""

    sequence: int
    request: int
    at: datetime
    model_version: str
    who: str
    why: str
    approved: bool
