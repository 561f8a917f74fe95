"""A client of `tailsight serve`: standard library only, so that this one file can be copied to where images are made.

    from deploy.client import Client

    with Client("http://localhost:8000", key="...") as client:
        said = client.predict("part-0815.png")
        print(said.predicted, said.confidence, said.decision)

A server that is busy (429, 503) or cannot be reached is asked again, each time after twice as long, with chance in it
so that many clients do not come back together; an image's prediction is the same however often it is asked for.
"""

from __future__ import annotations

import http.client
import json
import random
import secrets
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

LONGEST_WAIT = 30.0
"""Seconds between two attempts, at most."""

_COME_BACK = (429, 503)


class ServerRefused(Exception):
    """The server answered, and not with a prediction.

    Attributes:
        status: of HTTP.
        what: happened, in the server's words.
        remedy: what to do, in the server's words.
    """

    def __init__(self, status: int, what: str, remedy: str | None = None) -> None:
        self.status = status
        self.what = what
        self.remedy = remedy
        super().__init__(" ".join(filter(None, (what, remedy))))


class ServerAway(Exception):
    """The server could not be reached, or stayed busy, however often it was asked."""


@dataclass(frozen=True)
class Prediction:
    """What the model says of one image.

    Attributes:
        image_id: sha256 of the file's bytes.
        predicted: the class.
        confidence: its probability.
        margin: lead of the most probable class over the second.
        entropy: of the probabilities, in nats.
        probabilities: by class, calibrated.
        conformal_set: classes among which the right one is with stated probability.
        decision: ``auto``, or ``review`` where a person should look.
        reason: why a person should look.
        model_version: that said so.
    """

    image_id: str
    predicted: str
    confidence: float
    margin: float
    entropy: float
    probabilities: dict[str, float]
    conformal_set: tuple[str, ...]
    decision: str
    reason: str | None
    model_version: str

    @classmethod
    def read(cls, said: dict[str, Any]) -> Prediction:
        """From the server's JSON; what a newer server says besides is left out."""
        values = {name: said[name] for name in cls.__dataclass_fields__}
        return cls(**{**values, "conformal_set": tuple(values["conformal_set"])})


class Client:
    """One connection to a server, kept open. A context manager; one thread at a time.

    Args:
        address: ``http://HOST:PORT`` or ``https://…``.
        key: the API key, where the server asks for one.
        seconds: that one attempt may take.
        attempts: how often a busy or absent server is asked in all.
        certificates: of an authority of your own, for https.

    Raises:
        ValueError: the address is no web address.
    """

    def __init__(
        self,
        address: str,
        *,
        key: str | None = None,
        seconds: float = 30.0,
        attempts: int = 6,
        certificates: Path | None = None,
    ) -> None:
        place = urlsplit(address)
        if place.scheme not in ("http", "https") or not place.hostname:
            raise ValueError(f"{address} is no address such as http://localhost:8000")
        self._base = place.path.rstrip("/")
        self._headers = {} if key is None else {"X-API-Key": key}
        self._attempts = attempts
        self._connection: http.client.HTTPConnection
        if place.scheme == "https":
            context = ssl.create_default_context(cafile=certificates)
            self._connection = http.client.HTTPSConnection(place.hostname, place.port, timeout=seconds, context=context)
        else:
            self._connection = http.client.HTTPConnection(place.hostname, place.port, timeout=seconds)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        self._connection.close()

    def predict(self, image: str | Path | bytes) -> Prediction:
        """What the model says of one image: a file, or its bytes.

        Raises:
            ServerRefused: it is no image, it is too large, or the key is wrong.
            ServerAway: the server did not answer, however often it was asked.
            OSError: the file cannot be read.
        """
        body = image if isinstance(image, bytes) else Path(image).read_bytes()
        return Prediction.read(self._ask("POST", "/v1/predict", body, "application/octet-stream"))

    def predict_many(self, images: Sequence[str | Path]) -> list[Prediction | ServerRefused]:
        """What one model version says of several files, in order; of one that is no image, why not.

        Raises:
            ServerRefused: they are too many or too large together, or the key is wrong.
            ServerAway: the server did not answer, however often it was asked.
            OSError: a file cannot be read.
        """
        boundary = secrets.token_hex(16)
        parts = []
        for image in map(Path, images):
            name = image.name.encode("utf-8", "replace").replace(b'"', b"%22").replace(b"\n", b" ").replace(b"\r", b" ")
            head = b'--%b\r\nContent-Disposition: form-data; name="images"; filename="%b"\r\n\r\n'
            parts += [head % (boundary.encode(), name), image.read_bytes(), b"\r\n"]
        body = b"".join([*parts, b"--%b--\r\n" % boundary.encode()])
        said = self._ask("POST", "/v1/predict-many", body, f"multipart/form-data; boundary={boundary}")
        return [
            Prediction.read(one["prediction"])
            if one["prediction"] is not None
            else ServerRefused(200, one["error"]["what"], one["error"]["remedy"])
            for one in said["outcomes"]
        ]

    def model(self) -> dict[str, Any]:
        """The model that answers now: version, classes, error limit.

        Raises:
            ServerRefused: the key is wrong.
            ServerAway: the server did not answer, however often it was asked.
        """
        return self._ask("GET", "/v1/model", None, None)

    def _ask(self, method: str, path: str, body: bytes | None, kind: str | None) -> dict[str, Any]:
        headers = {**self._headers, **({"Content-Type": kind} if kind else {})}
        why = ""
        for attempt in range(self._attempts):
            if attempt:
                time.sleep(min(LONGEST_WAIT, 0.25 * 2**attempt) * random.uniform(0.5, 1.0))  # noqa: S311  # no secret
            try:
                self._connection.request(method, self._base + path, body, headers)
                answer = self._connection.getresponse()
                content = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                why = f"{type(error).__name__}: {error}"
                continue
            if answer.status == 200:
                said: dict[str, Any] = json.loads(content)
                return said
            refused = _refusal(answer.status, content)
            if answer.status not in _COME_BACK:
                raise refused
            why = refused.what
        raise ServerAway(f"The server was asked {self._attempts} times. The last time: {why}")


def _refusal(status: int, content: bytes) -> ServerRefused:
    try:
        error = json.loads(content)["error"]
        return ServerRefused(status, error["what"], error.get("remedy"))
    except (ValueError, KeyError, TypeError):  # not our server's words: a proxy's perhaps
        return ServerRefused(status, f"The server answered with status {status}.")
