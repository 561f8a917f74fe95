"""From events to current labels: the stronger source wins, then the later event.

The rules, in full:

1. An undo takes its target away; an undo of an undo brings the target back.
2. ``unsure`` and ``skip`` are kept, and change nothing.
3. Among the labels that stand, the stronger source wins (import < reader < adjudication < reference).
4. At equal strength an answer given here wins over an imported one, whenever the file was imported: an old CSV never
   takes back what a person decided since.
5. Then the later event wins.
6. ``bad_image`` makes the subject unusable until a later label of the same or a stronger source.
7. Labels are read with today's classes: a former name means the class that it was renamed to or merged into. The label
   of a class that was split since leaves its subject unlabelled, until an answer of any source, later than the split,
   says which of the new classes it is; of several such answers rules 3 to 5 choose. See
   :mod:`data_contracts.taxonomy_changes`.
8. The readings of a task count together or not at all, labels and ``bad_image`` alike: while a task waits for another
   reading, and while its readings differ, what counted without them goes on counting. As many readings as the task
   requires, saying the same, or an adjudication that stands, end that.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from sqlalchemy import Connection, select

from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.event_tables import event_frame_of
from data_contracts.ledger.lookups import rows_where_in
from data_contracts.ledger.tables import IMAGE
from data_contracts.ledger.tables_review import REVIEW_TASK
from data_contracts.ledger.taxonomies import taxonomy_in
from data_contracts.taxonomy import Taxonomy
from data_contracts.vocabulary import Action, Source, SubjectKind, TaskState

LABELLING = frozenset({Action.LABEL, Action.CONFIRM, Action.CORRECT, Action.ADJUDICATE, Action.IMPORT})
"""Actions that state a label."""

FOLD_COLUMNS = ("subject_kind", "subject_id", "label", "source", "who", "at", "certainty", "event_id", "bad_image")

_SUBJECT = ["subject_kind", "subject_id"]
_FACTS = ("label", "source", "who", "at", "certainty", "event_id")
_STRENGTH = {source.value: source.strength for source in Source}
_UNDECIDED = (TaskState.ANSWERED.value, TaskState.DISPUTED.value)
_LABELLING = {action.value for action in LABELLING}

Event = Mapping[str, Any]


@dataclass
class Standing:
    """Where one subject stands after the events so far. ``winner`` is the event whose label holds, if any."""

    winner: Event | None = None
    rank: tuple[int, bool, int] = (-1, False, 0)
    bad_marks: list[int] = field(default_factory=list)

    @property
    def label(self) -> str | None:
        """The label that holds."""
        return None if self.winner is None else self.winner["label"]

    @property
    def bad_image(self) -> bool:
        """Whether the subject is unusable."""
        return bool(self.bad_marks)

    def apply(self, event: Event) -> None:
        """Take one standing event into account; events come in the order of the ledger. Undos are not for here."""
        strength = _STRENGTH[event["source"]]
        if event["action"] == Action.BAD_IMAGE:
            self.bad_marks.append(strength)
        elif event["action"] in _LABELLING and event["label"] is not None:
            self.bad_marks = [mark for mark in self.bad_marks if mark > strength]
            rank = _rank(event)
            if rank > self.rank:
                self.winner, self.rank = event, rank


def _rank(event: Event) -> tuple[int, bool, int]:
    """What decides between two labels: source, given here or imported, place in the ledger."""
    return _STRENGTH[event["source"]], event["action"] != Action.IMPORT, int(event["sequence"])


def settled(winner: Event, events: Iterable[Event], taxonomy: Taxonomy) -> Event | None:
    """The event that says what class a subject is of: ``winner``, unless its class was split since (rule 7).

    Args:
        winner: the event whose label holds by rules 1 to 6.
        events: all standing events on the subject.
        taxonomy: the current one.

    Returns:
        ``None`` where the class was split and nobody has said since which of the new ones it is.
    """
    split = taxonomy.split_before(winner["label"], int(winner["sequence"]))
    possible = taxonomy.possible(winner["label"], event=int(winner["sequence"]))
    if split is None or len(possible) <= 1:
        return winner
    answers = [
        event
        for event in events
        if event["action"] in _LABELLING
        and event["label"] is not None
        and int(event["sequence"]) > split.events
        and len(said := taxonomy.possible(event["label"], event=int(event["sequence"]))) == 1
        and said <= possible
    ]
    return max(answers, key=_rank, default=None)


def cancelled_events(undos: Iterable[tuple[str, str | None]]) -> set[str]:
    """Ids of the events that undos take away.

    Args:
        undos: (event id, id of its target) of every undo, in the order of the ledger.
    """
    cancelled: set[str] = set()
    for event_id, target in reversed(list(undos)):  # an undo can only be undone by a later one
        if event_id not in cancelled and target is not None:
            cancelled.add(target)
    return cancelled


def counts(event: Event) -> bool:
    """Whether an event says something of its subject's label or use; undos, ``unsure`` and ``skip`` do not."""
    return event["action"] in _LABELLING or event["action"] == Action.BAD_IMAGE


def undecided_tasks(connection: Connection, task_ids: Iterable[str] | None = None) -> frozenset[str]:
    """Ids of the tasks with readings that decide nothing yet (rule 8); of ``task_ids`` only, where given.

    Either another reading is missing, or those that there are differ and wait for an adjudicator.
    """
    query = select(REVIEW_TASK.c.task_id).where(REVIEW_TASK.c.state.in_(_UNDECIDED))
    rows = (
        connection.execute(query)
        if task_ids is None
        else rows_where_in(connection, query, REVIEW_TASK.c.task_id, task_ids)
    )
    return frozenset(row.task_id for row in rows)


def is_reading_of(event: Event, tasks: Collection[str]) -> bool:
    """Whether an event is a reading of one of ``tasks``; undos and adjudications are none."""
    return (
        bool(tasks)
        and event["task_id"] in tasks
        and event["source"] == Source.READER
        and event["action"] != Action.UNDO
    )


def without_readings_of(tasks: Collection[str], events: pd.DataFrame) -> pd.DataFrame:
    """A table of events without the readings of ``tasks``."""
    if not tasks:
        return events
    readings = (events["source"] == Source.READER.value) & (events["action"] != Action.UNDO.value)
    return events[~(readings & events["task_id"].isin(set(tasks)))]


def standings(events: Iterable[Event]) -> dict[tuple[str, str], Standing]:
    """Where each subject stands, by (subject kind, subject id); ``events`` in the order of the ledger.

    They come without the readings of undecided tasks (rule 8).
    """
    listed = list(events)
    cancelled = cancelled_events((e["event_id"], e["undoes"]) for e in listed if e["action"] == Action.UNDO)
    result: dict[tuple[str, str], Standing] = {}
    for event in listed:
        if counts(event) and event["event_id"] not in cancelled:
            result.setdefault((event["subject_kind"], event["subject_id"]), Standing()).apply(event)
    return result


def fold_labels(events: pd.DataFrame) -> pd.DataFrame:
    """The current label of every subject that has one, or is marked as a bad image.

    Args:
        events: columns of :func:`~data_contracts.ledger.events.events_frame`, without the readings of undecided tasks
            (see :func:`without_readings_of`); any row order.

    Returns:
        One row per subject: ``subject_kind, subject_id, label`` (null where the subject only is a bad image),
        ``source, who, at, certainty, event_id`` of the event that holds, ``bad_image`` (bool). Sorted by subject.
    """
    ordered = events.sort_values("sequence", kind="stable")
    undos = ordered[ordered["action"] == Action.UNDO]
    cancelled = cancelled_events(zip(undos["event_id"], undos["undoes"], strict=True))
    standing = ordered[~ordered["event_id"].isin(cancelled)]
    stated = standing[standing["action"].isin(_LABELLING) & standing["label"].notna()]
    winners = (
        stated.assign(strength=stated["source"].map(_STRENGTH), direct=stated["action"] != Action.IMPORT)
        .sort_values(["strength", "direct", "sequence"], kind="stable")
        .drop_duplicates(_SUBJECT, keep="last")
    )
    marked = standing.loc[standing["action"] == Action.BAD_IMAGE, _SUBJECT].drop_duplicates()
    bad = _bad_images(standing.merge(marked, on=_SUBJECT, how="inner"))
    unlabelled = bad.merge(winners[_SUBJECT], on=_SUBJECT, how="left", indicator=True)
    folded = pd.concat(
        [winners[list(FOLD_COLUMNS[:-1])], unlabelled.loc[unlabelled["_merge"] == "left_only", _SUBJECT]]
    )
    folded = folded.merge(bad.assign(bad_image=True), on=_SUBJECT, how="left").sort_values(_SUBJECT, kind="stable")
    folded["bad_image"] = folded["bad_image"].eq(True)
    texts = [name for name in FOLD_COLUMNS if name not in ("at", "bad_image")]
    folded[texts] = folded[texts].astype(object).where(folded[texts].notna(), None)
    return folded.astype({"at": "datetime64[ns, UTC]", "bad_image": bool}).reset_index(drop=True)


def _bad_images(events: pd.DataFrame) -> pd.DataFrame:
    """Which subjects are unusable, from the standing events of those that somebody marked."""
    plain = events.astype(object).where(events.notna(), None)
    records = [dict(zip(plain.columns, row, strict=True)) for row in plain.itertuples(index=False, name=None)]
    return pd.DataFrame([key for key, s in standings(records).items() if s.bad_image], columns=_SUBJECT, dtype=object)


def current_labels(ledger: Ledger) -> pd.DataFrame:
    """:func:`fold_labels` of the whole ledger: labels as they were said, of images and of groups."""
    with ledger.reading() as connection:
        return fold_labels(without_readings_of(undecided_tasks(connection), event_frame_of(connection)))


def image_answers(ledger: Ledger) -> pd.DataFrame:
    """The answer that holds for every known image: what was said of the image and of its group, folded together.

    Returns:
        One row per image of the ledger, by ``image_id``: ``label`` (a class of the current taxonomy where it knows the
        label or its alias), ``source, who, at, certainty, event_id`` of the event that holds (all null without a
        label), ``bad_image`` (bool), and ``split_label``: what was said, where its class was split since and nobody
        has said yet which of the new ones it is (``label`` is null then).
    """
    with ledger.reading() as connection:
        events = without_readings_of(undecided_tasks(connection), event_frame_of(connection))
        query = select(IMAGE.c.image_id, IMAGE.c.group_id).order_by(IMAGE.c.image_id)
        images = pd.DataFrame(connection.execute(query).all(), columns=["image_id", "group_id"], dtype=object)
        taxonomy = taxonomy_in(connection)
    of_groups = events["subject_kind"] == SubjectKind.GROUP
    if of_groups.any():
        expanded = events[of_groups].merge(images, left_on="subject_id", right_on="group_id", how="inner")
        expanded = expanded.assign(subject_kind=SubjectKind.IMAGE.value, subject_id=expanded["image_id"])
        events = pd.concat([events[~of_groups], expanded[events.columns]], ignore_index=True)
    folded = _read_with(taxonomy, fold_labels(events), events)
    folded = folded.rename(columns={"subject_id": "image_id"}).drop(columns="subject_kind")
    result = images[["image_id"]].merge(folded, on="image_id", how="left")
    result["bad_image"] = result["bad_image"].eq(True)
    for column in ("label", "source", "who", "certainty", "event_id", "split_label"):
        result[column] = result[column].astype(object).where(result[column].notna(), None)
    return result


def _read_with(taxonomy: Taxonomy, folded: pd.DataFrame, events: pd.DataFrame) -> pd.DataFrame:
    """Folded labels as classes of the current taxonomy, with a column ``split_label`` (rule 7)."""
    affected = {label for split in taxonomy.splits for label in split.labels}
    spelling = {label: taxonomy.resolve(label) or label for label in folded["label"].dropna().unique()}
    read = folded.assign(label=folded["label"].map(spelling), split_label=None)
    doubtful = folded[folded["label"].isin(affected)]
    if doubtful.empty:
        return read
    subjects = doubtful[_SUBJECT].merge(events, on=_SUBJECT, how="inner").sort_values("sequence", kind="stable")
    plain = subjects.astype(object).where(subjects.notna(), None)
    records = [dict(zip(plain.columns, row, strict=True)) for row in plain.itertuples(index=False, name=None)]
    cancelled = cancelled_events((e["event_id"], e["undoes"]) for e in records if e["action"] == Action.UNDO)
    standing: dict[tuple[str, str], list[Event]] = defaultdict(list)
    for event in records:
        if event["event_id"] not in cancelled:
            standing[event["subject_kind"], event["subject_id"]].append(event)
    columns = (doubtful[name] for name in (*_SUBJECT, "event_id"))
    for row, kind, subject, event_id in zip(doubtful.index, *columns, strict=True):
        said = standing[kind, subject]
        winner = next(event for event in said if event["event_id"] == event_id)
        holds = settled(winner, said, taxonomy)
        if holds is None:
            read.loc[row, "split_label"] = winner["label"]
            read.loc[row, list(_FACTS)] = [None, None, None, pd.NaT, None, None]
            continue
        meant = taxonomy.possible(holds["label"], event=int(holds["sequence"]))
        read.loc[row, list(_FACTS)] = [
            next(iter(meant), holds["label"]),
            *(holds[name] for name in _FACTS[1:]),
        ]
    return read


def image_labels(ledger: Ledger) -> pd.DataFrame:
    """The label of every known image: ``image_id, label, source`` (null without a label), ``bad_image`` (bool).

    See :func:`image_answers`, of which it is a part.
    """
    return image_answers(ledger)[["image_id", "label", "source", "bad_image"]]
