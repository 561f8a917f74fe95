"""Images out of a request: raw bytes or multipart, in memory, never more than the limits say."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from pipelines.serving.options import MEGABYTE, Limits
from pipelines.serving.problems import RequestProblem, too_large

_MULTIPART = "multipart/form-data"


@dataclass(frozen=True)
class Upload:
    """One image as it was sent."""

    name: str | None
    data: bytes


class _InMemory(MultiPartParser):
    spool_max_size = sys.maxsize  # a patient's image is never written to a temporary file


def announced_bytes(request: Request, limits: Limits) -> int:
    """How many bytes the body says that it has; the most that it may have where it does not say.

    Raises:
        RequestProblem: it has too many (413), or says something that is no number (400).
    """
    said = request.headers.get("content-length")
    if said is None:
        return limits.request_bytes
    if not said.isdecimal():
        raise RequestProblem(400, "The header Content-Length is no number.")
    if int(said) > limits.request_bytes:
        raise _request_too_large(limits)
    return int(said)


async def read_uploads(request: Request, limits: Limits) -> list[Upload]:
    """All images of a request: every file of a multipart body, or the body itself.

    Raises:
        RequestProblem: there are too many or none, the body is too large, or it is not what it says to be.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _MULTIPART:
        uploads = [Upload(None, b"".join([chunk async for chunk in _bounded(request, limits)]))]
    else:
        most = limits.images_per_request
        parser = _InMemory(request.headers, _bounded(request, limits), max_files=most + 1, max_fields=most)
        try:
            form = await parser.parse()
        except MultiPartException as error:
            if "Too many files" in error.message:
                raise _too_many(limits) from None
            raise RequestProblem(
                400, f"The multipart body cannot be read ({error.message.rstrip('.')}).", remedy="See the example."
            ) from None
        files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
        uploads = [Upload(file.filename, await file.read()) for file in files]
        await form.close()
    if len(uploads) > limits.images_per_request:
        raise _too_many(limits)
    if not uploads or (kind != _MULTIPART and not uploads[0].data):
        raise RequestProblem(
            422,
            "There is no image in the request.",
            remedy="Send its bytes as the body, or as a file of a multipart form: `curl -F image=@FILE`.",
        )
    return uploads


def check_size(upload: Upload, limits: Limits) -> None:
    """Refuse an image of too many bytes.

    Raises:
        RequestProblem: it has (413).
    """
    if len(upload.data) > limits.image_bytes:
        raise too_large(
            f"The image has {len(upload.data) / MEGABYTE:,.1f} MB; the limit is {limits.image_bytes / MEGABYTE:g}.",
            "Send a smaller file, or start the server with a larger --max-image-mb.",
        )


async def _bounded(request: Request, limits: Limits) -> AsyncGenerator[bytes, None]:
    read = 0
    async for chunk in request.stream():
        read += len(chunk)
        if read > limits.request_bytes:
            raise _request_too_large(limits)
        yield chunk


def _request_too_large(limits: Limits) -> RequestProblem:
    return too_large(
        f"The request has more than {limits.request_bytes / MEGABYTE:g} MB.",
        "Send fewer images at once, or start the server with a larger --max-request-mb.",
    )


def _too_many(limits: Limits) -> RequestProblem:
    return too_large(
        f"The request has more than {limits.images_per_request} images.",
        "Send them in several requests, or start the server with a larger --max-images.",
    )
