"""One message from the server to the canvas: a header as JSON, then pictures as they are, over the websocket.

A message is bytes and not a table, so no picture is encoded again, none gets an address of its own that could be
fetched without signing in, and no 64-bit integer reaches JavaScript.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Picture:
    """An encoded picture under the name that the canvas asks for it by."""

    name: str
    mime: str
    content: bytes


def encode_frame(header: Mapping[str, Any], pictures: Sequence[Picture] = ()) -> bytes:
    """Header length (uint32, little endian), header (UTF-8 JSON with ``blobs`` added), then the pictures in order.

    Each of ``blobs`` has the picture's name, mime type, and its offset and length in bytes after the header.
    """
    blobs = []
    offset = 0
    for picture in pictures:
        length = len(picture.content)
        blobs.append({"name": picture.name, "mime": picture.mime, "offset": offset, "length": length})
        offset += length
    text = json.dumps({**header, "blobs": blobs}, ensure_ascii=False, separators=(",", ":")).encode()
    return b"".join((struct.pack("<I", len(text)), text, *(picture.content for picture in pictures)))


def decode_header(frame: bytes) -> dict[str, Any]:
    """The header of a message, for tests and for whoever wants to know what was sent."""
    (length,) = struct.unpack_from("<I", frame)
    header: dict[str, Any] = json.loads(frame[4 : 4 + length])
    return header
