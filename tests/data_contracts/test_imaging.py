"""Real files of every format and depth, upright and whole, or a reason a person understands."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from data_contracts.errors import UnreadableImage
from data_contracts.image_formats import ImageFormat, describe_content, sniff
from data_contracts.imaging import channels_of, decode, probe, to_8bit
from data_contracts.vocabulary import QuarantineKind

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (30, 40, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (30, 40), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (30, 40), dtype=np.uint16)
DEEP_COLOUR = RNG.integers(0, 65536, (30, 40, 3), dtype=np.uint16)
LOSSLESS = {"PNG": {}, "TIFF": {"compression": "tiff_lzw"}, "BMP": {}, "WEBP": {"lossless": True}}


def saved(image: Image.Image, format_name: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format_name, **options)
    return stream.getvalue()


def smooth(height: int = 60, width: int = 80) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 / width, y * 255 / height, (x + y) % 256], axis=2).astype(np.uint8)


@pytest.mark.parametrize("format_name", list(LOSSLESS))
def test_colour_comes_back_bit_for_bit_from_lossless_formats(format_name: str) -> None:
    image = decode(saved(Image.fromarray(COLOUR), format_name, **LOSSLESS[format_name]))
    assert image.array.dtype == np.uint8
    np.testing.assert_array_equal(image.array, COLOUR)
    assert (image.facts.width, image.facts.height, image.facts.bit_depth) == (40, 30, 8)


@pytest.mark.parametrize("format_name", ["PNG", "TIFF", "BMP"])
def test_grey_stays_one_channel(format_name: str) -> None:
    image = decode(saved(Image.fromarray(GREY), format_name))
    np.testing.assert_array_equal(image.array, GREY[..., None])


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_gives_the_pixels_that_pillow_gives(mode: str, progressive: bool) -> None:
    data = saved(Image.fromarray(smooth()).convert(mode), "JPEG", quality=88, progressive=progressive)
    expected = np.atleast_3d(np.asarray(Image.open(io.BytesIO(data))))
    np.testing.assert_array_equal(decode(data).array, expected)


@pytest.mark.parametrize("format_name", ["PNG", "TIFF"])
def test_sixteen_bit_grey_keeps_its_sixteen_bits(format_name: str) -> None:
    image = decode(saved(Image.fromarray(DEEP), format_name))
    assert image.array.dtype == np.uint16
    assert image.facts.bit_depth == 16
    np.testing.assert_array_equal(image.array[..., 0], DEEP)


@pytest.mark.parametrize("extension", [".png", ".tif"])
def test_sixteen_bit_colour_keeps_its_sixteen_bits(extension: str) -> None:
    data = cv2.imencode(extension, DEEP_COLOUR[..., ::-1])[1].tobytes()
    image = decode(data)
    assert image.array.dtype == np.uint16
    np.testing.assert_array_equal(image.array, DEEP_COLOUR)


def test_sixteen_bit_colour_with_alpha_is_composited_on_white() -> None:
    alpha = np.zeros((30, 40, 1), np.uint16)
    alpha[:15] = 65535
    data = cv2.imencode(".png", np.concatenate([DEEP_COLOUR[..., ::-1], alpha], axis=2))[1].tobytes()
    array = decode(data).array
    np.testing.assert_array_equal(array[:15], DEEP_COLOUR[:15])
    assert (array[15:] == 65535).all()


def test_big_endian_and_white_is_zero_tiffs_are_read_as_they_look() -> None:
    big = struct.pack(">2sHI", b"MM", 42, 8)
    pixels = DEEP[:2, :3].astype(">u2").tobytes()
    entries = [(256, 3), (257, 2), (258, 16), (259, 1), (262, 1), (273, 0), (277, 1), (278, 2), (279, len(pixels))]
    offset = 8 + 2 + 12 * len(entries) + 4
    body = struct.pack(">H", len(entries))
    for tag, value in entries:
        body += struct.pack(">HHI", tag, 4, 1) + struct.pack(">I", offset if tag == 273 else value)
    data = big + body + struct.pack(">I", 0) + pixels
    np.testing.assert_array_equal(decode(data).array[..., 0], DEEP[:2, :3])


def test_palette_rgba_and_one_bit_become_what_a_viewer_shows() -> None:
    palette = Image.fromarray(smooth()).quantize(16)
    np.testing.assert_array_equal(decode(saved(palette, "PNG")).array, np.asarray(palette.convert("RGB")))

    rgba = np.dstack([COLOUR, np.where(np.arange(40) < 20, 255, 0)[None].repeat(30, 0).astype(np.uint8)])
    shown = decode(saved(Image.fromarray(rgba), "PNG")).array
    np.testing.assert_array_equal(shown[:, :20], COLOUR[:, :20])
    assert (shown[:, 20:] == 255).all()

    one_bit = Image.fromarray(GREY).convert("1")
    array = decode(saved(one_bit, "PNG")).array
    assert array.shape == (30, 40, 1)
    assert set(np.unique(array)) == {0, 255}


def test_grey_with_alpha_stays_grey_on_white() -> None:
    image = Image.merge("LA", [Image.fromarray(GREY), Image.new("L", (40, 30), 0)])
    array = decode(saved(image, "PNG")).array
    assert array.shape == (30, 40, 1)
    assert (array == 255).all()


def test_cmyk_jpeg_becomes_rgb_near_the_original() -> None:
    original = smooth()
    array = decode(saved(Image.fromarray(original).convert("CMYK"), "JPEG", quality=95)).array
    assert array.shape == original.shape
    assert np.abs(array.astype(int) - original).mean() < 12


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_name", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_exif_orientation_is_applied_once_whatever_the_format(format_name: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = smooth(30, 40)
    upright[:8, :8] = (255, 0, 0)
    stored = Image.fromarray(np.ascontiguousarray(_stored(upright, orientation)))
    options = {"quality": 100, "subsampling": 0} if format_name == "JPEG" else LOSSLESS[format_name]
    data = saved(stored, format_name, exif=exif, **options)
    image = decode(data)
    assert image.array.shape == upright.shape
    assert np.abs(image.array.astype(int) - upright).mean() < 2.5
    facts = probe(data)
    assert (facts.width, facts.height) == (40, 30)


def _stored(upright: np.ndarray, orientation: int) -> np.ndarray:
    """Brute force: the stored array from which Pillow's own transpose makes the upright one."""
    inverse = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    if orientation == 1:
        return upright
    return np.asarray(Image.fromarray(upright).transpose(Image.Transpose(inverse[orientation])))


def test_a_tiff_of_several_pages_is_several_images_and_thumbnails_are_none() -> None:
    pages = [Image.fromarray(GREY), Image.fromarray(GREY[::-1].copy()), Image.fromarray(DEEP)]
    data = saved(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    assert probe(data).frames == 3
    np.testing.assert_array_equal(decode(data, frame=1).array[..., 0], GREY[::-1])
    third = decode(data, frame=2)
    np.testing.assert_array_equal(third.array[..., 0], DEEP)
    assert third.facts.bit_depth == 16
    with pytest.raises(UnreadableImage, match="no image 3"):
        decode(data, frame=3)


def test_a_phone_photograph_with_a_second_picture_is_one_jpeg() -> None:
    first, second = Image.fromarray(smooth()), Image.fromarray(smooth()[::2, ::2].copy())
    data = saved(first, "MPO", save_all=True, append_images=[second])
    facts = probe(data)
    assert (facts.format, facts.frames) == (ImageFormat.JPEG, 1)
    assert decode(data).array.shape == (60, 80, 3)


def png_with_size(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


PNG_BYTES = saved(Image.fromarray(COLOUR), "PNG")
JPEG_BYTES = saved(Image.fromarray(smooth(300, 400)), "JPEG")
TROUBLES: dict[str, tuple[bytes, QuarantineKind, str]] = {
    "nothing": (b"", QuarantineKind.EMPTY, "zero bytes"),
    "text": (b"this is no picture\n" * 20, QuarantineKind.NOT_AN_IMAGE, "plain text"),
    "html": (b"<!DOCTYPE html><html></html>", QuarantineKind.NOT_AN_IMAGE, "HTML"),
    "pdf": (b"%PDF-1.7\n%" + bytes(100), QuarantineKind.NOT_AN_IMAGE, "PDF"),
    "zip": (b"PK\x03\x04" + bytes(200), QuarantineKind.NOT_AN_IMAGE, "ZIP"),
    "zeros": (bytes(4000), QuarantineKind.NOT_AN_IMAGE, "zero bytes"),
    "dicom": (bytes(128) + b"DICM" + bytes(64), QuarantineKind.NOT_AN_IMAGE, "DICOM"),
    "gif": (saved(Image.fromarray(GREY), "GIF"), QuarantineKind.NOT_AN_IMAGE, "GIF"),
    "half a png": (PNG_BYTES[: len(PNG_BYTES) // 2], QuarantineKind.TRUNCATED, "bytes are missing"),
    "png without end": (PNG_BYTES[:-12], QuarantineKind.TRUNCATED, "end"),
    "half a jpeg": (JPEG_BYTES[: len(JPEG_BYTES) // 2], QuarantineKind.TRUNCATED, "too early"),
    "bomb": (png_with_size(60000, 60000), QuarantineKind.TOO_LARGE, "megapixels"),
    "no width": (png_with_size(0, 10), QuarantineKind.CORRUPT, "no pixels"),
    "tiff into nowhere": (b"II*\0\xff\xff\xff\x7f", QuarantineKind.TRUNCATED, "header"),
    "half a webp": (saved(Image.fromarray(COLOUR), "WEBP")[:300], QuarantineKind.CORRUPT, "header"),
    "half a bmp": (saved(Image.fromarray(COLOUR), "BMP")[:900], QuarantineKind.TRUNCATED, "too early"),
    "float tiff": (saved(Image.fromarray(GREY.astype(np.float32)), "TIFF"), QuarantineKind.UNSUPPORTED, "32 bits"),
}


@pytest.mark.parametrize("name", list(TROUBLES))
def test_each_trouble_has_its_kind_and_its_reason(name: str) -> None:
    data, kind, words = TROUBLES[name]
    with pytest.raises(UnreadableImage) as caught:
        decode(data)
    assert caught.value.kind is kind
    assert words in str(caught.value)


def test_one_flipped_bit_of_a_png_is_found_by_its_checksum() -> None:
    data = bytearray(PNG_BYTES)
    data[len(data) // 2] ^= 1
    with pytest.raises(UnreadableImage, match="checksum"):
        decode(bytes(data))


def test_jpeg_data_that_pillow_would_pass_over_is_found() -> None:
    data = bytearray(JPEG_BYTES)
    start = data.index(b"\xff\xda") + 20
    data[start : start + 400] = bytes(RNG.integers(0, 255, 400, dtype=np.uint8))  # no 0xff, so no marker either
    Image.open(io.BytesIO(bytes(data))).load()
    with pytest.raises(UnreadableImage, match="damaged"):
        decode(bytes(data))


def test_padding_before_the_end_of_a_jpeg_does_no_harm() -> None:
    end = JPEG_BYTES.rindex(b"\xff\xd9")
    padded = JPEG_BYTES[:end] + bytes(3) + JPEG_BYTES[end:]
    np.testing.assert_array_equal(decode(padded).array, decode(JPEG_BYTES).array)


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_jpeg_is_reduced_to_the_smallest_of_its_sizes_that_is_enough_and_other_formats_come_whole(
    orientation: int,
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = smooth(800, 400)
    stored = Image.fromarray(np.ascontiguousarray(_stored(upright, orientation)))
    data = saved(stored, "JPEG", quality=95, subsampling=0, exif=exif)
    image = decode(data, at_least=(150, 100))
    assert image.array.shape == (200, 100, 3), "two eighths; one eighth would be 100 x 50"
    assert (image.facts.height, image.facts.width) == (800, 400)
    averaged = cv2.resize(upright, (100, 200), interpolation=cv2.INTER_AREA)
    assert np.abs(image.array.astype(int) - averaged).mean() < 2.5
    assert decode(data, at_least=(800, 400)).array.shape == (800, 400, 3)
    assert decode(data, at_least=(1000, 1000)).array.shape == (800, 400, 3)
    assert decode(saved(Image.fromarray(upright), "PNG"), at_least=(150, 100)).array.shape == (800, 400, 3)


def test_damage_is_found_in_a_reduced_jpeg_too() -> None:
    data = bytearray(saved(Image.fromarray(smooth(480, 640)), "JPEG", quality=90))
    with pytest.raises(UnreadableImage, match="ends too early"):
        decode(bytes(data[: len(data) // 2]), at_least=(60, 80))


def test_the_limit_on_megapixels_is_the_callers() -> None:
    data = saved(Image.new("L", (2000, 1000)), "PNG")
    assert decode(data, max_megapixels=2.0).array.shape == (1000, 2000, 1)
    with pytest.raises(UnreadableImage, match=r"2 megapixels; the limit is 1\.5"):
        probe(data, max_megapixels=1.5)


@pytest.mark.parametrize("format_name", ["PNG", "JPEG", "TIFF", "BMP", "WEBP"])
def test_random_damage_never_raises_anything_but_a_reason(format_name: str) -> None:
    rng = np.random.default_rng(7)
    whole = saved(Image.fromarray(smooth(24, 32)), format_name)
    for _ in range(150):
        data = bytearray(whole)
        for at in rng.integers(0, len(data), rng.integers(1, 6)):
            data[at] = rng.integers(0, 256)
        if rng.random() < 0.3:
            data = data[: rng.integers(0, len(data))]
        with contextlib.suppress(UnreadableImage):
            assert decode(bytes(data), max_megapixels=1).array.shape[2] in (1, 3)


def test_a_window_shows_sixteen_bits_in_eight() -> None:
    ramp = np.linspace(0, 4095, 100 * 100).astype(np.uint16).reshape(100, 100, 1)
    automatic = to_8bit(ramp)
    assert automatic.dtype == np.uint8
    assert automatic.min() == 0
    assert automatic.max() == 255
    windowed = to_8bit(ramp, window_centre=1000, window_width=200)
    assert (windowed[ramp <= 900] == 0).all()
    assert (windowed[ramp >= 1100] == 255).all()
    np.testing.assert_array_equal(to_8bit(COLOUR, 100, 10), COLOUR)
    assert (to_8bit(np.full((4, 4, 1), 777, np.uint16)) == 0).all()


def test_channels_follow_the_files_mode() -> None:
    assert [channels_of(mode) for mode in ("1", "L", "I;16", "RGB", "P", "CMYK")] == [1, 1, 1, 3, 3, 3]


def test_contents_are_named_for_a_person(tmp_path: Path) -> None:
    assert describe_content(b"\xff" * 30) == "data of an unknown kind"
    assert describe_content(b"\0\0\0\x20ftypheic" + bytes(8)) == "a HEIC photograph"
    assert sniff(JPEG_BYTES[:16]) is ImageFormat.JPEG
    assert sniff(b"") is None
