"""Quantization-aware training: an 8-bit network learns to say what the network says that it was made of.

Rounding every activation to one of 256 values moves logits. With the rounding in place, and derivatives passed straight
through it (Bengio et al., arXiv:1308.3432), a few epochs move weights and ranges until the logits are near those of
before. The teacher is the network itself, on its own training images: no label is needed, and nothing new is learned.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from data_contracts.errors import Refused
from data_contracts.input_settings import AugmentationSettings
from data_contracts.progress import SILENT, Progress
from domain_models.augmentation import augmented, build_policy
from domain_models.backbones import Classifier
from domain_models.export.converters import int8_settings, save_int8
from domain_models.graph import PixelsToLogits, write_unchecked_graph
from domain_models.model_card import ONNX_FILE, ModelCard
from domain_models.openvino_toolkit import first_and_last, graph_of_rounding, load_nncf, quiet
from domain_models.training_data import LabelledImages


@dataclass(frozen=True)
class QuantizationTraining:
    """How it is trained.

    Attributes:
        epochs: over the training images, each augmented as when the network was trained.
        learning_rate: of Adam at the first step; it falls to 0 along a cosine.
        batch_size: images of a step.
        seed: of order and augmentation.
    """

    epochs: int = 3
    learning_rate: float = 1e-5
    batch_size: int = 32
    seed: int = 0


def write_trained_int8(
    network: Classifier,
    card: ModelCard,
    train: LabelledImages,
    calibration: NDArray[np.int64],
    training: QuantizationTraining,
    folder: Path,
    progress: Progress = SILENT,
) -> None:
    """Write the OpenVINO graph of a network that was trained in 8 bits; the network itself stays as it is.

    Args:
        network: in evaluation mode, in 32-bit floats.
        card: of it: preprocessing, augmentation, temperature.
        train: the images that it learned from.
        calibration: positions int64 [m] of those that show the range of activations.
        training: how.
        folder: there and empty.
        progress: told of each epoch.

    Raises:
        Refused: the toolkit cannot quantize this network.
    """
    whole = PixelsToLogits(copy.deepcopy(network).cpu().eval(), card.preprocessing).eval()
    student = _quantized(whole, train.images[calibration])
    _train(student, whole, card, train, training, progress)
    with progress.step("Converting to openvino int8"), TemporaryDirectory(dir=folder.parent, prefix=".graph-") as place:
        path = Path(place) / ONNX_FILE
        write_unchecked_graph(path, student.eval(), card.preprocessing)
        save_int8(graph_of_rounding(str(path)), folder)


def _quantized(whole: nn.Module, images: NDArray[np.uint8]) -> nn.Module:
    """A copy that rounds."""
    nncf = load_nncf()
    examples = [torch.from_numpy(np.ascontiguousarray(image[None])) for image in images]
    try:
        with quiet():
            found: nn.Module = nncf.quantize(
                whole,
                nncf.Dataset(examples),
                fast_bias_correction=True,  # the quick way: training corrects more than bias
                **int8_settings(len(images), first_and_last(whole, examples[0])),
            )
    except Exception as error:  # the toolkit raises its own kinds, a missing compiler among them
        raise Refused(
            "The network cannot be trained in 8 bits here.",
            cause=f"The toolkit says: {' '.join(str(error).split())[:300]}",
            remedy="It needs a C++ compiler. Take another precision, or allow less agreement (--agreement).",
        ) from error
    return found


def _train(
    student: nn.Module,
    teacher: nn.Module,
    card: ModelCard,
    train: LabelledImages,
    training: QuantizationTraining,
    progress: Progress,
) -> None:
    settings = AugmentationSettings.model_validate(card.config.get("augmentation", {}))
    policy: Any = build_policy(settings, card.preprocessing.channels)
    weights = [parameter for parameter in student.parameters() if parameter.requires_grad]
    optimiser = torch.optim.Adam(weights, lr=training.learning_rate)
    size = min(training.batch_size, len(train))
    steps = training.epochs * (len(train) // size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(1, steps))
    for module in (student, teacher):
        module.eval()  # statistics of batches stay the network's
        _see_one_look(module)
    order = np.random.default_rng(training.seed)
    with progress.step("Training in 8 bits", total=steps * size) as step:
        for epoch in range(1, training.epochs + 1):
            shuffled = order.permutation(len(train))
            for start in range(0, len(train) - size + 1, size):
                positions = shuffled[start : start + size]
                ids = [train.image_ids[position] for position in positions]
                views = torch.from_numpy(augmented(policy, train.images[positions], ids, training.seed, epoch))
                loss = _distance(student(views), _answers(teacher, views), card.temperature)
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                schedule.step()
                step.advance(size, f"difference {loss.item():.4f}")


def _see_one_look(module: nn.Module) -> None:
    """A network that predicts from both looks at an image learns from one of them, in half of the time."""
    for network in module.modules():
        if isinstance(network, Classifier):
            network.classifier.train()


def _answers(teacher: nn.Module, views: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = teacher(views)
    return logits


def _distance(said: torch.Tensor, wanted: torch.Tensor, temperature: float) -> torch.Tensor:
    """Kullback-Leibler divergence of what is said from what was wanted, at the temperature that production uses."""
    return nn.functional.kl_div(
        nn.functional.log_softmax(said / temperature, dim=1),
        nn.functional.log_softmax(wanted / temperature, dim=1),
        log_target=True,
        reduction="batchmean",
    )
