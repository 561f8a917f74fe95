"""One person's place at the queue: what lies on it, what they said, and what the canvas has been told.

A desk belongs to one browser tab and may vanish at any moment; the truth is in the ledger. It answers every request of
the canvas's outbox by its request id, so that a request that comes twice is kept once.
"""

from __future__ import annotations

import time
import uuid
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from data_contracts.errors import BadInput, Busy, TailsightError
from review_app.canvas.frame import encode_frame
from review_app.service import ReviewService, error_sentence
from review_app.texts import Texts

Request = Mapping[str, Any]
"""One entry of the canvas's outbox: ``kind``, ``request_id`` and what the kind needs."""

Reply = dict[str, Any]

MOST_REPLIES = 400
MOST_SAID = 200
COUNT_SECONDS = 5.0
"""How old the number of waiting tasks may be."""


@dataclass
class Said:
    """One thing that was said here and can be taken back: the events it made, by task."""

    visit: str
    events: dict[str, str]


class Desk(ABC):
    """What all desks share: requests in, one message out.

    Args:
        service: the workspace.
        who: whose desk.
        texts: their language.
    """

    mode = "review"

    def __init__(self, service: ReviewService, who: str, texts: Texts) -> None:
        self.service = service
        self.who = who
        self.texts = texts
        self.said: list[Said] = []
        self.done = 0
        self._replies: OrderedDict[str, Reply] = OrderedDict()
        self._asked: list[str] = []
        self._have: set[str] = set()
        self._want: list[str] = []
        self._heard = 0
        self._waiting = 0
        self._counted_at = float("-inf")

    @property
    @abstractmethod
    def name(self) -> str:
        """Names the desk to the canvas; another desk has its own outbox."""

    @abstractmethod
    def _settle(self, request: Request) -> Reply:
        """Do what a request asks; raises what the ledger raises."""

    @abstractmethod
    def _items(self) -> list[dict[str, Any]]:
        """What lies on the desk now, first things first."""

    @abstractmethod
    def _count_waiting(self) -> int:
        """How many tasks could still come."""

    def receive(self, message: Mapping[str, Any]) -> None:
        """Take what the canvas says: requests that it has no answer to, and the pictures that it has and wants."""
        if message.get("desk") != self.name:
            return
        self._heard += 1
        self._have = {str(name) for name in message.get("have", ())}
        self._want = [str(name) for name in message.get("want", ())]
        requests = [request for request in message.get("outbox", ()) if isinstance(request, Mapping)]
        self._asked = [str(request.get("request_id", "")) for request in requests]
        for request in requests:
            request_id = str(request.get("request_id", ""))
            if request_id and request_id not in self._replies:
                self._answer(request_id, request)

    def _answer(self, request_id: str, request: Request) -> None:
        try:
            reply = {"ok": True, **self._settle(request)}
        except Busy:
            return  # no answer at all: the canvas asks again
        except (TailsightError, ValidationError, KeyError, ValueError) as error:
            reply = {"ok": False, "what": error_sentence(error, self.texts)}
            self.after_refusal(request)
        self._replies[request_id] = reply
        while len(self._replies) > MOST_REPLIES:
            self._replies.popitem(last=False)

    @abstractmethod
    def after_refusal(self, request: Request) -> None:
        """Put the desk right after a request was refused."""

    @abstractmethod
    def _may_see(self, name: str) -> bool:
        """Whether a picture that is not on the desk may be sent when it is asked for."""

    def frame(self) -> bytes:
        """The message for the canvas: what lies on the desk, answers, and the pictures that it lacks."""
        items = self._items()
        allowed = list(dict.fromkeys(self._picture_names(items)))
        wanted = [name for name in self._want if name in allowed or self._may_see(name)]
        needed = [name for name in allowed if name not in self._have and not name.startswith(self._only_on_request())]
        pictures, missing = self.service.pictures([*needed, *(name for name in wanted if name not in self._have)])
        header = {
            "mode": self.mode,
            "heard": self._heard,  # an answer like the one before would not reach the canvas, which asked again in vain
            "desk": self.name,
            "who": self.who,
            "language": self.texts.language.value,
            "texts": self.texts.canvas,
            "classes": [vars(item) for item in self.service.classes()],
            "window": self.service.window(),
            "queue": items,
            "answers": {key: self._replies[key] for key in self._asked if key in self._replies},
            "progress": {"done": self.done, "waiting": self.waiting()},
            "can_undo": bool(self.said),
            "unavailable": [*missing, *(name for name in self._want if name not in wanted)],
            **self._more(),
        }
        return encode_frame(header, pictures)

    def waiting(self) -> int:
        """How many tasks could still come, at most some seconds old."""
        if time.monotonic() - self._counted_at > COUNT_SECONDS:
            self._waiting = self._count_waiting()
            self._counted_at = time.monotonic()
        return self._waiting

    def _more(self) -> dict[str, Any]:
        return {}

    def _picture_names(self, items: Iterable[Mapping[str, Any]]) -> Iterable[str]:
        for item in items:
            for image in item["images"]:
                yield image["name"]
                if image["overlay"]:
                    yield image["overlay"]
            for group in item["similar"] or ():
                yield from group["images"]

    def _only_on_request(self) -> str:
        """Pictures of this kind are sent when they are asked for."""
        return "never"

    def _remember(self, visit: str, events: dict[str, str]) -> None:
        self.said.append(Said(visit, events))
        del self.said[:-MOST_SAID]

    def _last_said(self, of_visit: str | None) -> Said:
        """What an undo takes back: what was said of a visit, else the last thing.

        Raises:
            BadInput: nothing was said here.
        """
        for said in reversed(self.said):
            if of_visit is None or said.visit == of_visit:
                return said
        raise BadInput(self.texts("errors.nothing_to_undo"))


def new_visit() -> str:
    """A name for one showing of a task; it says nothing about the task."""
    return uuid.uuid4().hex
