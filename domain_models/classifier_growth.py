"""A network for another list of classes that knows what it knew: rows of its classifier move, new ones are fitted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp

from domain_models.backbones import Classifier
from domain_models.linear_probe import LinearProbe

PENALTY = 1e-2
_ITERATIONS = 60


def columns_of(have: Sequence[str], want: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(positions in ``have``, positions in ``want``) of the classes that are in both, int64 each."""
    shared = [name for name in have if name in want]
    old = np.asarray([list(have).index(name) for name in shared], dtype=np.int64)
    return old, np.asarray([list(want).index(name) for name in shared], dtype=np.int64)


def regrown(network: Classifier, have: Sequence[str], want: Sequence[str]) -> Classifier:
    """A copy of a network with one output per wanted class; what it said of a class it knew stays the same.

    Args:
        network: decides for ``have``; not changed.
        have: class names of its outputs.
        want: class names of the outputs of the copy. New ones get a row of zeros.
    """
    state = network.state_dict()
    twin = Classifier(network.architecture.model_copy(update={"classes": len(want)}))
    layer, old_layer = twin.classifier, network.classifier
    names = {id(value): name for name, value in twin.named_parameters()}
    kept = {
        name: value for name, value in state.items() if name not in {names[id(layer.weight)], names[id(layer.bias)]}
    }
    twin.load_state_dict(kept, strict=False)
    old, new = columns_of(have, want)
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.zero_()
        layer.weight[torch.from_numpy(new)] = old_layer.weight[torch.from_numpy(old)]
        layer.bias[torch.from_numpy(new)] = old_layer.bias[torch.from_numpy(old)]
    return twin.eval()


def fit_new_rows(
    classifier: LinearProbe,
    new: NDArray[np.int64],
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    weights: NDArray[np.float64],
    *,
    penalty: float = PENALTY,
) -> LinearProbe:
    """Fit the rows of classes that the classifier has never seen, and leave all other rows as they are.

    Convex: weighted cross-entropy over all classes, in which only the new rows move.

    Args:
        classifier: k rows.
        new: int64 [m], the rows to fit.
        features: float32 [n, d].
        labels: int64 [n].
        weights: float64 [n].
        penalty: on the squared weights, per standardised feature.
    """
    used = weights > 0
    if not len(new) or not np.isin(labels[used], new).any():
        return classifier
    x, y = features[used], labels[used]
    mean, deviation = x.mean(axis=0), x.std(axis=0) + np.float32(1e-3) * (x.std() + np.float32(1e-12))
    z_fixed = classifier.logits(x)
    x = (x - mean) / deviation
    share = (weights[used] / weights[used].sum()).astype(np.float32)
    target = np.zeros((len(x), len(classifier.bias)), dtype=np.float32)
    target[np.arange(len(x)), y] = 1.0
    size = len(new) * x.shape[1]

    def loss_and_gradient(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        rows = flat[:size].astype(np.float32).reshape(len(new), -1)
        z = z_fixed.copy()
        z[:, new] = x @ rows.T + flat[size:].astype(np.float32)
        log_p = z - logsumexp(z, axis=1, keepdims=True)
        loss = -float((share[:, None] * target * log_p).sum()) + 0.5 * penalty * float((rows**2).sum())
        slope = (share[:, None] * (np.exp(log_p) - target))[:, new]  # [n, m]
        gradient = np.concatenate([(slope.T @ x + penalty * rows).ravel(), slope.sum(axis=0)])
        return loss, gradient.astype(np.float64)

    start = np.zeros(size + len(new))
    found = minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B", options={"maxiter": _ITERATIONS}).x
    rows = found[:size].reshape(len(new), -1) / deviation
    weight, bias = classifier.weight.copy(), classifier.bias.copy()
    weight[new] = rows
    bias[new] = found[size:] - rows @ mean
    return LinearProbe(weight, bias, classifier.penalty)
