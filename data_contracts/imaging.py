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
import warnings
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
from data_contracts.pixels import DECODER_ERRORS, GREY_MODES, Pixels, explained, orientation_of, upright_pixels
from data_contracts.vocabulary import QuarantineKind

# The limit is the caller's, checked against the header before a pixel is decoded; Pillow's own would only warn.
Image.MAX_IMAGE_PIXELS = None
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

MAX_MEGAPIXELS = 120.0
"""Default limit; the profile's ``input.max_megapixels`` replaces it."""

_READERS = {
    ImageFormat.PNG: PngImagePlugin.PngImageFile,
    ImageFormat.JPEG: JpegImagePlugin.JpegImageFile,
    ImageFormat.TIFF: TiffImagePlugin.TiffImageFile,
    ImageFormat.BMP: BmpImagePlugin.BmpImageFile,
    ImageFormat.WEBP: WebPImagePlugin.WebPImageFile,
}
_SUBFILE_TYPE, _BITS = 254, 258


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
    """Pixels and facts. ``array`` is uint8 or uint16, [height, width, channels], channels 1 or 3 (RGB), upright.

    The facts are the file's: where a JPEG was reduced on the way, its array is smaller than they say.
    """

    array: Pixels
    facts: ImageFacts


def channels_of(mode: str) -> int:
    """1 for a file's grey modes, 3 for all others."""
    return 1 if mode in GREY_MODES else 3


def probe(data: bytes, *, max_megapixels: float = MAX_MEGAPIXELS) -> ImageFacts:
    """Read the header alone; much faster than :func:`decode`, but damage to the pixels is not found.

    Raises:
        UnreadableImage: the bytes are no supported image, or it has more than ``max_megapixels``.
    """
    image, kind = _open(data, max_megapixels)
    with image:
        return _facts(image, kind, data, max_megapixels)


def decode(
    data: bytes, *, max_megapixels: float = MAX_MEGAPIXELS, frame: int = 0, at_least: tuple[int, int] | None = None
) -> DecodedImage:
    """Decode one image of a file completely; see the module for what comes out.

    Args:
        data: the whole file.
        max_megapixels: larger images are refused before decoding (decompression bombs).
        frame: page of a multi-page TIFF, one of :attr:`ImageFacts.frame_numbers`.
        at_least: upright height and width, px. A JPEG is decoded at the smallest of its sizes (eighths of its own)
            that has both; other formats cannot be, and come whole.

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
        if frame:
            _seek(image, frame, max_megapixels)
        mode, depth = image.mode, _bit_depth(image, kind, data)
        array = upright_pixels(image, kind, data, frame, deep=depth == 16, at_least=at_least)
    height, width = (facts.height, facts.width) if kind is ImageFormat.JPEG else array.shape[:2]
    return DecodedImage(array, ImageFacts(width, height, mode, depth, facts.format, facts.frame_numbers))


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
    except (UnidentifiedImageError, *DECODER_ERRORS) as error:
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
    try:
        frame_numbers = _tiff_pages(image) if kind is ImageFormat.TIFF else (0,)
    except DECODER_ERRORS as error:
        raise explained(error, kind) from None
    _refuse_bombs(image.size, max_megapixels)
    # Pillow reports the size of TIFF pages as they will be turned
    turned = kind is not ImageFormat.TIFF and orientation_of(image) >= 5
    width, height = image.size[::-1] if turned else image.size
    return ImageFacts(width, height, image.mode, _bit_depth(image, kind, data), kind, frame_numbers)


def _bit_depth(image: Image.Image, kind: ImageFormat, data: bytes) -> int:
    if kind is ImageFormat.TIFF:
        tags: Any = getattr(image, "tag_v2", {})
        try:
            bits = int(np.max(tags.get(_BITS, (8,))))
        except DECODER_ERRORS as error:
            raise explained(error, kind) from None
        if bits > 16:
            raise UnreadableImage(
                f"The TIFF has {bits} bits per value; 8 and 16 are read.",
                QuarantineKind.UNSUPPORTED,
                remedy="Convert it to 16 bits without losing contrast.",
            )
        return 16 if bits > 8 else 8
    deep = image.mode.startswith("I") or (kind is ImageFormat.PNG and png_is_deep_colour(data))
    return 16 if deep else 8


def _seek(image: Image.Image, frame: int, max_megapixels: float) -> None:
    try:
        image.seek(frame)
    except DECODER_ERRORS as error:
        raise explained(error, ImageFormat.TIFF) from None
    _refuse_bombs(image.size, max_megapixels)


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
