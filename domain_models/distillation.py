"""Distillation: a network is held to what another says of the same images (Hinton, Vinyals and Dean, 2015).

In an incremental training the other is the champion, and only images whose label did not change count, so that nothing
is forgotten (Li and Hoiem: Learning without Forgetting, ECCV 2016). In a full training it may be a larger teacher.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp
from torch import Tensor

from domain_models.fine_tuned import Memory
from domain_models.training_config import TrainingConfig
from domain_models.training_data import TrainingData
from domain_models.training_phases import loss_prior

TEMPERATURE = 2.0
"""Softens both distributions, so that what the champion says of the less probable classes counts too."""

SHARE = 1.0
"""Weight of the memory against the loss on the label."""


def remember(
    champion_logits: NDArray[np.float32],
    known: NDArray[np.bool_],
    columns: NDArray[np.int64],
    *,
    temperature: float = TEMPERATURE,
    share: float = SHARE,
) -> Memory:
    """A loss that grows as the network leaves what the champion says of images that it has learned rightly.

    The Kullback-Leibler divergence between the two softened distributions over the champion's classes; a class that
    the champion does not know is left out of it and free to take its place.

    Args:
        champion_logits: float32 [n, old k] of the training images.
        known: bool [n]; only these images remember (a corrected label must be able to change the network's mind).
        columns: int64 [old k]; where the champion's classes are among the network's.
        temperature: divides the logits of both.
        share: factor of the loss.
    """
    soft = torch.log_softmax(torch.from_numpy(champion_logits) / temperature, dim=1)
    factors = torch.from_numpy(known.astype(np.float32)) * (share * temperature**2)
    places = torch.from_numpy(columns)

    def memory(logits: Tensor, positions: NDArray[np.int64]) -> Tensor:
        rows = torch.from_numpy(positions)
        target = soft[rows].to(logits.device)
        own = torch.log_softmax(logits[:, places.to(logits.device)] / temperature, dim=1)
        return factors[rows].to(logits.device) * (target.exp() * (target - own)).sum(dim=1)

    return memory


def taught(data: TrainingData, config: TrainingConfig) -> Memory | None:
    """What a teacher adds to the loss of each image: how far the network is from its softened answer, on every image.

    Augmented images are held to what the teacher says of the image as it is, which is computed only once. Teacher and
    labels have to pull the same way: a teacher that was rebalanced names rare classes more often than they occur, so
    its answers are brought back to the shares of the labels (:func:`at_class_shares`), and where the loss shifts the
    network's logits by these shares, the teacher's are shifted back as much.

    Returns:
        ``None`` where nobody teaches.

    Raises:
        ValueError: the settings name a teacher and there is nothing that it says, or the other way round.
    """
    settings, said = config.teacher, data.teacher_logits
    if (said is None) == bool(settings.model):
        raise ValueError("a teacher is named and its logits are given, or neither")
    if said is None:
        return None
    labels, weights, classes = data.train.labels, data.train.weights, len(data.classes)
    prior = loss_prior(config, labels, weights, classes)
    natural = at_class_shares(said, labels, weights)
    return remember(
        natural if prior is None else (natural - prior).astype(np.float32),
        np.ones(len(said), dtype=np.bool_),
        np.arange(classes, dtype=np.int64),
        temperature=settings.temperature,
        share=settings.share,
    )


def at_class_shares(
    logits: NDArray[np.float32], labels: NDArray[np.int64], weights: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Logits with one number added for each class, so that on average each class is as probable as it is frequent.

    The numbers are those of a logistic regression with nothing but a bias, whose fit has just this property; they are
    close to 0 for a network that was trained on these labels as they are.

    Args:
        logits: float32 [n, k].
        labels: int64 [n]; a class that none of them names keeps its logits.
        weights: float64 [n]; images with 0 do not count.
    """
    used = weights > 0
    counts = np.bincount(labels[used], weights=weights[used], minlength=logits.shape[1])
    known = np.flatnonzero(counts)
    z, each = logits[used][:, known].astype(np.float64), weights[used] / weights[used].sum()
    wanted = counts[known] / counts.sum()

    def loss_and_gradient(shift: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        normaliser = logsumexp(z + shift, axis=1)
        mean = each @ np.exp(z + shift - normaliser[:, None])
        return float(each @ normaliser - wanted @ shift), mean - wanted

    found = minimize(loss_and_gradient, np.zeros(len(known)), jac=True, method="L-BFGS-B", options={"gtol": 1e-8}).x
    moved = logits.copy()
    moved[:, known] += found.astype(np.float32)
    return moved
