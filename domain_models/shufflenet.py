"""ShuffleNetV2, which timm does not have: torchvision's, dressed as a timm network.

Ma, Zhang, Zheng, Sun: ShuffleNet V2, ECCV 2018. Parameters keep torchvision's names, so that its weight files fit.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

NAMES = ("shufflenet_v2_x0_5", "shufflenet_v2_x1_0", "shufflenet_v2_x1_5", "shufflenet_v2_x2_0")
_STAGES = ("maxpool", "stage2", "stage3", "stage4")


class ShuffleNet(nn.Module):
    """What :class:`~domain_models.backbones.Classifier` asks of a timm network.

    Args:
        network: torchvision's.
        drop_rate: dropout before the classifier.

    Attributes:
        feature_info: stages in order, as timm reports them.
        pretrained_cfg: how the published weights see images.
    """

    def __init__(self, network: nn.Module, drop_rate: float = 0.0) -> None:
        super().__init__()
        for name, part in network.named_children():
            self.add_module(name, part)
        channels: list[int] = network._stage_out_channels  # type: ignore[assignment]
        self.feature_info = [
            {"module": name, "num_chs": count, "reduction": 2 ** (2 + number)}
            for number, (name, count) in enumerate(zip(_STAGES, channels, strict=False))
        ]
        self.pretrained_cfg = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
        self.drop_rate = drop_rate

    def forward_features(self, images: Tensor) -> Tensor:
        """float32 [n, 3, h, w] to the last feature map, float32 [n, d, h/32, w/32]."""
        values = images
        for name in ("conv1", *_STAGES, "conv5"):
            values = self.get_submodule(name)(values)
        return values

    def forward_head(self, feature_map: Tensor, pre_logits: bool = False) -> Tensor:
        """The pooled features [n, d], or the logits."""
        features = feature_map.mean((2, 3))
        if pre_logits:
            return features
        dropped = nn.functional.dropout(features, self.drop_rate, self.training)
        logits: Tensor = self.get_classifier()(dropped)
        return logits

    def forward(self, images: Tensor) -> Tensor:
        """float32 [n, 3, h, w] to logits."""
        return self.forward_head(self.forward_features(images))

    def get_classifier(self) -> nn.Module:
        """The last layer."""
        return self.get_submodule("fc")


def create_shufflenet(
    name: str, *, num_classes: int = 1000, drop_rate: float = 0.0, pretrained: bool = False
) -> ShuffleNet:
    """A ShuffleNetV2; ``pretrained`` downloads torchvision's weights (with 1,000 classes)."""
    from torchvision import models  # type: ignore[import-untyped]

    weights: Any = "DEFAULT" if pretrained else None
    return ShuffleNet(models.get_model(name, weights=weights, num_classes=num_classes), drop_rate)
