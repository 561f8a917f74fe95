"""Predictions of labelled images by models that never saw them: what labels are held against.

Several judges of each image (its nearest neighbours, and classifiers on its features as they are, power-normalised, and
by a kernel) are weighted as they predict the labels best. They err differently, and a wrong label is what all of them
doubt.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from domain_models.calibration import softmax
from domain_models.cross_fitting import group_folds
from domain_models.linear_probe import fit_linear_probe
from domain_models.selection.neighbours import unit_vectors

FOLDS = 5
FEWEST = 20
"""Under so many labelled images nothing is judged."""

NEIGHBOURS = 20

_KERNEL_AXES = 128
_KERNEL_FEATURES = 2048
_KERNEL_WIDTH = 0.5
_NEARNESS = 8.0
"""Votes grow with the exponential of so many times the cosine: the twentieth neighbour counts less than the first."""

_CHUNK = 1024
_ROUNDS = 100


def out_of_fold_probabilities(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    groups: Sequence[str],
    classes: int,
    *,
    seed: int,
) -> NDArray[np.float64]:
    """Class probabilities of each image by what the labels of other groups say.

    A mixture (:func:`mixture_weights`) of classifiers fitted to the other folds (no group on both sides) and of the
    votes of the nearest images of other groups.

    Args:
        features: float32 [m, d]; a row with NaN is neither learned from nor judged.
        labels: int64 [m], class indices.
        groups: m names; images of one group are always in one fold.
        classes: k.
        seed: who falls where.

    Returns:
        float64 [m, k]; rows with NaN where nothing can be said (too few images, or only one class).
    """
    out = np.full((len(labels), classes), np.nan)
    known = np.flatnonzero(np.isfinite(features).all(axis=1)) if features.shape[1] else np.zeros(0, dtype=np.int64)
    if len(known) < FEWEST or len(np.unique(labels[known])) < 2:
        return out
    x, y, parts = features[known], labels[known], tuple(groups[int(i)] for i in known)
    views = _views(x, seed)
    judges = np.full((1 + len(views), len(known), classes), np.nan)
    judges[0] = neighbour_votes(x, y, parts, classes)
    for train, held in group_folds(y, parts, FOLDS, seed):
        if len(np.unique(y[train])) < 2:
            continue
        for number, (view, penalty) in enumerate(views, start=1):
            probe = fit_linear_probe(view[train], y[train], np.ones(len(train)), classes, penalty=penalty)
            judges[number, held] = softmax(probe.logits(view[held]), 1.0)
    judged = np.isfinite(judges).all(axis=(0, 2))
    shares = mixture_weights(judges[:, judged], y[judged])
    out[known] = np.tensordot(shares, judges, axes=1)
    return out


def _views(features: NDArray[np.float32], seed: int) -> list[tuple[NDArray[np.float32], float]]:
    """What the classifiers see of features float32 [m, d], each float32 [m, any], with the weight penalty of each."""
    powered = np.sign(features) * np.sqrt(np.abs(features))  # Perronnin, Sánchez and Mensink, ECCV 2010
    return [(features, 1e-2), (features, 1e-1), (powered, 1e-1), (kernel_features(features, seed), 1e-2)]


def kernel_features(features: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Random Fourier features: products of rows approximate a Gaussian kernel (Rahimi and Recht, NeurIPS 2007).

    The kernel is that of the leading principal axes, half whitened, with a mean squared length of 1.

    Args:
        features: float32 [m, d], finite.
        seed: draws the frequencies.

    Returns:
        float32 [m, 2048].
    """
    place = features - features.mean(axis=0)
    covariance = place.T.astype(np.float64) @ place / len(place)
    variance, axes = np.linalg.eigh(covariance)
    leading = slice(-min(_KERNEL_AXES, len(variance)), None)
    scale = np.maximum(variance[leading], 1e-12 * max(float(variance[-1]), 1e-12)) ** -0.25
    place = place @ (axes[:, leading] * scale)
    place /= max(float(np.sqrt((place**2).sum(axis=1).mean())), 1e-12)
    chance = np.random.default_rng([seed, place.shape[1]])
    frequencies = chance.normal(0.0, np.sqrt(2 * _KERNEL_WIDTH), (place.shape[1], _KERNEL_FEATURES))
    phases = chance.uniform(0, 2 * np.pi, _KERNEL_FEATURES)
    waves = np.cos(place.astype(np.float32) @ frequencies.astype(np.float32) + phases.astype(np.float32))
    return np.asarray(np.sqrt(2 / _KERNEL_FEATURES) * waves, dtype=np.float32)


def mixture_weights(judges: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """The weights of a mixture of predictions under which the labels are most probable.

    Expectation-maximisation (Dempster, Laird and Rubin 1977) of the weights alone; the likelihood is concave in them.
    So few weights, and predictions of images that the judges have not seen: nothing to overfit.

    Args:
        judges: float64 [j, m, k], class probabilities by each judge.
        labels: int64 [m].

    Returns:
        float64 [j], positive, of sum 1; equal where there is nothing to go by.
    """
    weights = np.full(len(judges), 1.0 / len(judges))
    said = judges[:, np.arange(len(labels)), labels]  # [j, m]
    said = said[:, said.max(axis=0) > 0]
    for _ in range(_ROUNDS if said.shape[1] else 0):
        shares = weights[:, None] * said
        weights = (shares / shares.sum(axis=0)).mean(axis=1)
    return weights


def neighbour_votes(
    features: NDArray[np.float32], labels: NDArray[np.int64], groups: Sequence[str], classes: int
) -> NDArray[np.float64]:
    """What the nearest images of other groups are labelled as, by cosine; float64 [m, k], rows sum to 1.

    Args:
        features: float32 [m, d], finite.
        labels: int64 [m].
        groups: m names; an image of the same group has no vote. Where all are of one group, every class is as likely.
        classes: k.
    """
    place = unit_vectors(features)
    _, group = np.unique(np.asarray(groups), return_inverse=True)
    count = min(NEIGHBOURS, len(labels) - 1)
    votes = np.zeros((len(labels), classes))
    if count < 1:
        return votes + 1.0 / classes
    for start in range(0, len(labels), _CHUNK):
        near = place[start : start + _CHUNK] @ place.T
        near[group[start : start + _CHUNK, None] == group] = -np.inf
        chosen = np.argpartition(-near, count - 1, axis=1)[:, :count]
        weight = np.exp(_NEARNESS * np.take_along_axis(near, chosen, axis=1).astype(np.float64))
        rows = np.repeat(np.arange(start, start + len(near)), count)
        np.add.at(votes, (rows, labels[chosen].ravel()), weight.ravel())
    total = votes.sum(axis=1, keepdims=True)
    return np.where(total > 0, votes / np.where(total > 0, total, 1.0), 1.0 / classes)
