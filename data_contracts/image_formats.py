"""Which image formats are read, how their bytes announce themselves, and whether a PNG or JPEG arrived whole.

Works on bytes alone, so damage that decoders forgive (a PNG checksum, a missing end) is found and named.
"""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Iterator
from enum import StrEnum

from data_contracts.errors import UnreadableImage
from data_contracts.vocabulary import QuarantineKind


class ImageFormat(StrEnum):
    """The formats that ingest and scoring read."""

    PNG = "PNG"
    JPEG = "JPEG"
    TIFF = "TIFF"
    BMP = "BMP"
    WEBP = "WEBP"


EXTENSIONS: dict[str, ImageFormat] = {
    ".png": ImageFormat.PNG,
    ".jpg": ImageFormat.JPEG,
    ".jpeg": ImageFormat.JPEG,
    ".jpe": ImageFormat.JPEG,
    ".jfif": ImageFormat.JPEG,
    ".tif": ImageFormat.TIFF,
    ".tiff": ImageFormat.TIFF,
    ".bmp": ImageFormat.BMP,
    ".dib": ImageFormat.BMP,
    ".webp": ImageFormat.WEBP,
}
"""File name extensions, in lower case, of the formats that are read."""

UNSUPPORTED_EXTENSIONS: dict[str, str] = {
    ".gif": "a GIF",
    ".heic": "a HEIC photograph",
    ".heif": "a HEIF photograph",
    ".avif": "an AVIF image",
    ".jp2": "a JPEG 2000 image",
    ".j2k": "a JPEG 2000 image",
    ".jxl": "a JPEG XL image",
    ".svg": "an SVG drawing",
    ".dcm": "a DICOM file",
    ".dicom": "a DICOM file",
    ".nii": "a NIfTI volume",
    ".psd": "a Photoshop file",
    ".ppm": "a PPM image",
    ".pgm": "a PGM image",
    ".exr": "an OpenEXR image",
    ".hdr": "a Radiance image",
    ".raw": "a raw camera file",
    ".cr2": "a raw camera file",
    ".nef": "a raw camera file",
    ".dng": "a raw camera file",
    ".mp4": "a video",
    ".avi": "a video",
    ".mov": "a video",
}
"""Extensions of pictures that are not read; such a file is set aside with a reason instead of ignored."""

SUPPORTED = "PNG, JPEG, TIFF, BMP and WebP"

_OTHER_CONTENT: tuple[tuple[int, bytes, str], ...] = (
    (0, b"%PDF", "a PDF document"),
    (0, b"PK\x03\x04", "a ZIP archive (or an Office document)"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"Rar!", "a RAR archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (0, b"GIF8", "a GIF image"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 image"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"\x89HDF", "an HDF5 file"),
    (0, b"\xd0\xcf\x11\xe0", "an old Office document or a thumbnail database"),
    (0, b"\x7fELF", "a program"),
    (0, b"MZ", "a Windows program"),
    (4, b"ftypheic", "a HEIC photograph"),
    (4, b"ftypavif", "an AVIF image"),
    (4, b"ftyp", "a video"),
    (128, b"DICM", "a DICOM file"),
)


def sniff(head: bytes) -> ImageFormat | None:
    """The image format that the first bytes of a file announce (at least 16 bytes), or ``None``."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return ImageFormat.PNG
    if head.startswith(b"\xff\xd8\xff"):
        return ImageFormat.JPEG
    if head[:4] in (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"):
        return ImageFormat.TIFF
    if head.startswith(b"BM"):
        return ImageFormat.BMP
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return ImageFormat.WEBP
    return None


def describe_content(head: bytes) -> str:
    """In words, what bytes that are no supported image look like (about 200 bytes are enough)."""
    for offset, signature, name in _OTHER_CONTENT:
        if head[offset : offset + len(signature)] == signature:
            return name
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "an HTML page (perhaps an error page saved by a download)"
    if start.startswith((b"<?xml", b"<svg")):
        return "an XML or SVG text"
    if head and not head.strip(b"\0"):
        return "nothing but zero bytes (perhaps a failed copy)"
    if _is_text(head):
        return "plain text"
    return "data of an unknown kind"


def _is_text(head: bytes) -> bool:
    if not head or any(byte < 32 and byte not in b"\t\r\n" for byte in head):
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # the last character may be cut
    except UnicodeDecodeError:
        return False
    return True


def with_article(name: ImageFormat) -> str:
    """The format's name with its article: ``a PNG``."""
    return f"a {'WebP' if name is ImageFormat.WEBP else name.value}"


def check_png(data: bytes) -> None:
    """Make sure that a PNG has all its chunks with the right checksums, which decoders do not check.

    Raises:
        UnreadableImage: TRUNCATED where the file ends early, CORRUPT where a checksum or the header is wrong.
    """
    seen_end = False
    for kind, start, length in _png_chunks(data):
        end = start + length
        if zlib.crc32(data[start - 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise UnreadableImage(
                f"The PNG is damaged: the checksum of its {kind} block at byte {start} is wrong.",
                QuarantineKind.CORRUPT,
                remedy="Copy it again from where it came.",
            )
        if kind == "IHDR":
            width, height = (int.from_bytes(data[at : at + 4], "big") for at in (start, start + 4))
            if not width or not height:
                raise UnreadableImage(
                    f"The PNG says that it is {width} px wide and {height} px high: it has no pixels.",
                    QuarantineKind.CORRUPT,
                )
        seen_end = seen_end or kind == "IEND"
    if not seen_end:
        raise UnreadableImage("The PNG ends too early: its end mark is missing.", QuarantineKind.TRUNCATED)


def png_is_deep_colour(data: bytes) -> bool:
    """Whether a PNG has 16 bits per channel and more than one channel."""
    return len(data) > 25 and data[24] == 16 and data[25] in (2, 4, 6)


def png_size(data: bytes) -> tuple[int, int]:
    """Width and height in px that a PNG's header announces."""
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def _png_chunks(data: bytes) -> Iterator[tuple[str, int, int]]:
    """Kind, start of the content and its length, of each chunk up to the end mark."""
    position = 8
    while position < len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        kind = data[position + 4 : position + 8].decode("latin-1")
        missing = position + 12 + length - len(data)
        if missing > 0:
            raise UnreadableImage(
                f"The PNG ends too early (truncated): at least {missing} bytes are missing.",
                QuarantineKind.TRUNCATED,
                cause="A copy or a download was cut off.",
                remedy="Copy it again from where it came.",
            )
        yield kind, position + 8, length
        if kind == "IEND":
            return
        position += 12 + length
