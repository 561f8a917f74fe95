"""The state of a task, as it follows from the label events that name it.

The rules, in full:

1. An answer that was undone does not count; of one person's answers that stand, the last counts.
2. An adjudication that stands closes the task.
3. As many readings as required, all saying the same, close it; differing, they make a dispute.
4. Somebody was unsure, and nobody is left who could still answer: a dispute. ``skip`` decides nothing.
5. Fewer readings than required: ``answered`` if there is one, else ``open``.

The stored state of a task only saves computing this; a property test holds one against the other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from data_contracts.ledger.fold import Event, cancelled_events
from data_contracts.vocabulary import Action, Source, TaskState

READING = frozenset({Action.LABEL.value, Action.CONFIRM.value, Action.CORRECT.value, Action.BAD_IMAGE.value})
"""Actions of a reader that decide something."""

SAID = {Action.UNSURE.value: "unsure", Action.SKIP.value: "skip"} | dict.fromkeys(READING, "answered")
"""What a reader's action counts as; the words of the table of who was served what."""


@dataclass(frozen=True)
class TaskStanding:
    """What stands of one task's events.

    Attributes:
        said: each person's last event that stands, in the order of the ledger.
        adjudication: the adjudication that stands, if there is one.
    """

    said: dict[str, Event]
    adjudication: Event | None

    @property
    def readings(self) -> list[Event]:
        """The answers that decide something, one per person, in the order of the ledger."""
        decided = [event for event in self.said.values() if event["action"] in READING]
        return sorted(decided, key=lambda event: int(event["sequence"]))

    def state(self, readings_required: int, people: Collection[str]) -> TaskState:
        """The state that follows; ``people`` are those who may answer tasks here."""
        if self.adjudication is not None:
            return TaskState.CLOSED
        readings = self.readings
        if len(readings) >= readings_required:
            same = len({verdict(event) for event in readings}) == 1
            return TaskState.CLOSED if same else TaskState.DISPUTED
        unsure = {who for who, event in self.said.items() if event["action"] == Action.UNSURE}
        left = set(people) - unsure - {event["who"] for event in readings}
        if unsure and not left:
            return TaskState.DISPUTED
        return TaskState.ANSWERED if readings else TaskState.OPEN


def verdict(event: Event) -> tuple[str, str | None]:
    """What a reading says, for comparing two."""
    return ("bad_image", None) if event["action"] == Action.BAD_IMAGE else ("label", event["label"])


def task_standing(events: Iterable[Event]) -> TaskStanding:
    """What stands of one task's events, given in the order of the ledger."""
    said: dict[str, Event] = {}
    adjudication: Event | None = None
    for event in standing_events(list(events)):
        if event["source"] == Source.ADJUDICATION:
            adjudication = event
        elif event["action"] in SAID:
            before = said.get(event["who"])
            if before is None or before["action"] == Action.SKIP or event["action"] != Action.SKIP:
                said[event["who"]] = event  # a skip takes no earlier answer back
    return TaskStanding(said, adjudication)


def standing_events(events: Sequence[Event]) -> list[Event]:
    """Events without undos and without what they take back."""
    cancelled = cancelled_events((e["event_id"], e["undoes"]) for e in events if e["action"] == Action.UNDO)
    return [e for e in events if e["action"] != Action.UNDO and e["event_id"] not in cancelled]


def is_second_event(events: Sequence[Event], event: Event) -> bool:
    """Whether a reading came after another of the same person that stood then: after the model was shown to them.

    Args:
        events: all events of the task, in the order of the ledger.
        event: one of them.
    """
    before = standing_events([e for e in events if int(e["sequence"]) < int(event["sequence"])])
    return event["action"] in READING and any(
        e["who"] == event["who"] and e["action"] in READING and e["source"] == event["source"] for e in before
    )
