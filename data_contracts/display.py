"""Display copies: what the review app shows of an image, made once by the pipeline, read without any decoder or model.

Layout of ``<workspace>/display/<first 2 of image id>/<image id, '#' as '_'>/``:

``large.webp|png``  longer side at most 2048 px; ``large.png`` is lossless, with 16 bits where the image has them, so
                    that contrast and window can be changed on the stored depth
``small.webp``      longer side at most 256 px, 8 bits
``overlay.webp``    the evidence for the predicted class as coloured heat with transparency, in the shape of ``small``
``about.json``      :class:`AboutCopies`; written last, so that an image with this file has its copies
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from data_contracts.errors import BadInput, NotFound
from data_contracts.pixels import Pixels
from data_contracts.records import Record
from data_contracts.workspace import Workspace, write_atomically

LARGE_SIDE = 2048
SMALL_SIDE = 256
LOSSLESS_PIXELS = 400_000
"""Up to so many pixels the large copy is lossless; larger photographs are kept at high quality."""

_IMAGE_ID = re.compile(r"[0-9a-f]{64}(#[0-9]{1,6})?")
_WEBP, _PNG = "image/webp", "image/png"
_QUALITY = 92
_HEAT_OPACITY = 0.65


class AboutCopies(Record):
    """What the copies are of. ``width`` and ``height`` are those of the image, ``large_*`` of the large copy, in px.

    ``overlay_of`` is the model version whose overlay lies there, ``overlay_class`` the class that it explains.
    """

    width: int
    height: int
    bit_depth: int
    display_of: str
    large_width: int
    large_height: int
    lossless: bool
    overlay_of: str | None = None
    overlay_class: str | None = None


class DisplayCopies:
    """The display copies of a workspace. Nothing outside their folder is ever read."""

    def __init__(self, workspace: Workspace) -> None:
        self._folder = workspace.display

    def folder(self, image_id: str) -> Path:
        """Where the copies of an image lie, or would lie.

        Raises:
            BadInput: this is no image id.
        """
        if not _IMAGE_ID.fullmatch(image_id):
            raise BadInput(f"{image_id[:80]!r} is no image id.")
        return self._folder / image_id[:2] / image_id.replace("#", "_")

    def has(self, image_id: str) -> bool:
        """Whether the copies of an image are there, whole."""
        return (self.folder(image_id) / "about.json").is_file()

    def about(self, image_id: str) -> AboutCopies:
        """What the copies are of.

        Raises:
            NotFound: there are none.
        """
        try:
            return AboutCopies.model_validate_json(self._read(image_id, "about.json"))
        except ValidationError:
            raise _missing(image_id) from None

    def large(self, image_id: str) -> tuple[bytes, str]:
        """The large copy and its media type.

        Raises:
            NotFound: there is none.
        """
        deep = self.folder(image_id) / "large.png"
        return (
            (self._read(image_id, "large.png"), _PNG) if deep.is_file() else (self._read(image_id, "large.webp"), _WEBP)
        )

    def small(self, image_id: str) -> tuple[bytes, str]:
        """The small copy and its media type.

        Raises:
            NotFound: there is none.
        """
        return self._read(image_id, "small.webp"), _WEBP

    def overlay(self, image_id: str) -> bytes | None:
        """The overlay as WebP with transparency; ``None`` where no model has looked at the image yet."""
        try:
            return self._read(image_id, "overlay.webp")
        except NotFound:
            return None

    def _read(self, image_id: str, name: str) -> bytes:
        path = self.folder(image_id) / name
        if not path.resolve().is_relative_to(self._folder.resolve()):
            raise _missing(image_id)
        try:
            return path.read_bytes()
        except OSError:
            raise _missing(image_id) from None

    def write_copies(self, image_id: str, picture: Pixels, *, display_of: str) -> AboutCopies:
        """Make the copies of an image; copies that are there are replaced, an overlay goes with them.

        Args:
            image_id: of the image.
            picture: uint8 or uint16 [height, width, 1 or 3], upright, as :mod:`data_contracts.imaging` decodes it.
            display_of: uri of the image.
        """
        from data_contracts.imaging import to_8bit

        folder = self.folder(image_id)
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("about.json", "overlay.webp"):
            (folder / name).unlink(missing_ok=True)
        deep = picture.dtype == np.uint16
        large = _shrunk(picture, LARGE_SIDE)
        lossless = deep or large.shape[0] * large.shape[1] <= LOSSLESS_PIXELS
        written, other = ("large.png", "large.webp") if lossless else ("large.webp", "large.png")
        (folder / other).unlink(missing_ok=True)
        write_atomically(folder / written, _png(large) if lossless else _webp(large))
        write_atomically(folder / "small.webp", _webp(_shrunk(to_8bit(picture), SMALL_SIDE)))
        about = AboutCopies(
            width=picture.shape[1],
            height=picture.shape[0],
            bit_depth=16 if deep else 8,
            display_of=display_of,
            large_width=large.shape[1],
            large_height=large.shape[0],
            lossless=lossless,
        )
        write_atomically(folder / "about.json", about.model_dump_json())
        return about

    def write_overlay(self, image_id: str, heat: NDArray[np.float32], *, model_version: str, class_name: str) -> None:
        """Keep where the evidence for a class lies; replaces the overlay that is there.

        Args:
            image_id: of an image with copies.
            heat: float32 [h, w] in 0 to 1, in the shape of the image.
            model_version: whose evidence.
            class_name: for which class.

        Raises:
            NotFound: the image has no copies.
        """
        about = self.about(image_id)
        folder = self.folder(image_id)
        write_atomically(folder / "overlay.webp", _webp(_coloured(heat)))
        told = about.model_copy(update={"overlay_of": model_version, "overlay_class": class_name})
        write_atomically(folder / "about.json", told.model_dump_json())


def small_size(width: int, height: int) -> tuple[int, int]:
    """Width and height of the small copy, px."""
    return _size_within(width, height, SMALL_SIDE)


def _size_within(width: int, height: int, side: int) -> tuple[int, int]:
    scale = min(1.0, side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _shrunk(picture: Pixels, side: int) -> Pixels:
    """The picture with its longer side at most ``side``, never enlarged, at its own depth."""
    import cv2

    height, width = picture.shape[:2]
    size = _size_within(width, height, side)
    if size == (width, height):
        return picture
    small: Pixels = np.atleast_3d(cv2.resize(np.ascontiguousarray(picture), size, interpolation=cv2.INTER_AREA))
    return small


def _colours() -> NDArray[np.uint8]:
    """uint8 [256, 4]: from clear over violet and orange to yellow, a scale that colour-blind readers can tell."""
    heat = np.linspace(0.0, 1.0, 256)
    stops = np.array([0.0, 0.35, 0.7, 1.0])
    colours = np.array([[60, 20, 120], [150, 30, 130], [235, 105, 60], [252, 230, 80]], dtype=np.float64)
    channels = [np.interp(heat, stops, colours[:, channel]) for channel in range(3)]
    opacity = 255.0 * _HEAT_OPACITY * np.clip((heat - 0.1) / 0.6, 0.0, 1.0)
    rgba: NDArray[np.uint8] = np.rint(np.stack([*channels, opacity], axis=-1)).astype(np.uint8)
    return rgba


_HEAT_COLOURS = _colours()


def _coloured(heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """uint8 [h, w, 4] of heat in 0 to 1."""
    rgba: NDArray[np.uint8] = _HEAT_COLOURS[np.rint(heat * 255.0).astype(np.uint8)]
    return rgba


def _webp(picture: Pixels | NDArray[np.uint8]) -> bytes:
    import io

    from PIL import Image

    array = picture[..., 0] if picture.shape[-1] == 1 else picture
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array)).save(file, "WEBP", quality=_QUALITY, method=2)
    return file.getvalue()


def _png(picture: Pixels) -> bytes:
    import cv2

    array = picture[..., ::-1] if picture.shape[-1] == 3 else picture
    # Lossless WebP would be smaller, but takes many times as long to write.
    written, data = cv2.imencode(".png", np.ascontiguousarray(array), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not written:  # cannot happen for arrays of these kinds
        raise ValueError(f"OpenCV cannot write a PNG of {picture.dtype} {list(picture.shape)}")
    return bytes(data.tobytes())


def _missing(image_id: str) -> NotFound:
    return NotFound(
        f"The image {image_id[:12]}… has no display copy.",
        cause="It was not in a review round yet, or the display folder was cleared.",
        remedy="Run `tailsight queue` again; it makes what is missing.",
    )
