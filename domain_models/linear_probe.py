"""A linear classifier on features that stay as they are: softmax regression, fitted to the end.

Convex, so the result depends on nothing but the data; a few seconds for ten thousand images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from threadpoolctl import threadpool_limits

PENALTIES = (10.0, 3.0, 1.0, 3e-1, 1e-1, 3e-2, 1e-2, 3e-3, 1e-3)
"""Strengths of the weight penalty that are tried, per standardised feature and image, in this order. A hundred images
in a thousand dimensions can be told apart without error, and the classifier that does it is sure of everything; a
strong penalty makes its probabilities true, and its most probable class the most frequent one, so that decisions have
to be rebalanced."""

PENALTIES_AROUND = (10.0, 1.0, 1e-1, 1e-2)
"""As `PENALTIES`, on the distance from a classifier that is known; the largest moves little but the biases."""

_SHARED_OUT_FROM = 2**24
"""Smaller products are done by one thread: sharing them out costs more than it saves, many times so beside torch."""


@dataclass(frozen=True)
class LinearProbe:
    """``logits = features @ weight.T + bias``; weight float32 [k, d], bias float32 [k]."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    penalty: float

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 [n, d] to float32 [n, k]."""
        out: NDArray[np.float32] = features @ self.weight.T + self.bias
        return out


def fit_linear_probe(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    weights: NDArray[np.float64],
    classes: int,
    *,
    penalty: float,
    prior: NDArray[np.float64] | None = None,
    around: LinearProbe | None = None,
    start: LinearProbe | None = None,
    iterations: int = 100,
) -> LinearProbe:
    """Minimise the weighted cross-entropy plus a penalty on the squared weights, by L-BFGS.

    With ``around`` the penalty is on the squared distance from a classifier that is known to be good (L2-SP, Li et al.,
    ICML 2018), where the fit also begins: what the images do not contradict stays as it was.

    Args:
        features: float32 [n, d]; standardised inside, the scaling is folded into the result.
        labels: int64 [n].
        weights: float64 [n]; how much each image counts.
        classes: k.
        penalty: strength of the penalty.
        prior: float64 [k] added to the logits while fitting (log class counts for balanced softmax); not in the result.
        around: of the same classes and features.
        start: where to begin; it saves iterations and changes nothing else.
        iterations: at most.
    """
    from scipy.optimize import minimize

    used = weights > 0
    x = features[used]
    mean, deviation = x.mean(axis=0), x.std(axis=0) + np.float32(1e-3) * (x.std() + np.float32(1e-12))
    x = (x - mean) / deviation
    share = (weights[used] / weights[used].sum()).astype(np.float32)
    target = np.zeros((len(x), classes), dtype=np.float32)
    target[np.arange(len(x)), labels[used]] = 1.0
    offset = np.zeros(classes, dtype=np.float32) if prior is None else prior.astype(np.float32)
    size = classes * x.shape[1]
    centre, first = np.zeros((classes, x.shape[1]), dtype=np.float32), np.zeros(size + classes)
    if around is not None:
        centre = around.weight * deviation
    begin = start or around
    if begin is not None:
        scaled = (begin.weight * deviation).ravel()
        first = np.concatenate([scaled, begin.bias + begin.weight @ mean]).astype(np.float64)

    def loss_and_gradient(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weight = flat[:size].astype(np.float32).reshape(classes, -1)
        z = x @ weight.T + flat[size:].astype(np.float32) + offset
        log_p = z - logsumexp(z, axis=1, keepdims=True)
        moved = weight - centre
        loss = -float((share[:, None] * target * log_p).sum()) + 0.5 * penalty * float((moved**2).sum())
        slope = share[:, None] * (np.exp(log_p) - target)  # [n, k]
        gradient = np.concatenate([(slope.T @ x + penalty * moved).ravel(), slope.sum(axis=0)])
        return loss, gradient.astype(np.float64)

    with threadpool_limits(limits=1 if x.size < _SHARED_OUT_FROM else None, user_api="blas"):
        found = minimize(loss_and_gradient, first, jac=True, method="L-BFGS-B", options={"maxiter": iterations}).x
    weight = found[:size].reshape(classes, -1) / deviation
    bias = found[size:] - weight @ mean
    return LinearProbe(weight.astype(np.float32), bias.astype(np.float32), penalty)


def choose_linear_probe(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    weights: NDArray[np.float64],
    classes: int,
    val_features: NDArray[np.float32],
    val_labels: NDArray[np.int64],
    *,
    prior: NDArray[np.float64] | None = None,
    around: LinearProbe | None = None,
    strongest: float = np.inf,
    iterations: int = 100,
) -> LinearProbe:
    """The probe whose penalty gives the smallest log-loss on validation.

    Macro-F1 would choose by the few images of the rarest class, and prefers weak penalties, which are overconfident.
    Penalties are those of `PENALTIES`, or `PENALTIES_AROUND` where the probe is held to the classifier ``around``. They
    are weakened for as long as the log-loss falls; each fit begins where the one before ended.

    Args:
        features: float32 [n, d].
        labels: int64 [n].
        weights: float64 [n]; how much each image counts.
        classes: k.
        val_features: float32 [m, d].
        val_labels: int64 [m].
        prior: as in :func:`fit_linear_probe`.
        around: as there.
        strongest: no stronger penalty is tried.
        iterations: at most, of each fit.
    """
    offset = 0.0 if prior is None else prior
    best: LinearProbe | None = None
    least = np.inf
    for penalty in PENALTIES if around is None else PENALTIES_AROUND:
        if penalty > strongest:
            continue
        probe = fit_linear_probe(
            features,
            labels,
            weights,
            classes,
            penalty=penalty,
            prior=prior,
            around=around,
            start=best,
            iterations=iterations,
        )
        loss = mean_nll(probe.logits(val_features) + offset, val_labels)
        if best is not None and loss >= least:
            break
        best, least = probe, loss
    if best is None:
        raise ValueError(f"no penalty is as weak as {strongest}")
    return best


def validation_score(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> tuple[float, float]:
    """(macro-F1, minus negative log-likelihood): larger is better, the second breaks ties."""
    return macro_f1(logits.argmax(axis=1), labels), -mean_nll(logits, labels)


def macro_f1(predicted: NDArray[np.int64], labels: NDArray[np.int64]) -> float:
    """Mean F1 over the classes that occur in ``labels``; the criterion of every choice made on validation images."""
    scores = []
    for index in np.unique(labels):
        hits = int(((predicted == index) & (labels == index)).sum())
        total = int((predicted == index).sum() + (labels == index).sum())
        scores.append(2.0 * hits / total)
    return float(np.mean(scores))


def balanced_accuracy(predicted: NDArray[np.int64], labels: NDArray[np.int64]) -> float:
    """Mean recall of the classes that occur in ``labels``; 0 without any."""
    recalls = [float((predicted[labels == index] == index).mean()) for index in np.unique(labels)]
    return float(np.mean(recalls)) if recalls else 0.0


def mean_nll(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Mean negative log-likelihood in nats."""
    return float((logsumexp(logits, axis=1) - logits[np.arange(len(labels)), labels]).mean())


def class_frequency_prior(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Log of the class shares, float64 [k]; a class without images counts as one."""
    shares = np.maximum(counts, 1).astype(np.float64)
    return np.asarray(np.log(shares / shares.sum()))
