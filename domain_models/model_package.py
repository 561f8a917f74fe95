"""A model as files that anything can read: weights (safetensors), a card (JSON), a graph (ONNX). Never a pickle."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from data_contracts.errors import BadInput, IntegrityError, NotFound
from data_contracts.workspace import write_atomically
from domain_models.backbones import Classifier
from domain_models.graph import write_graph
from domain_models.model_card import CARD_FILE, ONNX_FILE, WEIGHTS_FILE, ModelCard, read_card


def save_package(folder: Path, network: Classifier, card: ModelCard, *, onnx: bool = True) -> Path:
    """Write a network and its card; the card comes last, so a folder with a card is whole.

    Args:
        folder: made if needed; files of an earlier, unfinished attempt are replaced.
        network: the trained network, moved to the CPU and put in evaluation mode.
        card: describes it.
        onnx: also write the ONNX graph (:func:`domain_models.graph.write_graph`), after checking that ONNX Runtime
            agrees with torch for one image and for several.

    Returns:
        The folder.

    Raises:
        BadInput: the card does not describe the network.
        Refused: the ONNX graph does not compute what the network computes.
    """
    if card.architecture != network.architecture or len(card.classes) != card.architecture.classes:
        raise BadInput("The model card does not describe the network: its architecture or classes differ.")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CARD_FILE).unlink(missing_ok=True)
    network.to("cpu").eval()
    temporary = folder / f".{WEIGHTS_FILE}"
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, temporary)
    temporary.replace(folder / WEIGHTS_FILE)
    if onnx:
        write_graph(folder / ONNX_FILE, network, card.preprocessing)
    write_atomically(folder / CARD_FILE, card.model_dump_json(indent=2) + "\n")
    return folder


def load_package(folder: Path, device: str = "cpu") -> tuple[Classifier, ModelCard]:
    """Build the network again from its files, in evaluation mode; nothing is unpickled.

    Raises:
        NotFound: the folder holds no package.
        IntegrityError: card and weights do not fit together or are damaged.
    """
    card = read_card(folder)
    if not (folder / WEIGHTS_FILE).is_file():
        raise NotFound(f"{folder} has no {WEIGHTS_FILE}.")
    network = Classifier(card.architecture)
    try:
        network.load_state_dict(load_file(folder / WEIGHTS_FILE), strict=True)
    except Exception as error:  # safetensors and torch raise their own kinds
        raise IntegrityError(
            f"The weights in {folder} do not fit their card ({type(error).__name__}).",
            cause="A file was damaged or replaced.",
        ) from None
    network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.eval(), card
