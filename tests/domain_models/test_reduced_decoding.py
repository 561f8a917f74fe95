"""Decoding at a reduced size is a part of the preprocessing, so that whoever prepares an image does the same."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from data_contracts.blobs import image_id_of
from domain_models.preprocessing import Interpolation, Preprocessing, ResizeMode, prepare_file, reduced
from pipelines.steps.score_files import prepare_bytes

WHOLE = Preprocessing(height=48, width=64)
REDUCED = WHOLE.model_copy(update={"reduced_decoding": True})


def photograph(format_name: str = "JPEG") -> bytes:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    stream = io.BytesIO()
    coarse.resize((1200, 900), Image.Resampling.BICUBIC).save(stream, format_name, quality=92)
    return stream.getvalue()


def test_training_and_scoring_see_the_same_pixels_which_are_near_those_of_the_whole_image() -> None:
    data = photograph()
    seen = prepare_file(data, REDUCED)
    image_id, scored = prepare_bytes(data, REDUCED)
    np.testing.assert_array_equal(seen, scored)
    assert image_id == image_id_of(data)
    whole = prepare_file(data, WHOLE)
    assert (seen != whole).any(), "it is another way of reading, or nothing is tested"
    assert np.abs(seen.astype(int) - whole).mean() < 2


@pytest.mark.parametrize("resize", list(ResizeMode))
def test_enough_is_decoded_for_every_way_of_resizing(resize: ResizeMode) -> None:
    data = photograph()
    spec = Preprocessing(height=100, width=40, resize=resize, interpolation=Interpolation.AREA)
    whole = prepare_file(data, spec)
    sooner = prepare_file(data, spec.model_copy(update={"reduced_decoding": True}))
    assert sooner.shape == (100, 40, 3)
    assert np.abs(sooner.astype(int) - whole).mean() < 2


def test_a_model_reduced_from_another_gets_the_pixels_of_that() -> None:
    small = REDUCED.model_copy(update={"height": 24, "width": 32, "reduced_from": (48, 64)})
    data = photograph()
    np.testing.assert_array_equal(prepare_file(data, small), reduced(prepare_file(data, REDUCED), small))


def test_the_key_of_pixels_changes_and_older_ones_stay() -> None:
    assert REDUCED.pixel_key != WHOLE.pixel_key
    assert Preprocessing().pixel_key == "2f3d9fce903edea0"


def test_png_files_are_read_as_ever() -> None:
    data = photograph("PNG")
    np.testing.assert_array_equal(prepare_file(data, REDUCED), prepare_file(data, WHOLE))
