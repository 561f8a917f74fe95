"""Distillation: a network is held to what another says of the same images (Hinton, Vinyals and Dean, 2015).

In an incremental training the other is the champion, and only images whose label did not change count, so that nothing
is forgotten (Li and Hoiem: Learning without Forgetting, ECCV 2016). In a full training it may be a larger teacher.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from domain_models.fine_tuned import Memory
from domain_models.supervision_settings import TeacherSettings

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


def taught(teacher_logits: NDArray[np.float32] | None, settings: TeacherSettings) -> Memory | None:
    """What a teacher adds to the loss of each image: how far the network is from its softened answer, on every image.

    Augmented images are held to what the teacher says of the image as it is, which is computed only once.

    Args:
        teacher_logits: float32 [n, k] of the training images, in the order of the network's classes.
        settings: temperature and weight.

    Returns:
        ``None`` where nobody teaches.

    Raises:
        ValueError: the settings name a teacher and there is nothing that it says, or the other way round.
    """
    if (teacher_logits is None) == bool(settings.model):
        raise ValueError("a teacher is named and its logits are given, or neither")
    if teacher_logits is None:
        return None
    images, classes = teacher_logits.shape
    return remember(
        teacher_logits,
        np.ones(images, dtype=np.bool_),
        np.arange(classes, dtype=np.int64),
        temperature=settings.temperature,
        share=settings.share,
    )
