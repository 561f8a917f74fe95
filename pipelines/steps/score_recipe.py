"""All that another process needs to open a model by itself: a few words, never weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from domain_models.model_package import CARD_FILE, ModelCard, read_card
from domain_models.runtimes import Compute, Runtime, open_runtime
from pipelines.steps.decisions import Decider


@dataclass(frozen=True)
class ModelRecipe:
    """Where a model's package lies and what computes it. Small enough to be sent with every task.

    Attributes:
        version: of the model, as its rows name it.
        runtime: anything but ``auto``: every process must compute alike.
        package: folder of the model package, at the same path wherever the recipe is opened.
    """

    version: str
    runtime: Runtime
    package: Path

    def is_in_reach(self) -> bool:
        """Whether this process can read the package."""
        return (self.package / CARD_FILE).is_file()

    def open(self) -> OpenedModel:
        """Load the model here."""
        card = read_card(self.package)
        return OpenedModel(self.version, card, Decider.from_card(card), open_runtime(self.runtime, self.package, card))


@dataclass(frozen=True)
class OpenedModel:
    """A model that is ready to compute."""

    version: str
    card: ModelCard
    decider: Decider
    compute: Compute
