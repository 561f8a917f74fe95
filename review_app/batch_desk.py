"""The desk of the Batch screen: many tasks of one predicted class, labelled together and undone together."""

from __future__ import annotations

from typing import Any

from data_contracts.review import serving
from data_contracts.review.decide import decide_together
from data_contracts.review.records import Answer, ReviewTask
from data_contracts.review.undo import undo_together
from data_contracts.vocabulary import Action
from review_app.desk import Desk, Reply, Request, new_visit
from review_app.service import LARGE, OVERLAY, SHORT_ID, SMALL, ReviewService
from review_app.texts import Texts

MOST_CELLS = 48
"""Images in the grid at once; they are leased to this person while they are there."""


class BatchDesk(Desk):
    """A grid of tasks that are not blind and that the model would all give the same class.

    Args:
        service: the workspace.
        who: whose desk.
        texts: their language.
        predicted: the class.
    """

    mode = "grid"

    def __init__(self, service: ReviewService, who: str, texts: Texts, predicted: str) -> None:
        super().__init__(service, who, texts)
        self.predicted = predicted
        self.cells: dict[str, ReviewTask] = {}
        self._answered: set[str] = set()

    @property
    def name(self) -> str:
        """One outbox for each class."""
        return f"batch:{self.predicted}"

    def _settle(self, request: Request) -> Reply:
        if request["kind"] == "undo":
            return self._take_back(str(request["request_id"]))
        label, request_id = str(request["label"]), str(request["request_id"])
        answers = [
            Answer(
                task_id=str(entry["task_id"]),
                request_id=f"{request_id}:{entry['task_id']}",
                action=Action.LABEL,
                label=label,
                note=_how_it_came_about(int(request.get("spot_checked", 0)), len(request["tasks"])),
                model_shown=True,
            )
            for entry in request["tasks"]
        ]
        receipts = decide_together(self.service.ledger, self.who, answers)
        self._remember(request_id, {receipt.task_id: receipt.event_id for receipt in receipts})
        answered = {receipt.task_id for receipt in receipts}
        self._answered |= {i for task in self.cells.values() if task.task_id in answered for i in task.image_ids}
        self.cells = {visit: task for visit, task in self.cells.items() if task.task_id not in answered}
        self.done += len(receipts)
        self._counted_at = float("-inf")
        return {"count": len(receipts), "label": label}

    def after_refusal(self, request: Request) -> None:
        """Somebody answered one of them meanwhile: fetch the grid anew."""
        if request.get("kind") == "batch":
            self.cells.clear()

    def _take_back(self, request_id: str) -> Reply:
        said = self._last_said(None)
        request_ids = [f"{request_id}:{task_id}" for task_id in said.events]
        undo_together(self.service.ledger, self.who, list(said.events.values()), request_ids=request_ids)
        self.said.remove(said)
        self.done = max(0, self.done - len(said.events))
        self._counted_at = float("-inf")
        return {"count": len(said.events)}

    def _items(self) -> list[dict[str, Any]]:
        lacking = MOST_CELLS - len(self.cells)
        held = [task.task_id for task in self.cells.values()]
        if lacking > 0:
            ledger = self.service.ledger
            for task in serving.serve(ledger, self.who, count=lacking, exclude=held, predicted=self.predicted):
                self.cells[new_visit()] = task
        return [self._cell(visit, task) for visit, task in self.cells.items()]

    def _cell(self, visit: str, task: ReviewTask) -> dict[str, Any]:
        image_id = task.image_ids[0]
        return {
            "visit": visit,
            "task_id": task.task_id,
            "kind": task.kind.value,
            "confidence": task.confidence,
            "ref": image_id[:SHORT_ID],
            "small": f"{SMALL}:{image_id}" if self.service.copies.has(image_id) else None,
            "large": f"{LARGE}:{image_id}",
            "images": [
                {"name": f"{SMALL}:{image_id}", "overlay": None},
                {"name": f"{LARGE}:{image_id}", "overlay": None},
            ],
            "similar": None,
        }

    def _only_on_request(self) -> str:
        return f"{LARGE}:"

    def _may_see(self, name: str) -> bool:
        return name.partition(":")[0] != OVERLAY and name.partition(":")[2] in self._answered

    def _count_waiting(self) -> int:
        return serving.waiting_by_prediction(self.service.ledger, self.who).get(self.predicted, 0)

    def _more(self) -> dict[str, Any]:
        return {"predicted": self.predicted}


def _how_it_came_about(spot_checked: int, together: int) -> str:
    """For the auditor; in English, because it stays in the ledger."""
    return f"labelled together with {together - 1} others, {spot_checked} of them looked at closely"


def release_cells(service: ReviewService, who: str, desk: BatchDesk) -> None:
    """Free the tasks of a grid that is left."""
    serving.release(service.ledger, who, [task.task_id for task in desk.cells.values()])
