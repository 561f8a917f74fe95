"""The scored batches that a round is built from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_contracts.errors import BadInput, NotFound
from data_contracts.frames import SCORES, read_table
from data_contracts.taxonomy import Taxonomy
from data_contracts.vocabulary import Decision
from data_contracts.workspace import Workspace
from pipelines.steps.model_classes import shares_today
from pipelines.steps.score_names import split_since, told_today
from pipelines.steps.score_parts import PROBABILITY


@dataclass(frozen=True)
class ScoredBatches:
    """Score rows of one model. ``frame`` has the columns of a score file and ``batch``; unreadable files are left out.

    ``unreadable`` counts files that could not be decoded: nobody could review them either. ``split`` says, of classes
    that were split since the model was trained, what each may be now.
    """

    frame: pd.DataFrame
    classes: tuple[str, ...]
    model_version: str | None
    unreadable: int
    split: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def content(self) -> str:
        """A hash of what the rows say, for naming the round."""
        rows = sorted(zip(self.frame["image_id"], self.frame["decision"], self.frame["batch"], strict=True))
        return hashlib.sha256(repr((self.model_version, rows)).encode()).hexdigest()

    def shares(self, taxonomy: Taxonomy) -> NDArray[np.float64]:
        """How ``classes`` are told of the classes in use: see :func:`~pipelines.steps.model_classes.shares_today`."""
        shares = shares_today(self.classes, None, taxonomy)
        for name, parts in self.split.items():
            shares[self.classes.index(name)] = [(one in parts) / len(parts) for one in taxonomy.names]
        return shares

    @property
    def flagged(self) -> pd.Series[bool]:
        """Rows that triage sent to review."""
        return self.frame["decision"] == Decision.REVIEW.value


NO_SCORES = ScoredBatches(
    pd.DataFrame({name: pd.Series(dtype=object) for name in ("path", "image_id", "decision", "reason", "batch")}),
    (),
    None,
    0,
)


def finished_scores(workspace: Workspace, model_version: str) -> list[Path]:
    """The finished score file of every batch of the workspace that this model has scored, by batch name."""
    found: dict[str, Path] = {}
    for path in sorted(workspace.scores.glob("*/*/scores.parquet")):
        if path.parent.name.partition("-")[0] == model_version:
            found.setdefault(path.parent.parent.name, path)
    return list(found.values())


def read_scores(
    files: Sequence[Path], *, workspace: Workspace, taxonomy: Taxonomy, model_version: str | None
) -> ScoredBatches:
    """Read score files by the names of today; of a file that was scored twice, the last row counts.

    Args:
        files: Parquet files of ``tailsight score``.
        workspace: finished scores within it are known by the name of their batch, other files by their own.
        taxonomy: the one that holds now.
        model_version: rows of other models are refused; ``None`` accepts one model, whichever it is.

    Raises:
        NotFound: there is no such file.
        BadInput: a file holds no scores, or scores of different models.
    """
    if not files:
        return NO_SCORES
    frames = []
    split: dict[str, tuple[str, ...]] = {}
    for path in files:
        if not path.is_file():
            raise NotFound(f"There is no score file {path}.", remedy="Run `tailsight score IMAGES --out FILE` first.")
        try:
            frame = read_table(path, SCORES)
        except (OSError, ValueError) as error:
            raise BadInput(f"{path} is not a score file ({type(error).__name__}).") from None
        split |= split_since(path, taxonomy)
        frames.append(told_today(path, frame, taxonomy).assign(batch=batch_of(path, workspace)))
    joined = pd.concat(frames, ignore_index=True)
    versions = sorted(joined["model_version"].unique())
    if model_version is not None and versions and versions != [model_version]:
        raise BadInput(
            f"The scores are of model version {', '.join(versions)}, not of {model_version}.",
            remedy=f"Score the batch with --model {model_version}, or leave --model out.",
        )
    if len(versions) > 1:
        raise BadInput(
            f"The scores are of different model versions: {', '.join(versions)}.",
            remedy="Build one round for each model.",
        )
    readable = joined["error"].isna() & joined["image_id"].notna() & joined["predicted"].notna()
    classes = tuple(name.removeprefix(PROBABILITY) for name in joined.columns if name.startswith(PROBABILITY))
    rows = joined[readable].drop_duplicates("image_id", keep="last").reset_index(drop=True)
    return ScoredBatches(rows, classes, versions[0] if versions else model_version, int((~readable).sum()), split)


def batch_of(path: Path, workspace: Workspace) -> str:
    """The batch that a score file is of: its partition within the workspace, else the file's name."""
    resolved = path.resolve()
    inside = workspace.scores.resolve()
    if resolved.is_relative_to(inside) and len(resolved.relative_to(inside).parts) == 3:
        return resolved.parent.parent.name
    return path.stem
