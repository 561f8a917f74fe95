"""Who gets decisions in the tests of deliveries: a web address that refuses, hangs up or redirects as it is told."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

SECRET = "token-8c1f"


@dataclass
class Line:
    """The receiver at the other end: what it got, and what it does with the next requests (``answers``, then 200)."""

    address: str = ""
    answers: list[int | str] = field(default_factory=list)
    requests: list[tuple[str, list[dict[str, Any]]]] = field(default_factory=list)

    @property
    def kept(self) -> list[dict[str, Any]]:
        """Decisions as a receiver keeps them that knows a request by its key and nothing else."""
        return [one for body in dict(self.requests).values() for one in body]


@contextmanager
def receiving() -> Iterator[Line]:
    line = Line()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = line.answers.pop(0) if line.answers else 200
            if answer == "hang up before":
                return
            if answer in (200, "hang up after"):
                line.requests.append((self.headers["Idempotency-Key"], body["decisions"]))
            if answer == "hang up after":
                return
            self.send_response(int(answer))
            if answer == 302:
                self.send_header("Location", "/sign-in")
            self.end_headers()

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    line.address = f"http://127.0.0.1:{server.server_port}/{SECRET}"
    try:
        yield line
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
