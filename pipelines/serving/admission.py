"""How much the server has taken on: beyond the limits a request is refused at once instead of filling the memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.serving.options import Limits
from pipelines.serving.problems import overloaded


class Admission:
    """Counts what is held for requests under way. For the event loop's thread alone.

    Args:
        limits: of all requests together.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.bytes_held = 0
        self.images_waiting = 0

    @contextmanager
    def holding(self, size: int) -> Iterator[None]:
        """Room for the body of a request, before it is read.

        Raises:
            RequestProblem: there is none (503).
        """
        if self.bytes_held + size > self._limits.held_bytes:
            raise overloaded("The server holds as many requests as it has memory for.")
        self.bytes_held += size
        try:
            yield
        finally:
            self.bytes_held -= size

    @contextmanager
    def waiting(self, images: int) -> Iterator[None]:
        """Places for images that will wait for a worker.

        Raises:
            RequestProblem: there are not enough (503).
        """
        if self.images_waiting + images > self._limits.waiting_images:
            raise overloaded(
                f"{self.images_waiting} images wait already; the server takes {self._limits.waiting_images}."
            )
        self.images_waiting += images
        try:
            yield
        finally:
            self.images_waiting -= images
