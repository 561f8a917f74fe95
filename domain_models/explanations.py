"""Where in an image the evidence for a class lies: class-activation maps of any of our classifiers.

For a network that averages its last feature map and ends in a linear layer this is the class activation map (Zhou et
al., CVPR 2016). Where more lies between map and logit (a norm, another layer) the gradient takes the place of the
linear layer's weights, element by element (HiResCAM, Draelos and Carin 2020); in the first case that is the same thing.

What is explained is a class's logit above the mean of all logits, because only differences of logits change a decision.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_contracts.errors import BadInput
from domain_models.architecture import Mirror
from domain_models.backbones import Classifier
from domain_models.inference import ImageSource
from domain_models.mirroring import mirrored
from domain_models.preprocessing import Preprocessing, ResizeMode, to_tensor


def class_activation(
    network: Classifier,
    images: ImageSource,
    classes: NDArray[np.int64],
    spec: Preprocessing,
    *,
    batch_size: int = 32,
    device: str = "cpu",
) -> NDArray[np.float32]:
    """How much each place of an image speaks for a class.

    Args:
        network: a trained classifier; put in evaluation mode.
        images: uint8 [n, H, W, C], prepared.
        classes: int64 [n]; the class that is explained, of each image.
        spec: how the images were prepared.
        batch_size: images at once.
        device: where to compute.

    Returns:
        float32 [n, H, W] in 0 to 1, with H and W of the specification; all 0 where nothing speaks for the class.

    Raises:
        BadInput: the backbone keeps no map of places (it is no pooled CNN).
    """
    network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.eval()
    parts = [np.zeros((0, spec.height, spec.width), dtype=np.float32)]
    for start in range(0, len(classes), batch_size):
        span = np.arange(start, min(start + batch_size, len(classes)))
        inputs = to_tensor(images[span], spec).to(device)
        heat = _heat(network, inputs, torch.from_numpy(classes[span]).to(device))
        parts.append(np.stack([_enlarged(one, spec.height, spec.width) for one in heat]))
    return np.concatenate(parts)


def on_the_image(
    heat: NDArray[np.float32], spec: Preprocessing, height: int, width: int, longer_side: int
) -> NDArray[np.float32]:
    """A map over the network's input as a map over the whole image: what padding added is cut, what was cropped is 0.

    Args:
        heat: float32 [H, W] of :func:`class_activation`.
        spec: how the image was prepared.
        height: of the image as it was decoded, px.
        width: of the image as it was decoded, px.
        longer_side: of the result, px.

    Returns:
        float32 [h, w] in 0 to 1, with the shape of the image.
    """
    scale = longer_side / max(height, width)
    out_height, out_width = max(1, round(height * scale)), max(1, round(width * scale))
    if spec.resize is ResizeMode.STRETCH:
        return _enlarged(heat, out_height, out_width)
    pick = min if spec.resize is ResizeMode.PAD else max
    fit = pick(spec.height / height, spec.width / width)
    inner_height, inner_width = max(1, round(height * fit)), max(1, round(width * fit))
    if spec.resize is ResizeMode.PAD:
        top, left = (spec.height - inner_height) // 2, (spec.width - inner_width) // 2
        return _enlarged(heat[top : top + inner_height, left : left + inner_width], out_height, out_width)
    whole = np.zeros((inner_height, inner_width), dtype=np.float32)
    top, left = max(0, (inner_height - spec.height) // 2), max(0, (inner_width - spec.width) // 2)
    seen = whole[top : top + spec.height, left : left + spec.width]
    seen[:] = heat[: seen.shape[0], : seen.shape[1]]
    return _enlarged(whole, out_height, out_width)


def _heat(network: Classifier, inputs: Tensor, classes: Tensor) -> NDArray[np.float32]:
    """float32 [b, h, w] in 0 to 1, as coarse as the last feature map; the mean of both looks where there are two."""
    mirror = network.architecture.mirror
    evidence = _evidence(network, inputs, classes)
    if mirror is not Mirror.NONE:
        evidence = (
            evidence + mirrored(_evidence(network, mirrored(inputs, mirror), classes)[:, None], mirror)[:, 0]
        ) / 2
    heat = evidence.float().cpu().numpy()
    strongest = heat.max(axis=(1, 2), keepdims=True)
    return np.asarray(heat / np.where(strongest > 0, strongest, 1.0), dtype=np.float32)


def _evidence(network: Classifier, inputs: Tensor, classes: Tensor) -> Tensor:
    """float [b, h, w], at least 0."""
    with torch.no_grad():
        feature_map: Tensor = network.body.forward_features(inputs)  # type: ignore[operator]
    if feature_map.ndim != 4 or min(feature_map.shape[2:]) < 1:
        raise BadInput(
            f"The backbone {network.architecture.backbone!r} keeps no map of places, so that nothing can be shown.",
            remedy="Train with a CNN, for example tf_efficientnet_lite0.",
        )
    with torch.enable_grad():
        feature_map = feature_map.detach().requires_grad_(True)
        logits: Tensor = network.body.forward_head(feature_map)  # type: ignore[operator]
        chosen = (logits.gather(1, classes[:, None])[:, 0] - logits.mean(dim=1)).sum()
        (gradient,) = torch.autograd.grad(chosen, feature_map)
    channels = -1 if str(getattr(network.body, "output_fmt", "NCHW")).endswith("NHWC") else 1
    return (gradient * feature_map.detach()).sum(dim=channels).clamp(min=0)


def _enlarged(heat: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    resized = cv2.resize(np.ascontiguousarray(heat), (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(np.asarray(resized, dtype=np.float32), 0.0, 1.0)
