"""From a file that an imaging library has opened to an array of upright pixels; used by ``imaging`` alone."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from data_contracts.errors import UnreadableImage
from data_contracts.image_formats import ImageFormat
from data_contracts.vocabulary import QuarantineKind

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

GREY_MODES = frozenset({"1", "L", "LA", "I", "I;16", "I;16L", "I;16B", "I;16N"})

DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    OverflowError,
    struct.error,
    zlib.error,
)
"""What imaging libraries raise on files that are damaged."""

_ORIENTATION, _PHOTOMETRIC = 0x0112, 262
_DAMAGE = ("premature end", "bad huffman", "restart marker", "instead of rst", "inconsistent progression", "bad data")


def upright_pixels(
    image: Image.Image,
    kind: ImageFormat,
    data: bytes,
    frame: int,
    *,
    deep: bool,
    at_least: tuple[int, int] | None = None,
) -> Pixels:
    """Decode the opened image completely: uint8 or uint16 [height, width, 1 or 3], contiguous, upright.

    Args:
        image: as opened, at the right frame.
        kind: its format.
        data: the whole file.
        frame: page of a TIFF.
        deep: whether the file has 16 bits per channel.
        at_least: upright height and width, px, to which a JPEG may be reduced while it is decoded.

    Raises:
        UnreadableImage: it is damaged, or of a kind of pixels that is not read.
    """
    try:
        orientation = orientation_of(image)
        if deep and image.mode not in GREY_MODES:
            array = _deep_colour(data, frame)
        elif kind is ImageFormat.JPEG and image.mode in ("L", "RGB"):
            array = _jpeg(data, image, at_least[::-1] if at_least is not None and orientation >= 5 else at_least)
        else:
            array = _pixels(image)
            if kind is ImageFormat.TIFF:
                orientation = 1  # Pillow turns TIFF pages upright by itself
    except UnreadableImage:
        raise
    except MemoryError:
        raise UnreadableImage("The image does not fit into memory.", QuarantineKind.TOO_LARGE) from None
    except DECODER_ERRORS as error:
        raise explained(error, kind) from None
    result: Any = np.ascontiguousarray(_upright(array, orientation))
    return result  # type: ignore[no-any-return]


def orientation_of(image: Image.Image) -> int:
    """EXIF orientation, 1 (upright) to 8; 1 where there is none."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except DECODER_ERRORS:  # a broken EXIF block does not make the pixels unusable
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _upright(array: Pixels, orientation: int) -> Pixels:
    turned: Pixels = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: a[::-1].swapaxes(0, 1),
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: a[:, ::-1].swapaxes(0, 1),
    }[orientation](array)
    return turned


def _jpeg(data: bytes, image: Image.Image, at_least: tuple[int, int] | None) -> Pixels:
    """Decode with simplejpeg, which gives Pillow's pixels but reports damage that Pillow passes over."""
    import simplejpeg

    colour = "GRAY" if image.mode == "L" else "RGB"
    height, width = at_least or (0, 0)  # the library's sign for the whole size
    try:
        array = simplejpeg.decode_jpeg(data, colorspace=colour, min_height=height, min_width=width)
    except ValueError as error:
        if any(sign in str(error).lower() for sign in _DAMAGE):
            raise explained(error, ImageFormat.JPEG) from None
        return _pixels(image)  # an oddity that does no harm, such as padding before the end
    return array  # type: ignore[no-any-return]


def _deep_colour(data: bytes, frame: int) -> Pixels:
    """16-bit colour through OpenCV, because Pillow would cut it down to 8 bits."""
    import cv2

    found, pages = cv2.imdecodemulti(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED, range=(frame, frame + 1))
    if not found or not pages:
        raise UnreadableImage("The 16-bit colour image is damaged and cannot be decoded.", QuarantineKind.CORRUPT)
    array = np.atleast_3d(pages[0])
    if array.shape[2] == 4:
        array = np.concatenate([array[..., 2::-1], array[..., 3:]], axis=2)
        return _on_white(array)
    if array.shape[2] == 2:
        return _on_white(array)
    return array[..., ::-1] if array.shape[2] == 3 else array


def _pixels(image: Image.Image) -> Pixels:
    """uint8 or uint16 [H, W, 1 or 3] of a Pillow image."""
    image.load()
    mode = image.mode
    if mode.startswith("I;16"):
        array = np.asarray(image).astype(np.uint16)[..., None]
        inverted = getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0  # white is zero
        return 65535 - array if inverted else array
    if mode == "I":
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise UnreadableImage("The image has values outside 16 bits.", QuarantineKind.UNSUPPORTED)
        return values.astype(np.uint16)[..., None]
    if mode == "F":
        raise UnreadableImage(
            "The image has floating-point pixels; 8 and 16 bits are read.", QuarantineKind.UNSUPPORTED
        )
    if mode == "LA" or (mode == "L" and "transparency" in image.info):
        return _on_white(np.asarray(image.convert("LA")))
    if mode in ("1", "L"):
        return np.asarray(image.convert("L"))[..., None]
    if mode in ("RGBA", "PA") or (mode in ("P", "RGB") and "transparency" in image.info):
        return _on_white(np.asarray(image.convert("RGBA")))
    return np.asarray(image if mode == "RGB" else image.convert("RGB"))


def _on_white(array: Any) -> Pixels:
    """Composite [..., colours + alpha] on white, at the array's own depth."""
    white = float(np.iinfo(array.dtype).max)
    alpha = array[..., -1:].astype(np.float32) / np.float32(white)
    mixed = array[..., :-1].astype(np.float32) * alpha + np.float32(white) * (1 - alpha)
    return np.rint(mixed).astype(array.dtype)  # type: ignore[no-any-return]


def explained(error: BaseException, kind: ImageFormat) -> UnreadableImage:
    """A decoder's error as a reason a person understands."""
    text = " ".join(str(error).split())
    low = text.lower()
    remedy = "Copy it again from where it came."
    if "truncated" in low or "premature end of jpeg file" in low or isinstance(error, EOFError):
        return UnreadableImage(
            f"The {kind.value} ends too early (truncated).",
            QuarantineKind.TRUNCATED,
            cause="A copy or a download was cut off.",
            remedy=remedy,
        )
    return UnreadableImage(
        f"The {kind.value} is damaged and cannot be decoded completely" + (f" ({text})." if text else "."),
        QuarantineKind.CORRUPT,
        remedy=remedy,
    )
