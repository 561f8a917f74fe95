"""From what the user said of files to label events: classes, label errors, conflicts, and no event twice."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from data_contracts.label_rules import Judgement, judge_labels, printable
from data_contracts.ledger.conflicts import record_conflicts
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.events import append_events, events_frame
from data_contracts.ledger.fold import current_labels
from data_contracts.ledger.taxonomies import follow_profile, save_taxonomy
from data_contracts.object_storage import Place
from data_contracts.profile import Profile
from data_contracts.records import Conflict, LabelError, NewLabelEvent
from data_contracts.taxonomy import Taxonomy
from data_contracts.vocabulary import Action, ConflictKind, Source, SubjectKind
from pipelines.steps.ingest_statements import Statement

_EVENTS_AT_ONCE = 5000


@dataclass(frozen=True)
class ImportedLabels:
    """What became of the labels: errors, conflicts (known ones included), sentences, and how many labels changed."""

    errors: tuple[LabelError, ...]
    conflicts: tuple[Conflict, ...]
    warnings: tuple[str, ...]
    labelled: int


def import_statements(
    ledger: Ledger,
    profile: Profile,
    said: Mapping[str, Sequence[Statement]],
    other_places: Mapping[str, Sequence[Place]],
    *,
    who: str,
    origin: str,
    allow_new_classes: bool,
) -> ImportedLabels:
    """Append an import event for each image whose files agree on a class that the ledger has not heard yet.

    Files with the same bytes but different classes are a conflict, and no event: which of them is right is for a
    person to say. An import never overrides a person's answer; that too is a conflict.

    Args:
        ledger: where.
        profile: what it says of its classes is brought into the taxonomy first.
        said: statements about each image, by image id.
        other_places: files with the image's bytes that were ingested before and are not part of this delivery.
        who: who is importing.
        origin: name of the labels file, or of the folder.
        allow_new_classes: accept labels that would be held for mistakes.
    """
    labels_of = {image: [s for s in statements if s.label] for image, statements in said.items()}
    counts = Counter(label for statements in labels_of.values() for label in {s.label for s in statements})
    taxonomy, remarks = follow_profile(ledger, profile.taxonomy, who)
    judged = judge_labels(counts, taxonomy, allow_new_classes=allow_new_classes)
    if judged.new_classes:
        taxonomy = save_taxonomy(ledger, taxonomy.extended(list(judged.new_classes)), who, f"classes found in {origin}")

    known = _KnownLabels(ledger, taxonomy)
    events: list[NewLabelEvent] = []
    conflicts: list[Conflict] = []
    changed = 0
    for image, statements in labels_of.items():
        classes = {judged.verdicts[s.label].class_name: s for s in reversed(statements)}
        classes.pop(None, None)
        if not classes:
            continue
        if len(classes) > 1:
            if not known.is_answered(image):
                conflicts.append(_disagreement(image, [s for s in statements if s in classes.values()], judged))
            continue
        name, statement = next((str(n), s) for n, s in classes.items())
        conflict = known.contradiction(image, name) or _other_place_conflict(image, name, known, other_places)
        if conflict is not None:
            conflicts.append(conflict)
        imported = known.imported.get(image)
        if imported == name or (conflict is not None and conflict.kind is ConflictKind.DUPLICATE_LABELS):
            continue
        changed += imported is not None and conflict is None
        events.append(
            NewLabelEvent(
                who=who,
                subject_id=image,
                action=Action.IMPORT,
                label=name,
                source=Source.IMPORT,
                note=f"{origin} row {statement.row}" if statement.row else f"folder in {origin}",
                request_id=f"ingest:{image}:{known.imports[image]}",
            )
        )
    for start in range(0, len(events), _EVENTS_AT_ONCE):
        append_events(ledger, events[start : start + _EVENTS_AT_ONCE])
    record_conflicts(ledger, conflicts)
    warnings = [*remarks, *judged.warnings]
    if changed:
        warnings.append(f"{changed:,} labels replace what an earlier import said.")
    return ImportedLabels(_label_errors(said, judged), tuple(conflicts), tuple(warnings), len(events))


class _KnownLabels:
    """What the ledger holds: the label last imported for each image, how often, and what persons answered."""

    def __init__(self, ledger: Ledger, taxonomy: Taxonomy) -> None:
        events = events_frame(ledger)
        imports = events[(events["action"] == Action.IMPORT) & (events["subject_kind"] == SubjectKind.IMAGE)]
        last = imports.drop_duplicates("subject_id", keep="last")
        spelling = {label: taxonomy.resolve(label) or label for label in last["label"].dropna().unique()}
        self.imported: dict[str, str] = dict(zip(last["subject_id"], last["label"].map(spelling), strict=True))
        self.split_away = {label for label in last["label"].dropna().unique() if taxonomy.split_of(label) is not None}
        self.imports: Counter[str] = Counter(imports["subject_id"].to_list())
        folded = current_labels(ledger)
        answered = folded[
            (folded["subject_kind"] == SubjectKind.IMAGE) & folded["label"].notna() & _is_answer(folded, events)
        ]
        number = answered["event_id"].map(events.set_index("event_id")["sequence"])
        columns = (answered["subject_id"].to_list(), answered["label"].to_list(), number.to_list())
        self._answers: dict[str, tuple[str, str]] = {
            image: (taxonomy.resolve(label) or label, who)
            for image, label, who in zip(*columns[:2], answered["who"].to_list(), strict=True)
        }
        self._may_be: dict[str, frozenset[str]] = {
            image: taxonomy.possible(label, event=at) for image, label, at in zip(*columns, strict=True)
        }

    def is_answered(self, image: str) -> bool:
        """Whether a person, not an import, gave the image's current label."""
        return image in self._answers

    def contradiction(self, image: str, label: str) -> Conflict | None:
        """The conflict of an imported label with a person's answer."""
        answer, who = self._answers.get(image, (label, ""))
        if answer == label or label in self._may_be.get(image, ()):  # its class was split: the file may say which
            return None
        return Conflict(
            kind=ConflictKind.IMPORT_AGAINST_HUMAN,
            subject_kind=SubjectKind.IMAGE,
            subject_id=image,
            labels=(answer, label),
            detail=f"{who} answered {answer!r}; the imported file says {label!r}. The answer stays.",
        )


def _is_answer(folded: pd.DataFrame, events: pd.DataFrame) -> pd.Series[bool]:
    action = folded["event_id"].map(events.set_index("event_id")["action"])
    return (action != Action.IMPORT.value) | (folded["source"] != Source.IMPORT.value)


def _disagreement(image: str, statements: Sequence[Statement], judged: Judgement) -> Conflict:
    names = tuple(sorted({str(judged.verdicts[s.label].class_name) for s in statements}))
    told = "; ".join(f"{printable(s.path)} is labelled {s.label!r}" for s in statements[:4])
    same_file = len({s.path for s in statements}) == 1
    return Conflict(
        kind=ConflictKind.DUPLICATE_LABELS,
        subject_kind=SubjectKind.IMAGE,
        subject_id=image,
        labels=names,
        detail=f"{'One file has' if same_file else 'Files with exactly the same bytes have'} different labels: {told}.",
    )


def _other_place_conflict(
    image: str, name: str, known: _KnownLabels, other_places: Mapping[str, Sequence[Place]]
) -> Conflict | None:
    """A label that differs from an earlier import's is a correction, unless that one spoke of another copy."""
    imported = known.imported.get(image)
    if imported is None or imported in {name, *known.split_away} or known.is_answered(image):
        return None
    still_there = [path for path in other_places.get(image, ()) if path.exists()]
    if not still_there:
        return None
    return Conflict(
        kind=ConflictKind.DUPLICATE_LABELS,
        subject_kind=SubjectKind.IMAGE,
        subject_id=image,
        labels=tuple(sorted((imported, name))),
        detail=f"{still_there[0]} was labelled {imported!r}; "
        f"a file with exactly the same bytes is now labelled {name!r}.",
    )


def _label_errors(said: Mapping[str, Sequence[Statement]], judged: Judgement) -> tuple[LabelError, ...]:
    """An error for each row whose label is no class; one for a whole class folder."""
    errors: list[LabelError] = []
    folders: dict[str, int] = defaultdict(int)
    listed = set()
    for statements in said.values():
        for statement in statements:
            if statement.row is None:
                if statement.label and judged.verdicts[statement.label].class_name is None:
                    folders[statement.label] += 1
                continue
            if statement.row in listed:  # one row speaks of every page of a TIFF
                continue
            verdict = judged.verdicts.get(statement.label)
            if verdict is None or verdict.class_name is None:
                listed.add(statement.row)
                reason = verdict.reason if verdict else "There is no label; the image is kept as unlabelled."
                nearest = verdict.nearest if verdict else None
                errors.append(LabelError(row=statement.row, value=statement.label, nearest=nearest, reason=reason))
    for label, n in sorted(folders.items()):
        verdict = judged.verdicts[label]
        reason = f"{verdict.reason} ({n} {'image' if n == 1 else 'images'} in this folder, kept as unlabelled.)"
        errors.append(LabelError(row=None, value=label, nearest=verdict.nearest, reason=reason))
    return tuple(sorted(errors, key=lambda error: error.row or 0))
