"""What files tell of their class is found where it is there, and only there."""

from __future__ import annotations

import numpy as np
import pytest

from domain_models.shortcuts import shortcut


def test_a_format_that_only_one_class_has_is_told_by_hand() -> None:
    """As in a public set of steel strips: one class of seven was saved as PNG, most of it."""
    labels = np.repeat(list("abcdefg"), 100)
    formats = np.where((labels == "a") & (np.arange(700) % 10 < 7), "PNG", "JPEG")
    found = shortcut("file format", formats.tolist(), labels.tolist())
    assert found is not None
    assert found.worth_telling
    # PNG means a; of JPEG each of the other six is as likely: recall 0.7 of a, a sixth of all others
    assert found.balanced_accuracy == pytest.approx((0.7 + 6 / 6) / 7, abs=1e-6)
    assert found.low < found.balanced_accuracy < found.high
    (value,) = found.telling
    assert (value.value, value.label, value.images, value.share) == ("PNG", "a", 70, 1.0)


@pytest.mark.parametrize("seed", range(5))
def test_chance_alone_is_no_shortcut(seed: int) -> None:
    chance = np.random.default_rng(seed)
    labels = chance.choice(list("abc"), 300, p=[0.8, 0.15, 0.05]).tolist()
    sites, widths = chance.choice(["north", "south"], 300).tolist(), chance.integers(300, 4000, 300).tolist()
    for found in (shortcut("site", sites, labels), shortcut("image width", widths, labels)):
        assert found is None or not found.worth_telling


def test_a_size_that_goes_with_the_class_is_found_among_many_sizes() -> None:
    chance = np.random.default_rng(0)
    labels = np.repeat(["big", "small"], 200)
    widths = np.where(labels == "big", chance.integers(800, 1200, 400), chance.integers(300, 900, 400))
    found = shortcut("image width", widths.tolist(), labels.tolist())
    assert found is not None
    assert found.worth_telling
    assert found.balanced_accuracy > 0.8


def test_images_of_one_group_are_no_independent_witnesses() -> None:
    """Each patient was at one site: the site predicts the class of known patients, and not of new ones."""
    chance = np.random.default_rng(1)
    patients = np.repeat(np.arange(30), 20)
    label_of, site_of = chance.choice(["ill", "well"], 30), np.asarray([f"site {i}" for i in range(30)])
    labels, sites = label_of[patients].tolist(), site_of[patients].tolist()
    assert shortcut("site", sites, labels, patients.tolist()) is None
    alone = shortcut("site", sites, labels)
    assert alone is not None
    assert alone.balanced_accuracy == 1.0, "without groups it would look like one"


def test_one_value_or_one_class_tells_nothing() -> None:
    assert shortcut("file format", ["PNG"] * 9, list("aaabbbccc")) is None
    assert shortcut("file format", ["PNG", "BMP"] * 3, ["a"] * 6) is None


def test_tenths_of_a_number_are_told_in_words_a_person_would_use() -> None:
    chance = np.random.default_rng(0)
    brightness = [*chance.uniform(0.1, 0.3, 100), *chance.uniform(0.4, 0.9, 100)]
    found = shortcut("brightness", [float(value) for value in brightness], ["dark"] * 100 + ["light"] * 100, range(200))
    assert found is not None
    told = [value.value for value in found.telling]
    assert any(value.startswith("less than 0.") for value in told)
    assert any(value.endswith(" or more") for value in told)
    assert not any("inf" in value for value in told)
