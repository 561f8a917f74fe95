"""The desk of the Review screen: one task after another, served with a lease, the next three made ready."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from data_contracts.ledger.tables import LABEL_EVENT
from data_contracts.review import serving, tasks
from data_contracts.review.decide import decide
from data_contracts.review.records import Answer, Receipt, ReviewTask
from data_contracts.review.task_rows import UNSETTLED
from data_contracts.review.undo import undo
from data_contracts.vocabulary import Action, Certainty
from review_app.desk import Desk, Reply, Request, Said, new_visit
from review_app.service import OVERLAY, ReviewService
from review_app.shapes import item_of, reveal_of
from review_app.texts import Texts

WINDOW = 4
"""The image on the screen and the next three."""

LOOK_BACK = 50
"""Events of a person among which the last answer that stands is looked for after a restart."""

RENEW_SECONDS = 120.0
_LOCKING = frozenset({Action.LABEL, Action.CONFIRM, Action.CORRECT, Action.BAD_IMAGE})


@dataclass
class Place:
    """One task on the desk. ``model_seen``: its reader has been shown what the model thinks."""

    visit: str
    task: ReviewTask
    undone: bool = False
    model_seen: bool = False
    locked: bool = False


class ReviewDesk(Desk):
    """Serves tasks, keeps answers, takes them back."""

    name = "review"

    def __init__(self, service: ReviewService, who: str, texts: Texts) -> None:
        super().__init__(service, who, texts)
        self.places: list[Place] = []
        self._left: dict[str, Place] = {}
        self._renewed_at = time.monotonic()
        self._read_first = service.profile.review.read_first

    def _settle(self, request: Request) -> Reply:
        kind = request["kind"]
        if kind == "answer":
            return self._say(request)
        if kind == "second":
            return self._second(request)
        if kind == "revise":
            self._take_back(str(request["visit"]), f"{request['request_id']}:undo", show_again=False)
            return self._say(request)
        if kind == "undo":
            return self._take_back(request.get("of_visit"), str(request["request_id"]), show_again=True)
        self._leave(str(request["visit"]))
        return {}

    def after_refusal(self, request: Request) -> None:
        """A task that somebody else answered meanwhile leaves the desk."""
        if request.get("kind") == "answer":
            self._leave(str(request.get("visit")), str(request.get("task_id")))

    def _say(self, request: Request) -> Reply:
        visit, task_id = str(request["visit"]), str(request["task_id"])
        place = self._find(visit, task_id)
        receipt = self._decide(request, model_shown=place is not None and self._shows_model(place))
        self._remember(visit, {task_id: receipt.event_id})
        self.done += 1
        self._waiting = max(0, self._waiting - 1)
        locks = self._read_first and Action(request["action"]) in _LOCKING
        if place is None:
            return {"label": receipt.label}
        shown_later = self._is_hidden(place) and Action(request["action"]) in _LOCKING
        if not shown_later:
            self._leave(visit, task_id)
            return {"label": receipt.label}
        place.model_seen = True
        may_change = locks and not place.task.blind and request["kind"] == "answer"
        if may_change:
            place.locked = True
        else:
            self._leave(visit, task_id)
        reveal = reveal_of(place.task, self.texts, with_reason=not place.task.blind)
        return {"label": receipt.label, "reveal": reveal, "locked": may_change}

    def _second(self, request: Request) -> Reply:
        visit, task_id = str(request["visit"]), str(request["task_id"])
        receipt = self._decide(request, model_shown=True)  # an undo of the first answer takes this one back as well
        self._leave(visit, task_id)
        return {"label": receipt.label}

    def _decide(self, request: Request, *, model_shown: bool) -> Receipt:
        certainty = request.get("certainty")
        answer = Answer(
            task_id=str(request["task_id"]),
            request_id=str(request["request_id"]),
            action=Action(request["action"]),
            label=request.get("label"),
            note=request.get("note"),
            certainty=None if certainty is None else Certainty(certainty),
            seconds_spent=request.get("seconds"),
            model_shown=model_shown,
        )
        return decide(self.service.ledger, self.who, answer, read_first=self._read_first)

    def _take_back(self, of_visit: object, request_id: str, *, show_again: bool) -> Reply:
        said = self._last_said(None if of_visit is None else str(of_visit))
        (event_id,) = said.events.values()
        receipt = undo(self.service.ledger, self.who, event_id, request_id=request_id)
        if said in self.said:
            self.said.remove(said)
        self.done = max(0, self.done - 1)
        self._waiting += 1
        before = self._left.get(said.visit) or self._find(said.visit, receipt.task_id)
        self._leave(said.visit, receipt.task_id)
        if show_again and receipt.task_state in UNSETTLED:  # what stays settled has nothing to ask any more
            task = before.task if before is not None else tasks.task(self.service.ledger, receipt.task_id)
            # Whoever answered has been told what the model thought; after a restart nobody knows better than that.
            seen = before.model_seen if before is not None else True
            self.places.insert(0, Place(new_visit(), task, undone=True, model_seen=seen))
        return {"visit": said.visit}

    def _last_said(self, of_visit: str | None) -> Said:
        """What an undo takes back; after a restart of the server the ledger knows what this person said last."""
        if self.said or of_visit is not None:
            return super()._last_said(of_visit)
        columns = LABEL_EVENT.c
        query = select(columns.event_id, columns.task_id, columns.undoes, columns.action)
        mine = query.where(columns.who == self.who, columns.task_id.is_not(None)).order_by(columns.sequence.desc())
        taken_back: set[str] = set()
        with self.service.ledger.reading() as connection:
            for event in connection.execute(mine.limit(LOOK_BACK)):
                if event.action == Action.UNDO:
                    taken_back.add(event.undoes)
                elif event.event_id not in taken_back:
                    return Said(new_visit(), {event.task_id: event.event_id})
        return super()._last_said(None)

    def _items(self) -> list[dict[str, Any]]:
        self._fill()
        return [self._item(place) for place in self.places]

    def _item(self, place: Place) -> dict[str, Any]:
        hidden = self._is_hidden(place) and not place.locked
        item = item_of(self.service, place.task, place.visit, self.texts, hidden=hidden)
        return {**item, "undone": place.undone, "blind": self._is_hidden(place)}

    def _fill(self) -> None:
        """Keep what lies here, and have the next three ready."""
        ledger = self.service.ledger
        held = [place.task.task_id for place in self.places]
        if held and time.monotonic() - self._renewed_at > RENEW_SECONDS:
            self._renewed_at = time.monotonic()
            kept = set(serving.renew(ledger, self.who, held))
            self.places = [place for place in self.places if place.locked or place.task.task_id in kept]
        lacking = WINDOW - len(self.places)
        if lacking > 0:
            for task in serving.serve(ledger, self.who, count=lacking, exclude=held):
                self.places.append(Place(new_visit(), task))

    def _count_waiting(self) -> int:
        return serving.waiting(self.service.ledger, self.who)

    def _more(self) -> dict[str, Any]:
        return {"read_first": self._read_first}

    def _is_hidden(self, place: Place) -> bool:
        return place.task.blind or self._read_first

    def _shows_model(self, place: Place) -> bool:
        return place.task.predicted is not None and (place.model_seen or not self._is_hidden(place))

    def _may_see(self, name: str) -> bool:
        """The pictures of images that were answered here lately, and overlays of decisions that are locked."""
        kind, _, image_id = name.partition(":")
        places = [*self._left.values(), *self.places]
        return any(
            image_id in place.task.image_ids
            and (kind != OVERLAY or not self._is_hidden(place) or (place.model_seen and not place.task.blind))
            for place in places
        )

    def _find(self, visit: str, task_id: str) -> Place | None:
        """Where a task lies; one that a restarted server has served anew is known by its task."""
        for place in (*self.places, *self._left.values()):
            if place.visit == visit:
                return place
        return next((place for place in self.places if place.task.task_id == task_id), None)

    def _leave(self, visit: str, task_id: str | None = None) -> None:
        for place in [p for p in self.places if p.visit == visit or p.task.task_id == task_id]:
            self.places.remove(place)
            place.locked = False
            self._left[visit] = place
        for old in list(self._left)[:-30]:
            del self._left[old]


def give_back(service: ReviewService, who: str) -> None:
    """Free the tasks of somebody who leaves, so that others need not wait for the lease to expire."""
    serving.release(service.ledger, who)
