"""Our strategies and conformal sets against libraries that have the same ones."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from mapie.classification import SplitConformalClassifier
from numpy.typing import NDArray
from skactiveml.base import SkactivemlClassifier
from skactiveml.pool import CoreSet, UncertaintySampling
from skactiveml.utils import MISSING_LABEL
from sklearn.base import BaseEstimator, ClassifierMixin

from domain_models import conformal
from domain_models.calibration import softmax
from domain_models.selection.embedding_space import diverse
from domain_models.selection.neighbours import unit_vectors
from domain_models.selection.pool import UNLABELLED, Pool, Strategy
from domain_models.selection.uncertainty import entropy, low_confidence, margin


class Told(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier whose inputs are the probabilities that it says."""

    def __init__(self, classes: int = 5) -> None:
        self.classes = classes

    def fit(self, x: Any, y: Any = None, sample_weight: Any = None) -> Told:
        self.classes_, self.fitted_ = np.arange(self.classes), True
        return self

    def predict_proba(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(x)

    def predict(self, x: NDArray[np.float64]) -> NDArray[np.int64]:
        return np.asarray(x).argmax(axis=1)


class ToldToAsk(SkactivemlClassifier):  # type: ignore[misc]
    """The same in the other library's family of classifiers."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> ToldToAsk:
        self._validate_data(X, y, sample_weight)
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        return np.asarray(X)


def said(count: int, seed: int, classes: int = 5) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    chance = np.random.default_rng(seed)
    logits = chance.normal(0, 1.5, (count, classes))
    labels = (softmax(logits).cumsum(axis=1) > chance.random((count, 1))).argmax(axis=1)
    return softmax(1.4 * logits), labels


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
@pytest.mark.parametrize("calibration", [37, 500])
def test_the_smallest_sets_are_those_of_a_library(coverage: float, calibration: int) -> None:
    probabilities, labels = said(calibration, 0)
    new, _ = said(300, 1)
    library = SplitConformalClassifier(Told().fit(probabilities), confidence_level=coverage, prefit=True)
    library.conformalize(probabilities, labels)
    theirs = library.predict_set(new)[1][:, :, 0]
    theirs[np.arange(len(new)), new.argmax(axis=1)] = True  # ours are never empty
    ours = conformal.sets(new, conformal.fit(probabilities, labels, coverage=coverage))
    np.testing.assert_array_equal(ours, theirs)


def test_thresholds_of_each_class_are_those_of_a_library_that_sees_one_class_at_a_time() -> None:
    probabilities, labels = said(900, 2)
    new, _ = said(300, 3)
    ours = conformal.sets(new, conformal.fit(probabilities, labels, coverage=0.9, class_conditional=True))
    theirs = np.zeros_like(ours)
    for index in range(5):
        own = labels == index
        library = SplitConformalClassifier(Told().fit(probabilities), confidence_level=0.9, prefit=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it says that the other classes are missing
            library.conformalize(probabilities[own], labels[own])
        theirs[:, index] = library.predict_set(new)[1][:, index, 0]
    theirs[np.arange(len(new)), new.argmax(axis=1)] = True
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("ours", "theirs"), [(margin, "margin_sampling"), (entropy, "entropy"), (low_confidence, "least_confident")]
)
def test_uncertainty_asks_what_a_library_asks(ours: Strategy, theirs: str) -> None:
    probabilities, labels = said(400, 4)
    given = labels.astype(float)
    given[:300] = MISSING_LABEL
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        query = UncertaintySampling(method=theirs, random_state=0).query(
            X=probabilities,
            y=given,
            clf=ToldToAsk(classes=list(range(5))),
            batch_size=40,
        )
    pool = Pool.of(
        400,
        classes=tuple("abcde"),
        labels=np.where(np.arange(400) < 300, UNLABELLED, labels),
        probabilities=probabilities,
    )
    assert set(ours(pool, 40, 0).indices) == set(query)


def test_covering_the_space_asks_what_a_library_asks() -> None:
    chance = np.random.default_rng(5)
    embeddings = chance.normal(0, 1, (300, 8)).astype(np.float32)
    labels = np.full(300, UNLABELLED, dtype=np.int64)
    labels[:10] = 0
    pool = Pool.of(300, classes=("a", "b"), labels=labels, embeddings=embeddings)
    given = np.where(labels == UNLABELLED, MISSING_LABEL, labels)
    # On unit vectors, the Euclidean distance puts pairs in the order that the cosine distance puts them in.
    query = CoreSet(random_state=0).query(X=unit_vectors(embeddings), y=given, batch_size=25)
    assert diverse(pool, 25, 0).indices.tolist() == list(query)
