"""All that another process needs to open a model by itself: a few words, never weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from domain_models.compute import Compute, Threads
from domain_models.model_card import CARD_FILE, ModelCard, read_card
from domain_models.processor import computes_alike, processor_name
from domain_models.runtimes import Computable, open_computable
from pipelines.steps.decisions import Decider
from pipelines.steps.score_files import ComputedBatch
from pipelines.steps.score_rows import rows_of


@dataclass(frozen=True)
class ModelRecipe:
    """Where a model's package lies and what computes it. Small enough to be sent with every task.

    Attributes:
        version: of the model, as its rows name it.
        package: folder of the model package, at the same path wherever the recipe is opened.
        computable: the package or an artefact in one runtime and precision: every process must compute alike.
        processor: of the machine that chose an artefact whose numbers depend on it; ``None``: any will do.
    """

    version: str
    package: Path
    computable: Computable
    processor: str | None = None

    def computes_alike(self) -> bool:
        """Whether this machine comes to the same numbers as the one that chose what computes."""
        return self.processor is None or computes_alike(self.processor, processor_name())

    def is_in_reach(self) -> bool:
        """Whether this process can read the package."""
        return (self.package / CARD_FILE).is_file() and self.computable.is_in_reach()

    def open(self, threads: Threads | None = None) -> OpenedModel:
        """Load the model here; ``threads`` says how it shares the cores."""
        card = read_card(self.package)
        compute = open_computable(self.computable, card, threads)
        return OpenedModel(self.version, card, Decider.from_card(card), compute)


@dataclass(frozen=True)
class OpenedModel:
    """A model that is ready to compute."""

    version: str
    card: ModelCard
    decider: Decider
    compute: Compute

    def rows(self, batches: Sequence[ComputedBatch]) -> list[dict[str, Any]]:
        """Rows of a score file."""
        return rows_of(batches, self.decider, self.version)
