"""A full training that begins with the network of a package instead of a backbone's weights: ``weights=FOLDER``.

All of it is taken, classifier and widths included, so that a pruned network learns to make up for what it lost.
"""

from __future__ import annotations

from pathlib import Path

from data_contracts.errors import BadInput
from domain_models.architecture import Architecture
from domain_models.backbones import Classifier, normalisation
from domain_models.model_card import CARD_FILE, read_card
from domain_models.model_package import load_package

_SAME = ("backbone", "classes", "attention", "attention_stages", "head", "fine_stem", "input_size")
"""What the package decides; dropout, drop path and a second look may differ, because no weights belong to them."""


def names_package(weights: str) -> bool:
    """Whether a setting ``weights`` is the folder of a model package."""
    return (Path(weights).expanduser() / CARD_FILE).is_file()


def network_of_package(weights: str, wanted: Architecture) -> Classifier:
    """The network of a package, as a training with these settings begins with it.

    Args:
        weights: the folder.
        wanted: what the settings describe; the widths are the package's.

    Raises:
        BadInput: the settings describe another network.
        IntegrityError: the package is damaged.
    """
    network, card = load_package(Path(weights).expanduser())
    has = card.architecture
    differing = [name for name in _SAME if getattr(has, name) != getattr(wanted, name)]
    if differing:
        raise BadInput(
            f"weights={weights!r} is a package of another network: {', '.join(differing)} differ.",
            remedy=f"Its backbone is {has.backbone}, for {has.classes} classes; set the same.",
        )
    begun = Classifier(wanted.model_copy(update={"widths": has.widths}))
    begun.load_state_dict(network.state_dict(), strict=True)
    return begun


def normalisation_of(backbone: str, weights: str) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and standard deviation (0..1 pixel range) that the weights were trained with, whatever they are."""
    if names_package(weights):
        spec = read_card(Path(weights).expanduser()).preprocessing
        return spec.mean, spec.std
    return normalisation(backbone, weights)


def check_classes(weights: str, classes: tuple[str, ...], folds: int) -> list[str]:
    """A sentence for a person where training begins with a package; none otherwise.

    Args:
        weights: the setting.
        classes: those that are learned.
        folds: how many models are cross-fitted.

    Raises:
        BadInput: the package decides for other classes, or fold models would begin with what it has seen.
    """
    if not names_package(weights):
        return []
    card = read_card(Path(weights).expanduser())
    if card.classes != classes:
        raise BadInput(
            f"The package {weights} decides for other classes than the dataset version has, or in another order.",
            remedy="Train from a backbone's weights.",
        )
    if folds:
        raise BadInput(
            "Fold models cannot begin with a package: it has learned from the images that they are asked about.",
            remedy="Set cross_fit_folds=0.",
        )
    narrow = f", pruned in {len(card.architecture.widths)} layers" if card.architecture.widths else ""
    return [f"Begins with the network of {weights} ({card.architecture.backbone}{narrow}), its classifier included."]
