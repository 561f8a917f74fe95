"""Where the subjects of one batch stand while its events are being appended, one after another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, select

from data_contracts.ledger.chain import Row
from data_contracts.ledger.fold import (
    Standing,
    cancelled_events,
    counts,
    is_reading_of,
    settled,
    standings,
    undecided_tasks,
)
from data_contracts.ledger.lookups import rows_where_in
from data_contracts.ledger.tables import IMAGE, LABEL_EVENT
from data_contracts.ledger.taxonomies import taxonomy_in
from data_contracts.taxonomy import Taxonomy
from data_contracts.vocabulary import Action, SubjectKind

Subject = tuple[str, str]


@dataclass
class Standpoints:
    """Events and standing of the subjects of a batch, and of the groups of its images.

    ``unheard`` are tasks whose readings do not count: they decide nothing yet, or are left out on purpose.
    """

    events: dict[Subject, list[Row]]
    standing: dict[Subject, Standing]
    group_of: dict[str, str]
    taxonomy: Taxonomy
    unheard: frozenset[str] = frozenset()

    @classmethod
    def load(
        cls, connection: Connection, subjects: Iterable[tuple[SubjectKind, str]], *, without_task: str | None = None
    ) -> Standpoints:
        """Read what the ledger has on ``subjects``; the readings of ``without_task`` do not count."""
        wanted = {(kind.value, subject) for kind, subject in subjects}
        images = [subject for kind, subject in wanted if kind == SubjectKind.IMAGE]
        query = select(IMAGE.c.image_id, IMAGE.c.group_id).where(IMAGE.c.group_id.is_not(None))
        group_of = {row.image_id: row.group_id for row in rows_where_in(connection, query, IMAGE.c.image_id, images)}
        wanted |= {(SubjectKind.GROUP.value, group) for group in group_of.values()}
        events: dict[Subject, list[Row]] = defaultdict(list)
        stored = rows_where_in(
            connection, select(LABEL_EVENT), LABEL_EVENT.c.subject_id, (subject for _, subject in sorted(wanted))
        )
        for row in sorted(stored, key=lambda row: row.sequence):
            if (row.subject_kind, row.subject_id) in wanted:
                events[row.subject_kind, row.subject_id].append(dict(row._mapping))
        of_tasks = {row["task_id"] for rows in events.values() for row in rows if row["task_id"] is not None}
        unheard = undecided_tasks(connection, of_tasks) | ({without_task} if without_task is not None else set())
        standing = standings(row for rows in events.values() for row in rows if not is_reading_of(row, unheard))
        return cls(events, standing, group_of, taxonomy_in(connection), unheard)

    def apply(self, row: Row) -> None:
        """Take the next event into account."""
        subject = (row["subject_kind"], row["subject_id"])
        self.events[subject].append(row)
        if row["action"] == Action.UNDO:
            self.standing[subject] = standings(self._heard(subject)).get(subject, Standing())
        elif counts(row) and not is_reading_of(row, self.unheard):
            self.standing.setdefault(subject, Standing()).apply(row)

    def winner(self, kind: SubjectKind, subject_id: str) -> Row | None:
        """The event whose label holds for a subject; for an image, of its own events and its group's.

        Where the class that it says was split, it is the event that says since which of the new ones it is, if any.
        """
        subjects = [(kind.value, subject_id)]
        if kind == SubjectKind.IMAGE and subject_id in self.group_of:
            subjects.append((SubjectKind.GROUP.value, self.group_of[subject_id]))
        candidates = [self.standing[subject] for subject in subjects if subject in self.standing]
        best = max(candidates, key=lambda standing: standing.rank, default=None)
        if best is None or best.winner is None:
            return None
        if not self.taxonomy.splits:
            return dict(best.winner)
        said = [row for subject in subjects for row in self._heard(subject)]
        cancelled = cancelled_events(
            (row["event_id"], row["undoes"])
            for row in sorted(said, key=lambda row: row["sequence"])
            if row["action"] == Action.UNDO
        )
        holds = settled(best.winner, [row for row in said if row["event_id"] not in cancelled], self.taxonomy)
        return dict(best.winner if holds is None else holds)

    def label(self, kind: SubjectKind, subject_id: str) -> str | None:
        """The label that holds."""
        winner = self.winner(kind, subject_id)
        return None if winner is None else winner["label"]

    def event(self, kind: SubjectKind, subject_id: str, event_id: str) -> Row | None:
        """An event of this subject by its id."""
        return next((row for row in self.events[kind.value, subject_id] if row["event_id"] == event_id), None)

    def _heard(self, subject: Subject) -> list[Row]:
        return [row for row in self.events.get(subject, ()) if not is_reading_of(row, self.unheard)]

    def spelling(self, label: str) -> str:
        """The class that a label means; the label itself where the taxonomy does not know it."""
        return self.taxonomy.resolve(label) or label

    def may_mean(self, row: Row, label: str) -> bool:
        """Whether what an event said may be the class that ``label`` means now (a class may have been split since)."""
        return self.spelling(label) in self.taxonomy.possible(row["label"], event=row["sequence"])
