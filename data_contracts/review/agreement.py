"""How far readers agree with one another, with the model, and with themselves once they have seen the model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import Connection, select

from data_contracts.errors import BadInput
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.fold import current_labels
from data_contracts.ledger.tables import LABEL_EVENT
from data_contracts.ledger.tables_review import REVIEW_TASK
from data_contracts.ledger.taxonomies import current_taxonomy
from data_contracts.records import Record
from data_contracts.review.standing import READING, standing_events
from data_contracts.vocabulary import Action, Source

REPETITIONS = 2_000
BAD_IMAGE = "bad_image"
"""What an answer 'bad image' counts as beside the classes; no class can be called so by chance, see :func:`said`."""


class Kappa(NamedTuple):
    """Cohen's kappa with its 95% interval; all three are NaN where it is not defined (one class only, no pairs)."""

    value: float
    low: float
    high: float


def cohen_kappa(a: Sequence[str], b: Sequence[str], *, seed: int = 0, repetitions: int = REPETITIONS) -> Kappa:
    """Agreement of two readings beyond chance, with a 95% interval (percentile bootstrap over the pairs).

    Cohen (1960), A coefficient of agreement for nominal scales.

    Args:
        a: first readings.
        b: second readings of the same subjects, in the same order.
        seed: of the bootstrap.
        repetitions: of the bootstrap.

    Returns:
        :class:`Kappa`: 1 for perfect agreement, 0 for what chance gives, NaN where it is not defined.

    Raises:
        BadInput: the two are not equally long.

    Example:
        >>> round(cohen_kappa(["x", "x", "y", "y"], ["x", "x", "y", "x"]).value, 2)
        0.5
    """
    if len(a) != len(b):
        raise BadInput(f"Two readings of the same subjects are equally long; these are {len(a)} and {len(b)}.")
    if not len(a):
        return Kappa(float("nan"), float("nan"), float("nan"))
    classes = {label: number for number, label in enumerate(sorted({*a, *b}))}
    cells, counts = np.unique(
        np.array([[classes[x], classes[y]] for x, y in zip(a, b, strict=True)]), axis=0, return_counts=True
    )
    drawn = np.random.default_rng(seed).multinomial(len(a), counts / counts.sum(), size=repetitions)
    replicates = _kappa(cells, drawn, len(classes))
    defined = replicates[np.isfinite(replicates)]
    value = float(_kappa(cells, counts[None, :], len(classes))[0])
    if not np.isfinite(value) or not len(defined):
        return Kappa(value, float("nan"), float("nan"))
    low, high = np.quantile(defined, [0.025, 0.975])
    return Kappa(value, float(low), float(high))


class AgreementFigures(Record):
    """Agreement over everything that was answered; a figure without data is ``None``.

    Attributes:
        pairs: subjects with two blind first readings.
        kappa, kappa_low, kappa_high: of these.
        shown: answers that stand, given while the model's prediction was visible.
        overridden: of these, how many say something else than the model.
        second_events: read-first answers given after the model was shown.
        changed: of these, how many changed the first answer.
        right_to_wrong, wrong_to_right: of the changed, by a truth that is stronger than any reader (an adjudication, or
            a reference such as histology or teardown).
        wrong_to_wrong: changed from one wrong class to another.
        changed_truth_unknown: changed, and nobody knows the truth.
    """

    pairs: int
    kappa: float | None
    kappa_low: float | None
    kappa_high: float | None
    shown: int
    overridden: int
    second_events: int
    changed: int
    right_to_wrong: int
    wrong_to_right: int
    wrong_to_wrong: int
    changed_truth_unknown: int

    @property
    def override_rate(self) -> float | None:
        """Share of answers against the model, among those given in its sight."""
        return self.overridden / self.shown if self.shown else None


@dataclass(frozen=True)
class Reading:
    """The answers of one person to one task that stand: ``first``, and ``last`` (another one after the model)."""

    task: Mapping[str, Any]
    who: str
    first: Mapping[str, Any]
    last: Mapping[str, Any]

    @property
    def second_event(self) -> bool:
        """Whether there is an answer after the model was shown."""
        return bool(self.last["event_id"] != self.first["event_id"])

    @property
    def overrides(self) -> bool | None:
        """Whether the person went against the model; ``None`` if they did not see it."""
        predicted: str | None = self.task["predicted"]
        return None if self.last["blind"] or predicted is None else said(self.last) != predicted


def agreement_figures(ledger: Ledger, *, who: str | None = None, seed: int = 0) -> AgreementFigures:
    """:class:`AgreementFigures` of everybody, or without the pairs of one person."""
    with ledger.reading() as connection:
        found = list(readings(connection))
    own = [reading for reading in found if who in (None, reading.who)]
    return figures_of(own, found if who is None else [], _truths(ledger), seed)


def figures_of(
    own: Sequence[Reading], paired: Sequence[Reading], truths: Mapping[tuple[str, str], str], seed: int
) -> AgreementFigures:
    """Figures of ``own`` readings, with the agreement among ``paired``; truth by (subject kind, subject id)."""
    by_task: dict[str, list[Reading]] = defaultdict(list)
    for reading in paired:
        if reading.first["blind"]:
            by_task[reading.task["task_id"]].append(reading)
    pairs = [(said(two[0].first), said(two[1].first)) for two in by_task.values() if len(two) >= 2]
    kappa = cohen_kappa([a for a, _ in pairs], [b for _, b in pairs], seed=seed)
    overrides = [reading.overrides for reading in own if reading.overrides is not None]
    seconds = [reading for reading in own if reading.second_event]
    changes = dict.fromkeys(("right_to_wrong", "wrong_to_right", "wrong_to_wrong", "changed_truth_unknown"), 0)
    changed = [reading for reading in seconds if said(reading.first) != said(reading.last)]
    for reading in changed:
        truth = truths.get((reading.task["subject_kind"], reading.task["subject_id"]))
        changes[_change(said(reading.first), said(reading.last), truth)] += 1
    return AgreementFigures(
        pairs=len(pairs),
        kappa=_finite(kappa.value),
        kappa_low=_finite(kappa.low),
        kappa_high=_finite(kappa.high),
        shown=len(overrides),
        overridden=sum(overrides),
        second_events=len(seconds),
        changed=len(changed),
        **changes,
    )


def readings(connection: Connection) -> Iterator[Reading]:
    """Every person's answers to every task, as far as they stand, in the order of the ledger."""
    columns = ("task_id", "subject_kind", "subject_id", "predicted", "purpose", "readings_required")
    tasks = {row["task_id"]: dict(row) for row in connection.execute(_columns(REVIEW_TASK, columns)).mappings()}
    names = ("sequence", "event_id", "at", "who", "action", "label", "source", "task_id", "blind", "undoes")
    query = _columns(LABEL_EVENT, (*names, "seconds_spent")).where(LABEL_EVENT.c.task_id.is_not(None))
    by_task: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for event in connection.execute(query.order_by(LABEL_EVENT.c.sequence)).mappings():
        by_task[event["task_id"]].append(dict(event))
    for task_id, events in by_task.items():
        if task_id not in tasks:  # a label that was imported with the task id of another system
            continue
        own: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for standing in standing_events(events):
            if standing["action"] in READING and standing["source"] == Source.READER:
                own[standing["who"]].append(dict(standing))
        for who, answers in own.items():
            yield Reading(tasks[task_id], who, answers[0], answers[-1])


def said(event: Mapping[str, Any]) -> str:
    """What an answer says, for comparing: a class, or that the image is bad (with a sign no class name has)."""
    return f"\0{BAD_IMAGE}" if event["action"] == Action.BAD_IMAGE else str(event["label"])


def _columns(table: Any, names: Sequence[str]) -> Any:
    return select(*[table.c[name] for name in names])


def _truths(ledger: Ledger) -> dict[tuple[str, str], str]:
    """Class by subject, where something stronger than a reader has said it."""
    folded, taxonomy = current_labels(ledger), current_taxonomy(ledger)
    strong = folded[folded["source"].isin([Source.ADJUDICATION.value, Source.REFERENCE.value])]
    return {
        (str(row.subject_kind), str(row.subject_id)): taxonomy.resolve(row.label) or row.label
        for row in strong.itertuples()
        if isinstance(row.label, str)
    }


def _change(first: str, last: str, truth: str | None) -> str:
    if truth is None:
        return "changed_truth_unknown"
    if first == truth:
        return "right_to_wrong"
    return "wrong_to_right" if last == truth else "wrong_to_wrong"


def _kappa(cells: Any, counts: Any, classes: int) -> Any:
    """Kappa of each row of ``counts`` (replicates × cells); ``cells`` (cells × 2, int) are pairs of class numbers."""
    total = counts.sum(axis=1)
    observed = (counts * (cells[:, 0] == cells[:, 1])).sum(axis=1) / total
    rows = counts @ (cells[:, :1] == np.arange(classes)).astype(float)
    columns = counts @ (cells[:, 1:] == np.arange(classes)).astype(float)
    expected = (rows * columns).sum(axis=1) / total.astype(float) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(expected < 1, (observed - expected) / (1 - expected), np.nan)


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
