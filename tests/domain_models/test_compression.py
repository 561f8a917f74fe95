"""Choosing among smaller models, measuring their speed, and drawing them."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from domain_models.compression import (
    CompressionRow,
    Target,
    TargetKind,
    choose,
    compared,
    macro_f1_with_interval,
    pareto_front,
)
from domain_models.compute import Compute, Threads
from domain_models.deployment_speed import Setting, best_setting, images_per_second, milliseconds_an_image
from domain_models.pictures.canvas import png
from domain_models.pictures.compression import compression_figure

CHAMPION_F1 = 0.9
FAST = Target(kind=TargetKind.MILLISECONDS, at_most=2.0)
SMALL = Target(kind=TargetKind.MEGABYTES, at_most=5.0)


def row(name: str, milliseconds: float, megabytes: float, macro_f1: float, family: str = "student") -> CompressionRow:
    return CompressionRow(
        name=name,
        family=family,
        runtime="openvino",
        width=64,
        height=64,
        milliseconds=milliseconds,
        megabytes=megabytes,
        macro_f1=macro_f1,
        macro_f1_ci=(macro_f1 - 0.02, macro_f1 + 0.02),
        difference=macro_f1 - CHAMPION_F1,
        difference_ci=None,
    )


ROWS = [
    row("champion", 6.0, 20.0, CHAMPION_F1, "champion"),
    row("good and fast", 1.8, 13.0, 0.895),
    row("better and fast", 1.9, 13.0, 0.897),
    row("best but slow", 2.1, 13.0, 0.905),
    row("tiny and poor", 0.5, 2.0, 0.80),
]


def test_the_best_that_meets_the_target_within_the_loss_is_chosen() -> None:
    choice = choose(ROWS, FAST, 1.0)
    assert choice.chosen == "better and fast"
    assert "1.90 ms an image, 13.0 MB, macro-F1 0.897" in choice.sentence
    assert "best macro-F1 of all that meet the target" in choice.sentence


def test_among_equals_the_cheaper_is_chosen() -> None:
    assert choose([*ROWS, row("as good", 1.2, 13.0, 0.897)], FAST, 1.0).chosen == "as good"


def test_where_what_is_small_enough_loses_too_much_nothing_is_chosen_and_the_nearest_is_named() -> None:
    choice = choose(ROWS, SMALL, 1.0)
    assert choice.chosen is None
    assert "at most 5 MB loses more than 1 points; nothing was registered" in choice.sentence
    assert "The nearest: tiny and poor" in choice.sentence
    assert choose(ROWS, SMALL, 10.0).chosen == "tiny and poor"


def test_where_nothing_is_small_enough_the_smallest_within_the_loss_is_named() -> None:
    choice = choose(ROWS, Target(kind=TargetKind.MILLISECONDS, at_most=0.1), 1.0)
    assert choice.chosen is None
    assert "Nothing has at most 0.1 ms an image" in choice.sentence
    assert "The nearest: good and fast" in choice.sentence


def test_a_loss_of_just_what_is_allowed_is_allowed() -> None:
    assert choose([row("just", 1.0, 1.0, 0.89)], FAST, 1.0).chosen == "just"
    assert choose([row("over", 1.0, 1.0, 0.8899)], FAST, 1.0).chosen is None


FIGURES = st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(0, 6))


@given(st.lists(FIGURES, min_size=1, max_size=12), st.sampled_from([FAST, SMALL]))
def test_the_front_is_what_no_other_beats_and_everything_else_is_beaten(
    figures: list[tuple[int, int, int]], target: Target
) -> None:
    rows = [row(str(i), float(a), float(b), c / 10) for i, (a, b, c) in enumerate(figures)]
    front = pareto_front(rows, target)
    for one in rows:
        at_least_as_good = [
            other for other in front if target.of(other) <= target.of(one) and other.macro_f1 >= one.macro_f1
        ]
        assert at_least_as_good
        if one in front:
            assert at_least_as_good == [one]


def test_macro_f1_is_what_others_call_so_and_the_difference_is_paired() -> None:
    chance = np.random.default_rng(0)
    labels = chance.integers(0, 3, 300)
    champion = np.where(chance.random(300) < 0.9, labels, (labels + 1) % 3)
    smaller = np.where(chance.random(300) < 0.95, champion, (champion + 1) % 3)
    groups = np.arange(300) // 2
    value, interval = macro_f1_with_interval(labels, smaller, groups, 3)
    assert value == pytest.approx(f1_score(labels, smaller, average="macro"))
    assert interval is not None
    assert interval[0] < value < interval[1]
    found = compared(labels, champion, smaller, groups, 3)
    assert found["difference"] == pytest.approx(value - f1_score(labels, champion, average="macro"))
    low, high = found["difference_ci"]  # type: ignore[misc]
    assert high - low < interval[1] - interval[0], "two models that agree are compared more surely than each is known"


def test_speed_is_that_of_all_cores_at_the_best_setting() -> None:
    seen: set[int] = set()

    def opened(threads: Threads) -> Compute:
        def compute(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
            seen.update(batch[:, 0, 0, 0].tolist())
            time.sleep(0.004 + 0.0005 * len(batch))
            return np.zeros((len(batch), 2), dtype=np.float32)

        return compute

    images = np.arange(40, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 1), dtype=np.uint8)
    # 16 at once on each of two cores take 12 ms; 2 at once would give 800 in a second
    assert best_setting(opened, images, 2, batches=(2, 16)) == Setting(16, 2)
    assert 1200 < images_per_second(opened, images, 2, Setting(16, 2), seconds=0.1) < 2700
    assert milliseconds_an_image([500.0, 1000.0, 2000.0]) == 1.0
    assert len(seen) >= 32


def test_the_picture_marks_target_front_and_choice() -> None:
    figure = compression_figure(ROWS, FAST, 1.0, "better and fast")
    (axes,) = figure.axes
    assert "milliseconds" in axes.get_xlabel()
    assert [text.get_text() for text in axes.texts] == ["1", "2", "3", "4"]
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend[:2] == ["champion", "student"]
    assert legend[2:] == ["tiny and poor", "good and fast", "better and fast", "best but slow"]
    assert png(figure).startswith(b"\x89PNG")
    assert "megabytes" in compression_figure(ROWS, SMALL, 1.0, None).axes[0].get_xlabel()
