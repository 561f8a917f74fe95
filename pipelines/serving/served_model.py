"""Which model the server answers with, and noticing that this has changed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from data_contracts.errors import NotFound
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.promotions import promotions
from data_contracts.ledger.taxonomies import current_taxonomy
from data_contracts.progress import SILENT, Progress
from data_contracts.vocabulary import Alias
from data_contracts.workspace import Workspace
from pipelines.steps.ledger import open_ledger
from pipelines.steps.model_classes import ClassesToday
from pipelines.steps.registry import champions, open_registry
from pipelines.steps.score_model import AUTO, scoring_model
from pipelines.steps.score_recipe import ModelRecipe


@dataclass(frozen=True)
class ServedModel:
    """A model version under the class names of today: what is pinned, and swapped as one.

    Attributes:
        version: as the registry counts.
        recipe: what a worker needs to load it; its files were checked against their hash when it was found.
        runtime: what computes it, as scores name it.
        key_of_files: differs whenever what computes does.
        today: what its classes are called today.
        taxonomy_version: of the taxonomy that says so.
        remarks: what the person who runs the server should know of it.
    """

    version: str
    recipe: ModelRecipe
    runtime: str
    key_of_files: str
    today: ClassesToday
    taxonomy_version: int
    remarks: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Names exactly this model under exactly these class names."""
        return f"{self.key_of_files}@{self.taxonomy_version}"

    @property
    def package(self) -> Path:
        """The folder of the model's files."""
        return self.recipe.package


def find_model(workspace: Workspace, name: str, runtime: str = AUTO, progress: Progress = SILENT) -> ServedModel:
    """The model that ``name`` means now, its files verified; computed by what would score it.

    Raises:
        NotFound: it means none.
        BadInput: the runtime cannot compute it.
        IntegrityError: its files are not those that were registered.
    """
    with open_ledger(workspace) as ledger:
        taxonomy = current_taxonomy(ledger).version
    model = scoring_model(workspace, name, runtime, progress=progress)
    remarks = tuple(model.remarks())
    return ServedModel(model.version, model.recipe, model.runtime, model.key, model.today, taxonomy, remarks)


class Watch:
    """Says cheaply, again and again, which version a name means and under which taxonomy. One thread at a time.

    Of the champion the ledger alone is asked, which is the truth about promotions; the registry follows it.
    """

    def __init__(self, workspace: Workspace, name: str) -> None:
        self._workspace = workspace
        self._name = name
        self._ledger: Ledger | None = None

    def standing(self) -> tuple[str, int]:
        """Model version and taxonomy version as they are now.

        Raises:
            NotFound: the name means no model any more.
            TailsightError: the ledger cannot be read now.
        """
        if self._ledger is None:
            self._ledger = open_ledger(self._workspace)
        taxonomy = current_taxonomy(self._ledger).version
        if self._name == Alias.CHAMPION.value:
            stack = champions(promotions(self._ledger))
            if not stack:
                raise NotFound("There is no champion any more.", remedy="Run `tailsight promote`.")
            return stack[-1], taxonomy
        if self._name in set(Alias):
            with open_registry(self._workspace) as registry:
                return registry.resolve(self._name), taxonomy
        return self._name, taxonomy

    def close(self) -> None:
        """Give the ledger's connections back."""
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None
