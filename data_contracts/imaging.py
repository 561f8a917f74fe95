"""The only decoder of image files: bytes in, upright pixels of 8 or 16 bits out, or a reason a person understands.

What comes out is the same wherever an image is read (ingest, cache, scoring, server):

- EXIF orientation is applied: the array is upright.
- Grey stays one channel; 1-bit becomes 0 and 255; palette images become colour.
- Transparency is composited on white, as a person sees it in a viewer.
- CMYK becomes RGB without a colour profile; embedded profiles are ignored (inspection cameras rarely have one).
- 16-bit grey and colour keep their 16 bits (uint16); :func:`to_8bit` shows them through a window.
- A multi-page TIFF has one image per page; reduced-resolution pages and other formats' animation frames are not images.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import (
    BmpImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from data_contracts.errors import UnreadableImage
from data_contracts.image_formats import (
    SUPPORTED,
    ImageFormat,
    check_png,
    describe_content,
    png_is_deep_colour,
    png_size,
    sniff,
    with_article,
)
from data_contracts.vocabulary import QuarantineKind

# The limit is the caller's, checked against the header before a pixel is decoded; Pillow's own would only warn.
Image.MAX_IMAGE_PIXELS = None
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

MAX_MEGAPIXELS = 120.0
"""Default limit; the profile's ``input.max_megapixels`` replaces it."""

_READERS = {
    ImageFormat.PNG: PngImagePlugin.PngImageFile,
    ImageFormat.JPEG: JpegImagePlugin.JpegImageFile,
    ImageFormat.TIFF: TiffImagePlugin.TiffImageFile,
    ImageFormat.BMP: BmpImagePlugin.BmpImageFile,
    ImageFormat.WEBP: WebPImagePlugin.WebPImageFile,
}
_GREY_MODES = {"1", "L", "LA", "I", "I;16", "I;16L", "I;16B", "I;16N"}
_ORIENTATION, _SUBFILE_TYPE, _BITS, _PHOTOMETRIC = 0x0112, 254, 258, 262
_DAMAGE = ("premature end", "bad huffman", "restart marker", "instead of rst", "inconsistent progression", "bad data")
_DECODER_ERRORS = (
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


@dataclass(frozen=True)
class ImageFacts:
    """What the header says. ``width`` and ``height`` in px, upright (after EXIF orientation).

    ``mode`` is how the file stores pixels (Pillow's name, for example ``RGB``, ``I;16``, ``P``); ``bit_depth`` is 8 or
    16 as decoded; ``frames`` counts images in the file and ``frame_numbers`` are what ``frame`` may be.
    """

    width: int
    height: int
    mode: str
    bit_depth: int
    format: ImageFormat
    frame_numbers: tuple[int, ...] = (0,)

    @property
    def frames(self) -> int:
        """How many images the file holds."""
        return len(self.frame_numbers)


@dataclass(frozen=True)
class DecodedImage:
    """Pixels and facts. ``array`` is uint8 or uint16, [height, width, channels], channels 1 or 3 (RGB), upright."""

    array: Pixels
    facts: ImageFacts


def channels_of(mode: str) -> int:
    """1 for a file's grey modes, 3 for all others."""
    return 1 if mode in _GREY_MODES else 3


def probe(data: bytes, *, max_megapixels: float = MAX_MEGAPIXELS) -> ImageFacts:
    """Read the header alone; much faster than :func:`decode`, but damage to the pixels is not found.

    Raises:
        UnreadableImage: the bytes are no supported image, or it has more than ``max_megapixels``.
    """
    image, kind = _open(data, max_megapixels)
    with image:
        return _facts(image, kind, data, max_megapixels)


def decode(data: bytes, *, max_megapixels: float = MAX_MEGAPIXELS, frame: int = 0) -> DecodedImage:
    """Decode one image of a file completely; see the module for what comes out.

    Args:
        data: the whole file.
        max_megapixels: larger images are refused before decoding (decompression bombs).
        frame: page of a multi-page TIFF, one of :attr:`ImageFacts.frame_numbers`.

    Raises:
        UnreadableImage: with a kind (empty, not an image, truncated, corrupt, too large, unsupported) and a reason.
    """
    image, kind = _open(data, max_megapixels)
    with image:
        facts = _facts(image, kind, data, max_megapixels)
        if frame not in facts.frame_numbers:
            raise UnreadableImage(
                f"There is no image {frame} in this file; it holds {facts.frames}.", QuarantineKind.CORRUPT
            )
        if kind is ImageFormat.PNG:
            check_png(data)
        try:
            if frame:
                image.seek(frame)
                _refuse_bombs(image.size, max_megapixels)
            orientation = _orientation(image)
            if facts.bit_depth == 16 and channels_of(image.mode) == 3:
                array = _deep_colour(data, frame)
            elif kind is ImageFormat.JPEG and image.mode in ("L", "RGB"):
                array = _jpeg(data, image)
            else:
                array = _pixels(image)
                if kind is ImageFormat.TIFF:
                    orientation = 1  # Pillow turns TIFF pages upright by itself
        except UnreadableImage:
            raise
        except MemoryError:
            raise UnreadableImage("The image does not fit into memory.", QuarantineKind.TOO_LARGE) from None
        except _DECODER_ERRORS as error:
            raise _explained(error, kind) from None
    upright: Any = np.ascontiguousarray(_upright(array, orientation))
    height, width = upright.shape[:2]
    return DecodedImage(
        upright, ImageFacts(width, height, facts.mode, facts.bit_depth, facts.format, facts.frame_numbers)
    )


def to_8bit(
    image: Pixels, window_centre: float | None = None, window_width: float | None = None
) -> npt.NDArray[np.uint8]:
    """Show 16-bit pixels in 8 bits through a window; 8-bit pixels come back unchanged.

    Without a window the image's own 0.1 to 99.9 percentiles become 0 and 255, because 10-, 12- and 14-bit cameras
    store their values in 16-bit files and would otherwise be almost black.

    Args:
        image: uint8 or uint16, any shape.
        window_centre: value in the file's units that becomes mid-grey.
        window_width: range of values, around the centre, that is spread over 0 to 255.
    """
    if image.dtype == np.uint8:
        return image.astype(np.uint8, copy=False)
    if window_centre is not None and window_width is not None:
        low, high = window_centre - window_width / 2, window_centre + window_width / 2
    else:
        low, high = (float(value) for value in np.percentile(image, (0.1, 99.9)))
    if high <= low:
        high = low + 1.0
    scaled = (image.astype(np.float32) - np.float32(low)) * np.float32(255.0 / (high - low))
    shown: npt.NDArray[np.uint8] = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    return shown


def _open(data: bytes, max_megapixels: float) -> tuple[Image.Image, ImageFormat]:
    if not data:
        raise UnreadableImage(
            "The file is empty (zero bytes).", QuarantineKind.EMPTY, cause="A copy or a download failed."
        )
    kind = sniff(data[:16])
    if kind is None:
        raise UnreadableImage(
            f"The file is not an image: it holds {describe_content(data[:256])}.",
            QuarantineKind.NOT_AN_IMAGE,
            remedy=f"{SUPPORTED} are read.",
        )
    if kind is ImageFormat.PNG and len(data) >= 24:
        _refuse_bombs(png_size(data), max_megapixels)
        if 0 in png_size(data):
            check_png(data)
    try:
        image = Image.open(io.BytesIO(data), formats=(_READERS[kind].format or kind.value,))
    except (UnidentifiedImageError, *_DECODER_ERRORS) as error:
        raise UnreadableImage(
            f"The file begins like {with_article(kind)} but its header cannot be read"
            + (f" ({error})." if not isinstance(error, UnidentifiedImageError) else "."),
            QuarantineKind.TRUNCATED if len(data) < 256 else QuarantineKind.CORRUPT,
            cause="It was cut off, damaged, or uses a variant that is not supported.",
        ) from None
    _refuse_bombs(image.size, max_megapixels)
    return image, kind


def _refuse_bombs(size: tuple[int, int], max_megapixels: float) -> None:
    megapixels = size[0] * size[1] / 1e6
    if megapixels > max_megapixels:
        raise UnreadableImage(
            f"The image says that it is {size[0]} x {size[1]} px, {megapixels:,.0f} megapixels; "
            f"the limit is {max_megapixels:g}.",
            QuarantineKind.TOO_LARGE,
            remedy="If it is a real image, raise input.max_megapixels in the profile.",
        )


def _facts(image: Image.Image, kind: ImageFormat, data: bytes, max_megapixels: float) -> ImageFacts:
    tags: Any = getattr(image, "tag_v2", {})
    try:
        frame_numbers = _tiff_pages(image) if kind is ImageFormat.TIFF else (0,)
        orientation = 1 if kind is ImageFormat.TIFF else _orientation(image)
        bits = tags.get(_BITS, (8,))
    except _DECODER_ERRORS as error:
        raise _explained(error, kind) from None
    _refuse_bombs(image.size, max_megapixels)
    width, height = image.size[::-1] if orientation >= 5 else image.size
    deep = image.mode.startswith("I") or (kind is ImageFormat.PNG and png_is_deep_colour(data))
    if kind is ImageFormat.TIFF and max(np.atleast_1d(bits)) > 16:
        raise UnreadableImage(
            f"The TIFF has {max(np.atleast_1d(bits))} bits per value; 8 and 16 are read.",
            QuarantineKind.UNSUPPORTED,
            remedy="Convert it to 16 bits without losing contrast.",
        )
    deep = deep or (kind is ImageFormat.TIFF and max(np.atleast_1d(bits)) == 16)
    return ImageFacts(width, height, image.mode, 16 if deep else 8, kind, frame_numbers)


def _tiff_pages(image: Any) -> tuple[int, ...]:
    """Numbers of the full-resolution pages; the first page is always one."""
    count = getattr(image, "n_frames", 1)
    if count == 1:
        return (0,)
    pages = [0]
    for number in range(1, count):
        image.seek(number)
        if not int(image.tag_v2.get(_SUBFILE_TYPE, 0)) & 1:
            pages.append(number)
    image.seek(0)
    return tuple(pages)


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except _DECODER_ERRORS:  # a broken EXIF block does not make the pixels unusable
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


def _jpeg(data: bytes, image: Image.Image) -> Pixels:
    """Decode with simplejpeg, which gives Pillow's pixels but reports damage that Pillow passes over."""
    import simplejpeg

    colour = "GRAY" if image.mode == "L" else "RGB"
    try:
        array = simplejpeg.decode_jpeg(data, colorspace=colour)
    except ValueError as error:
        if any(sign in str(error).lower() for sign in _DAMAGE):
            raise _explained(error, ImageFormat.JPEG) from None
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
    if mode in ("1", "L"):
        return np.asarray(image.convert("L"))[..., None]
    if mode == "LA":
        return _on_white(np.asarray(image))
    if mode in ("RGBA", "PA") or (mode in ("P", "RGB", "L") and "transparency" in image.info):
        return _on_white(np.asarray(image.convert("RGBA")))
    return np.asarray(image if mode == "RGB" else image.convert("RGB"))


def _on_white(array: Any) -> Pixels:
    """Composite [..., colours + alpha] on white, at the array's own depth."""
    white = float(np.iinfo(array.dtype).max)
    alpha = array[..., -1:].astype(np.float32) / np.float32(white)
    mixed = array[..., :-1].astype(np.float32) * alpha + np.float32(white) * (1 - alpha)
    return np.rint(mixed).astype(array.dtype)  # type: ignore[no-any-return]


def _explained(error: BaseException, kind: ImageFormat) -> UnreadableImage:
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
