"""The README's pictures are there, are all shown, and stay small."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest
from PIL import Image

from review_app.texts import Language

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "review_app" / "pictures"
README = (ROOT / "README.md").read_text(encoding="utf-8")
SCREENS = ("review", "batch", "disagreements", "progress", "audit")

MOST_BYTES = 200_000
MOST_BYTES_TOGETHER = 2_000_000


def _named() -> set[str]:
    """Files that the README shows or links to, by name."""
    return set(re.findall(r"review_app/pictures/([\w.-]+)", README))


def test_every_picture_that_the_readme_names_exists_and_every_picture_is_named() -> None:
    assert _named() == {path.name for path in PICTURES.iterdir()}


@pytest.mark.parametrize(("screen", "language"), list(product(SCREENS, Language)))
def test_each_screen_is_shown_in_each_language_light_and_dark(screen: str, language: Language) -> None:
    assert {f"{screen}-{language.value}-{theme}.webp" for theme in ("light", "dark")} <= _named()


def test_the_pictures_are_small_enough_to_travel_with_the_code() -> None:
    sizes = {path.name: path.stat().st_size for path in PICTURES.iterdir()}
    assert {name: size for name, size in sizes.items() if size > MOST_BYTES} == {}
    assert sum(sizes.values()) < MOST_BYTES_TOGETHER


def test_a_dark_picture_is_dark_and_a_light_one_light() -> None:
    for path in PICTURES.glob("*-*-*.webp"):
        with Image.open(path) as image:
            corner = image.convert("L").getpixel((4, image.height - 4))
        assert isinstance(corner, int)
        assert (corner < 64) == path.stem.endswith("-dark"), path.name


def test_the_readme_says_beside_the_pictures_whose_images_they_show() -> None:
    section = README.split("## The review app", 1)[1].split("\n## ", 1)[0]
    assert "review_app/pictures/" in section
    assert "CC BY-NC-SA 4.0" in section
