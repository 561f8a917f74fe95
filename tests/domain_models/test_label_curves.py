"""Label curves: how many labels a strategy needs, and what that is as a share of random choice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from domain_models.label_curves import LabelCurve, label_counts, labels_to_reach, replayed, share_of_random
from domain_models.pictures.canvas import png
from domain_models.pictures.label_curves import Band, label_curves_figure
from domain_models.selection.pool import Pool
from domain_models.selection.strategies import STRATEGIES, StrategyName
from domain_models.selection_arms import Judges, answered, score
from tests.domain_models.test_selection_arms import SHARES, clusters


@pytest.fixture(scope="module")
def scene() -> tuple[Pool, NDArray[np.int64], Judges]:
    """900 images without a label, a few of them of rare classes."""
    x, truth = clusters(900, 1, SHARES)
    balanced = (0.25, 0.25, 0.25, 0.25)
    pool = Pool.of(900, classes=("a", "b", "c", "d"), embeddings=x)
    return pool, truth, Judges(*clusters(200, 2, balanced), *clusters(800, 3, balanced))


def curve(values: list[float]) -> LabelCurve:
    points = np.asarray(values)
    return LabelCurve(10 * 2 ** np.arange(len(points)), points, {"many": points, "medium": points, "few": points})


@given(images=st.integers(2, 50_000), classes=st.integers(2, 30))
def test_counts_rise_to_all_images_in_batches_that_are_worth_a_fit(images: int, classes: int) -> None:
    counts = label_counts(images, classes)
    assert counts[-1] == images
    assert (np.diff(counts) > 0).all()
    assert counts[0] == min(images, max(2 * classes, round(0.01 * images)))
    assert len(counts) <= 30


def test_a_curve_ends_where_all_labels_are_known_whatever_the_strategy(
    scene: tuple[Pool, NDArray[np.int64], Judges],
) -> None:
    pool, truth, judges = scene
    counts = [int(count) for count in label_counts(900, 4)]
    full = score(answered(pool, np.arange(900), truth), judges)
    for name in (StrategyName.RANDOM, StrategyName.MARGIN, StrategyName.MIX, StrategyName.CONFUSED_PAIRS):
        found = replayed(pool, truth, judges, STRATEGIES[name], counts, 0)
        assert found.labels.tolist() == counts
        assert found.macro_f1[-1] == pytest.approx(full)
        assert found.thirds.keys() == {"many", "medium", "few"}
        assert 0 <= found.thirds["few"].min() <= found.thirds["few"].max() <= 1
        again = replayed(pool, truth, judges, STRATEGIES[name], counts, 0)
        np.testing.assert_array_equal(again.macro_f1, found.macro_f1)
    assert pool.labels.max() == -1


@pytest.mark.slow
def test_where_rare_classes_lie_apart_the_mix_needs_fewer_labels_than_chance() -> None:
    shares = (0.6, 0.37, 0.015, 0.015)

    def far(count: int, seed: int, of: tuple[float, ...]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        x, truth = clusters(count, seed, of)
        return (x + 2 * np.random.default_rng(0).normal(0, 1.2, (4, 6))[truth]).astype(np.float32), truth

    x, truth = far(800, 1, shares)
    pool = Pool.of(800, classes=("a", "b", "c", "d"), embeddings=x)
    judges = Judges(*far(100, 2, (0.25,) * 4), *far(400, 3, (0.25,) * 4))
    counts = [int(count) for count in label_counts(800, 4)]
    target = 0.95 * score(answered(pool, np.arange(800), truth), judges)
    random, mix = (
        np.array(
            [
                labels_to_reach(replayed(pool, truth, judges, STRATEGIES[name], counts, seed), target)
                for seed in range(5)
            ]
        )
        for name in (StrategyName.RANDOM, StrategyName.MIX)
    )
    share = share_of_random(mix, random)
    assert share.interval[1] < 1, (mix, random)


def test_the_crossing_is_read_from_the_curve_without_its_luck() -> None:
    assert labels_to_reach(curve([0.2, 0.4, 0.6, 0.8]), 0.6) == pytest.approx(40)
    assert labels_to_reach(curve([0.2, 0.4, 0.6, 0.8]), 0.5) == pytest.approx(np.sqrt(20 * 40))
    assert labels_to_reach(curve([0.7, 0.8]), 0.6) == 10
    lucky = curve([0.2, 0.62, 0.4, 0.6, 0.8])
    assert 40 < labels_to_reach(lucky, 0.6) <= 80, "0.62 at 20 labels was luck: at 40 there is less"
    assert np.isnan(labels_to_reach(curve([0.2, 0.4]), 0.5))


def test_the_share_is_a_geometric_mean_with_students_interval() -> None:
    share = share_of_random(np.array([50.0, 100.0, 200.0]), np.array([100.0, 200.0, 400.0]))
    assert (share.mean, share.interval) == (pytest.approx(0.5), pytest.approx((0.5, 0.5)))
    share = share_of_random(np.array([100.0, 100.0, 100.0]), np.array([100.0, 200.0, 400.0]))
    assert share.mean == pytest.approx(0.5)
    reach = 4.3027 * np.log(2) / np.sqrt(3)
    assert share.interval == pytest.approx((0.5 * np.exp(-reach), 0.5 * np.exp(reach)), rel=1e-3)


def test_the_picture_is_drawn_even_where_a_third_is_not_known() -> None:
    labels, some = np.array([10, 100, 1000]), np.array([0.2, 0.5, 0.7])
    band = Band(labels, some, some - 0.1, some + 0.1)
    nothing = Band(labels, *[np.full(3, np.nan)] * 3)
    figure = label_curves_figure(
        {"random": band, "mix": band}, {"random": nothing, "mix": nothing}, full=0.7, targets=(0.95,), baseline="random"
    )
    left, right = figure.axes
    assert [line.get_label() for line in left.lines if not str(line.get_label()).startswith("_")] == ["random", "mix"]
    assert left.get_xscale() == right.get_xscale() == "log"
    assert png(figure).startswith(b"\x89PNG")
