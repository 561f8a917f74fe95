"""The desk of the Disagreements screen: readings that differ, settled by an adjudicator or given back to readers."""

from __future__ import annotations

from typing import Any

from data_contracts.review.adjudicate import adjudicate, disputes
from data_contracts.review.records import Dispute
from data_contracts.review.undo import undo
from data_contracts.vocabulary import Action
from review_app.desk import Desk, Reply, Request, new_visit
from review_app.service import OVERLAY, ReviewService
from review_app.shapes import item_of
from review_app.texts import Texts

SHOWN = 4


class DisputeDesk(Desk):
    """Disputes one after another, oldest first, with both readings and what the model thinks."""

    name = "disputes"

    def __init__(self, service: ReviewService, who: str, texts: Texts) -> None:
        super().__init__(service, who, texts)
        self._visits: dict[str, str] = {}
        self._skipped: list[str] = []
        self._undone: str | None = None
        self._total = 0
        self._seen: set[str] = set()

    def _settle(self, request: Request) -> Reply:
        if request["kind"] == "undo":
            return self._take_back(request)
        task_id, visit = str(request["task_id"]), str(request["visit"])
        if request["kind"] == "next" or request["action"] == "skip":
            self._skipped.append(task_id)
            return {}
        if request["kind"] == "revise":
            self._take_back({**request, "of_visit": visit, "request_id": f"{request['request_id']}:undo"})
        receipt = adjudicate(
            self.service.ledger,
            self.who,
            task_id,
            request.get("label"),
            request_id=str(request["request_id"]),
            note=request.get("note"),
            bad_image=request["action"] == Action.BAD_IMAGE,
            return_to_readers=request["action"] == "return",
            seconds_spent=request.get("seconds"),
        )
        if request["action"] != "return":  # giving back is itself the undo of the readings
            self._remember(visit, {task_id: receipt.event_id})
        self.done += 1
        return {"label": receipt.label}

    def _take_back(self, request: Request) -> Reply:
        said = self._last_said(request.get("of_visit"))
        ((task_id, event_id),) = said.events.items()
        undo(self.service.ledger, self.who, event_id, request_id=str(request["request_id"]))
        self.said.remove(said)
        self._visits.pop(task_id, None)
        self._undone = task_id
        self.done = max(0, self.done - 1)
        return {"visit": said.visit}

    def _items(self) -> list[dict[str, Any]]:
        found = disputes(self.service.ledger, self.who)
        self._total = len(found)
        order = {task_id: place for place, task_id in enumerate(self._skipped)}
        found.sort(key=lambda d: (d.task.task_id != self._undone, order.get(d.task.task_id, -1), d.since))
        return [self._item(dispute) for dispute in found[:SHOWN]]

    def _item(self, dispute: Dispute) -> dict[str, Any]:
        task = dispute.task
        self._seen.update(task.image_ids)
        visit = self._visits.setdefault(task.task_id, new_visit())
        readings = [
            {
                "who": reading.who,
                "label": reading.label
                if reading.label is not None
                else self.texts(f"actions.{Action(reading.action).value}"),
                "note": reading.note,
            }
            for reading in dispute.readings
        ]
        item = item_of(self.service, task, visit, self.texts, hidden=task.blind)
        undone = task.task_id == self._undone
        return {**item, "mode": "dispute", "readings": readings, "undone": undone}

    def after_refusal(self, request: Request) -> None:
        """The list is read anew each time; a dispute that somebody settled is gone by itself."""
        self._visits.pop(str(request.get("task_id")), None)

    def _may_see(self, name: str) -> bool:
        return name.partition(":")[2] in self._seen and name.partition(":")[0] != OVERLAY

    def _count_waiting(self) -> int:
        return self._total
