"""Batch normalisation over the parts of a batch that lie in several processes: what each normalises by is of the whole.

On GPUs it is PyTorch's own, which knows no processors. There, what is below does the same, with one exchange of means
and variances forward and one of sums backward (Ioffe and Szegedy, ICML 2015, over the whole batch).
"""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from domain_models.backbones import Classifier
from domain_models.timm_models import timm


def with_shared_statistics(part: Classifier, device: torch.device) -> Classifier:
    """A twin of a network whose batch normalisation sees the whole batch, wherever its parts lie.

    The twin has modules of its own and shares every parameter and every running statistic, so what it learns the
    network has learned, and the network can be kept, exported and used on one device as if there had been no twin.

    Args:
        part: of which a twin is made.
        device: where it computes; the processes must have met by the time that it does.
    """
    twin: Classifier = _twin_of(part)
    if device.type == "cuda":
        whole: Classifier = timm().layers.convert_sync_batchnorm(twin)
        return whole
    _share(twin)
    return twin


def _twin_of(module: nn.Module) -> Any:
    twin = copy.copy(module)
    twin._modules = {name: None if child is None else _twin_of(child) for name, child in module._modules.items()}
    return twin


def _share(module: nn.Module) -> None:
    """Put every batch normalisation below a module behind :class:`_Shared`."""
    for name, child in module.named_children():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            module._modules[name] = _Shared(child)
        else:
            _share(child)


class _Shared(nn.Module):
    """A batch normalisation that asks the other processes while it learns, and is itself otherwise."""

    def __init__(self, norm: nn.modules.batchnorm._BatchNorm) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, features: Tensor) -> Tensor:
        """[b, c, ...] to the same; what timm puts behind a normalisation comes behind it here too."""
        norm = self.norm
        if not norm.training:
            return norm(features)  # type: ignore[no-any-return]
        found: Tensor = _WholeBatch.apply(features, norm.weight, norm.bias, norm)  # type: ignore[no-untyped-call]
        for name in ("drop", "act"):
            found = getattr(norm, name)(found) if hasattr(norm, name) else found
        return found


class _WholeBatch(torch.autograd.Function):
    """Normalise by mean and variance of all parts; gradients of weight and bias are those of the own part."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, norm: Any) -> Tensor:
        count, mean, variance = _of_all_parts(features)
        _remember(norm, count, mean, variance)
        ctx.save_for_backward(features, weight, mean, variance)
        ctx.count, ctx.eps = count, norm.eps
        return nn.functional.batch_norm(features, mean, variance, weight, bias, training=False, eps=norm.eps)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        features, weight, mean, variance = ctx.saved_tensors
        # As if mean and variance were constants; what they depend on comes below.
        direct, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            slope, features, weight, mean, variance, None, None, False, ctx.eps, [True, True, True]
        )
        sums = torch.stack([of_weight, of_bias]).double()
        dist.all_reduce(sums)
        scale = (variance.double() + ctx.eps).rsqrt()
        steep = weight.double() * scale * scale * sums[0] / ctx.count
        flat = weight.double() * scale * sums[1] / ctx.count - steep * mean.double()
        shape = (1, -1, *[1] * (features.dim() - 2))
        steep, flat = (values.to(direct.dtype).view(shape) for values in (steep, flat))
        return torch.addcmul(direct, features, steep, value=-1).sub_(flat), of_weight, of_bias, None


def _of_all_parts(features: Tensor) -> tuple[float, Tensor, Tensor]:
    """How many values of each channel there are in all parts, and their mean and variance, float32 [c] each."""
    channels = features.shape[1]
    own = torch.zeros(2 * channels + 1, dtype=torch.float64)
    own[0] = features.numel() // channels
    if own[0]:  # the last batch may have fewer images than there are processes
        # Twenty times as fast as var_mean where channels are last.
        own[1:] = torch.cat(torch.batch_norm_update_stats(features.float(), None, None, 0.0))
    parts = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, own)
    table = torch.stack(parts)
    counts, means, variances = table[:, :1], table[:, 1 : channels + 1], table[:, channels + 1 :]
    shares = counts / counts.sum()
    mean = (shares * means).sum(dim=0)
    variance = (shares * (variances + (means - mean) ** 2)).sum(dim=0)
    return float(counts.sum()), mean.float(), variance.float()


def _remember(norm: Any, count: float, mean: Tensor, variance: Tensor) -> None:
    """Move the running statistics, which predictions use, as a batch normalisation of one process does."""
    if not norm.track_running_stats:
        return
    norm.num_batches_tracked.add_(1)
    share = norm.momentum if norm.momentum is not None else 1.0 / float(norm.num_batches_tracked)
    norm.running_mean.lerp_(mean.to(norm.running_mean), share)
    norm.running_var.lerp_((variance * (count / max(1.0, count - 1))).to(norm.running_var), share)
