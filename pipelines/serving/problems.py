"""Requests that are not answered: which HTTP status, and the sentence."""

from __future__ import annotations

from data_contracts.errors import Busy, TailsightError, UnreadableImage
from data_contracts.vocabulary import QuarantineKind
from pipelines.serving.contract import Problem, ProblemAnswer

COME_BACK_SECONDS = 1


class RequestProblem(Exception):
    """A request that gets no answer but a status and a sentence; ``why`` is its label in the metrics."""

    def __init__(self, status: int, what: str, *, remedy: str | None = None, cause: str | None = None) -> None:
        self.status = status
        self.problem = Problem(what=what, cause=cause, remedy=remedy)
        super().__init__(what)

    @property
    def body(self) -> bytes:
        """As JSON."""
        return ProblemAnswer(error=self.problem).model_dump_json().encode()

    @property
    def headers(self) -> dict[str, str]:
        """Says when to come back, where that may help, and how to prove who one is."""
        if self.status in (429, 503):
            return {"retry-after": str(COME_BACK_SECONDS)}
        return {"www-authenticate": "Bearer"} if self.status == 401 else {}


def problem_of(error: TailsightError) -> RequestProblem:
    """How an error of the tree is told over HTTP."""
    if isinstance(error, UnreadableImage):
        status = 413 if error.kind is QuarantineKind.TOO_LARGE else 422
    else:
        status = 503 if isinstance(error, Busy) else 500
    return RequestProblem(status, error.what, cause=error.cause, remedy=error.remedy)


def said_of(error: TailsightError) -> Problem:
    """How an error of one image among several is told."""
    return Problem(what=error.what, cause=error.cause, remedy=error.remedy)


def too_large(what: str, remedy: str) -> RequestProblem:
    """413."""
    return RequestProblem(413, what, remedy=remedy)


def overloaded(what: str) -> RequestProblem:
    """503: the same again in a moment may work."""
    return RequestProblem(503, what, remedy=f"Send it again in {COME_BACK_SECONDS} second, and ask for less at once.")
