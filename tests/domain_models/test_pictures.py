"""Pictures say what they should, whatever the classes are called, and leave no global state behind."""

from __future__ import annotations

import io
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from data_contracts.profile import Limits
from domain_models.calibration import softmax
from domain_models.evaluation import Evaluation
from domain_models.metrics import evaluate
from domain_models.pictures import (
    MontageItem,
    confusion_figure,
    coverage_figure,
    curves_figure,
    montage_figure,
    png,
    recall_figure,
    reliability_figure,
    worst_errors,
)
from domain_models.pictures.canvas import as_text
from domain_models.triage import fit_triage

TROUBLE = [
    "good",
    "$x_1$ \\frac",
    "红铁皮",
    "<b>&amp;",
    "=1+1",
    "tab\tnew\nline",
    "a name that is far too long to be shown whole",
]


def predictions(k: int, n: int = 400) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rng = np.random.default_rng(k)
    labels = rng.integers(0, k, n)
    logits = rng.normal(size=(n, k))
    logits[np.arange(n), labels] += 3
    return softmax(logits), labels


def evaluated(names: list[str]) -> Evaluation:
    return evaluate(*predictions(len(names)), names, replicates=20)


def decoded(figure: Figure) -> Image.Image:
    content = png(figure)
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    picture = Image.open(io.BytesIO(content))
    picture.load()
    assert min(picture.size) > 120
    return picture


def words(figure: Figure) -> str:
    from matplotlib.text import Text

    return "\n".join(text.get_text() for text in figure.findobj(Text))


@pytest.mark.parametrize("names", [TROUBLE, ["a", "b"], [f"class {index}" for index in range(50)]])
def test_every_picture_can_be_drawn_for_any_classes(names: list[str]) -> None:
    probabilities, labels = predictions(len(names))
    found = evaluated(names)
    rule = fit_triage(probabilities, labels, Limits(), classes=names)
    decoded(confusion_figure(found.confusion, names))
    decoded(recall_figure(found))
    decoded(coverage_figure(probabilities, labels, rule, names))
    decoded(reliability_figure(probabilities**2 / (probabilities**2).sum(1, keepdims=True), probabilities, labels))


def test_a_confusion_matrix_shows_its_counts_and_names_its_worst_pairs() -> None:
    confusion = [[90, 10, 0], [2, 48, 0], [0, 0, 1000]]
    figure = confusion_figure(confusion, ["good", "scratch", "dent"])
    said = words(figure)
    assert "What was called what" in said
    assert "Most confused: good → scratch (10); scratch → good (2)" in said
    for cell in ("90\n90%", "10\n10%", "1000\n100%"):
        assert cell in said
    axes = figure.axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["good", "scratch", "dent"]
    assert axes.get_xlabel() == "predicted"
    assert axes.get_ylabel() == "actual"
    shares = axes.images[0].get_array()
    assert shares is not None
    assert shares[0].tolist() == [0.9, 0.1, 0.0]
    assert [tuple(patch.get_xy()) for patch in axes.patches] == [(0.5, -0.5), (-0.5, 0.5)]


def test_a_faultless_matrix_says_that_nothing_was_confused() -> None:
    assert "Nothing was confused" in words(confusion_figure(np.diag([3, 0]), ["a", "b"]))


def test_reliability_shows_both_errors_and_the_error_of_chance() -> None:
    probabilities, labels = predictions(4)
    sharp = softmax(np.log(probabilities) * 4)
    said = words(reliability_figure(sharp, probabilities, labels, ece_of_a_calibrated_model=0.0312))
    assert "before calibration: calibration error" in said
    assert "after calibration: calibration error" in said
    assert "0.031 here by chance alone" in said


def test_recall_lists_the_best_class_first_and_names_absent_ones() -> None:
    predicted, labels = np.array([0, 0, 1, 0]), np.array([0, 0, 1, 1])
    figure = recall_figure(evaluate(np.eye(3)[predicted], labels, ["weak", "strong", "never seen"]))
    axes = figure.axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["strong", "weak"]
    said = words(figure)
    assert "50%  of 2" in said
    assert "100%  of 2" in said
    assert "No test image of: never seen" in said


def test_coverage_shows_the_limit_and_the_rule() -> None:
    probabilities, labels = predictions(4, 2000)
    rule = fit_triage(probabilities, labels, Limits(automatic_error=0.02), classes=list("abcd"))
    said = words(coverage_figure(probabilities, labels, rule, list("abcd")))
    assert "limit 2.0%" in said
    assert f"The rule decides {rule.share_automatic:.0%} of these images alone" in said


def test_curves_put_losses_shares_and_rates_in_panels_of_their_own() -> None:
    history = pd.DataFrame(
        {
            "epoch": [1, 2, 3],
            "stage": ["head", "head", "all"],
            "train_loss": [1.0, 0.6, 0.4],
            "val_macro_f1": [0.2, np.nan, 0.7],
            "learning_rate": [1e-3, 5e-4, 0.0],
            "pool_images": [40, 40, 40],
            "pool_share_sure": [0.1, 0.2, 0.4],
            "empty": [np.nan] * 3,
        }
    )
    figure = curves_figure(history)
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "loss",
        "share of the validation split",
        "share of the pool",
        "learning rate",
    ]
    labels = [line.get_label() for axes in figure.axes for line in axes.get_lines()]
    assert labels == ["train loss", "val macro f1", "pool share sure", "learning rate"]
    decoded(figure)
    decoded(curves_figure(pd.DataFrame({"loss": []})))


def test_the_worst_errors_are_the_most_confident_ones() -> None:
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.99, 0.01]])
    assert worst_errors(probabilities, [1, 1, 1, 0]).tolist() == [0, 1]
    assert worst_errors(probabilities, [0, 0, 1, 0]).tolist() == []
    assert worst_errors(probabilities, [1, 1, 0, 1], top=2).tolist() == [3, 0]


def test_a_montage_shows_grey_and_colour_with_label_and_answer() -> None:
    rng = np.random.default_rng(0)
    shapes = [(40, 60), (40, 60, 1), (60, 40, 3), (8, 8, 3), (300, 200, 3)]
    items = [MontageItem(rng.integers(0, 255, shape, dtype=np.uint8), "$scratch$", "good", 0.987) for shape in shapes]
    figure = montage_figure(items)
    assert words(figure).count("said good, 99%") == 5
    assert words(figure).count("label $scratch$") == 5
    decoded(figure)
    nothing = montage_figure([])
    assert "There are none" in words(nothing)
    decoded(nothing)


def test_names_are_shortened_in_the_middle_and_control_characters_are_seen() -> None:
    assert as_text("tab\tnew\nline") == "tab·new·line"
    short = as_text("a name that is far too long to be shown whole")
    assert len(short) == 26
    assert short.startswith("a name that is f")
    assert short.endswith("wn whole")


def test_drawing_leaves_no_global_figure_behind() -> None:
    before = "matplotlib.pyplot" in sys.modules
    decoded(confusion_figure([[1, 0], [0, 1]], ["a", "b"]))
    assert ("matplotlib.pyplot" in sys.modules) == before
