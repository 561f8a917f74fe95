"""A network that looks at each image twice, as it is and mirrored, and averages what it sees.

Where a profile says that a mirrored image shows the same thing, both looks are of one class, and their errors differ:
the average is better than either, at twice the time of prediction. It is part of the network (and so of whatever is
exported), not something that each place of prediction has to remember.
"""

from __future__ import annotations

import torch
from torch import Tensor

from data_contracts.input_settings import AugmentationSettings
from domain_models.architecture import Mirror

_AXES = {Mirror.LEFT_RIGHT: (3,), Mirror.UPSIDE_DOWN: (2,), Mirror.HALF_TURN: (2, 3)}


def allowed_mirror(settings: AugmentationSettings) -> Mirror:
    """The turn that moves an image furthest among those that a profile calls harmless."""
    if settings.flip_horizontal and settings.flip_vertical:
        return Mirror.HALF_TURN
    if settings.flip_horizontal:
        return Mirror.LEFT_RIGHT
    return Mirror.UPSIDE_DOWN if settings.flip_vertical else Mirror.NONE


def mirrored(images: Tensor, mirror: Mirror) -> Tensor:
    """float [n, c, h, w] turned; with ``NONE`` the images themselves."""
    return images if mirror is Mirror.NONE else torch.flip(images, _AXES[mirror])


def both_looks(images: Tensor, mirror: Mirror) -> Tensor:
    """[n, c, h, w] to [2n, c, h, w]: first all images, then all mirror images."""
    return torch.cat([images, mirrored(images, mirror)])


def side_by_side(looks: Tensor) -> Tensor:
    """What some layers make of :func:`both_looks`, [2n, c, ...], as one row for each image, [n, 2c, ...]."""
    return torch.cat(looks.chunk(2, dim=0), dim=1)


def one_after_another(rows: Tensor) -> Tensor:
    """The inverse of :func:`side_by_side`."""
    return torch.cat(rows.chunk(2, dim=1), dim=0)


def either_look(rows: Tensor) -> Tensor:
    """[n, 2c, ...] to [n, c, ...]: of each image one look, by chance; a training then sees both in turn."""
    first, second = rows.chunk(2, dim=1)
    chosen = torch.rand(len(rows), device=rows.device) < 0.5
    return torch.where(chosen.view(-1, *[1] * (rows.ndim - 1)), first, second)


def averaged(features: Tensor) -> Tensor:
    """Features [2n, d] of :func:`both_looks` to their means, [n, d]."""
    first, second = features.chunk(2, dim=0)
    return (first + second) / 2
