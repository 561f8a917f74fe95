"""Scores under the classes of today: kept as the model said them, told by the names that hold when they are read.

A class may be renamed, merged or split at any time, and back; a model goes on saying what it was trained to say. So the
finished scores of a batch are never rewritten; beside them lies what is needed to tell them by other names.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from data_contracts.frames import SCORES, checked
from data_contracts.taxonomy import Taxonomy
from data_contracts.vocabulary import Decision
from data_contracts.workspace import write_atomically
from domain_models.calibrators import Calibration
from domain_models.conformal import ConformalRule
from domain_models.decision_costs import EQUAL_COSTS, DecisionCosts
from domain_models.passing import PassRule
from domain_models.triage import TriageRule
from pipelines.steps.decisions import Decider
from pipelines.steps.model_classes import ClassesToday, classes_today
from pipelines.steps.score_parts import ANSWERED_EARLY, PROBABILITY, arrow_schema

if TYPE_CHECKING:
    from domain_models.model_card import ModelCard

WORDS_FILE = "words.json"
ROWS = 4096
_DECIDED = ("predicted", "confidence", "margin", "entropy", "conformal_set", "decision", "reason")


class ModelWords(BaseModel):
    """The classes that the scores of one model speak of, and how it decides; kept beside the scores."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    classes: tuple[str, ...]
    taxonomy_version: int | None
    rule: TriageRule
    conformal: ConformalRule
    passing: PassRule | None = None
    costs: DecisionCosts = EQUAL_COSTS

    @classmethod
    def of(cls, card: ModelCard) -> ModelWords:
        """Of a model card."""
        decider = Decider.from_card(card)
        return cls(
            classes=card.classes,
            taxonomy_version=card.taxonomy_version,
            rule=decider.rule,
            conformal=decider.conformal,
            passing=decider.passing,
            costs=decider.costs,
        )

    def today(self, taxonomy: Taxonomy) -> ClassesToday:
        """What the classes are called today."""
        return classes_today(self.classes, self.taxonomy_version, taxonomy)

    def told(self, frame: pd.DataFrame, today: ClassesToday) -> pd.DataFrame:
        """Score rows as the model said them, told and decided anew by the names of today."""
        if today.unchanged:
            return frame
        own = frame[[f"{PROBABILITY}{name}" for name in self.classes]].to_numpy(dtype=np.float64)
        readable = np.isfinite(own).all(axis=1)
        decider = Decider(self.classes, Calibration(), self.rule, self.conformal, self.passing, self.costs)
        decided = iter(decider.decide_of(own[readable], today))
        rows: list[dict[str, Any]] = []
        for known in readable:
            one = next(decided) if known else None
            rows.append({} if one is None else {name: getattr(one, name) for name in _DECIDED})
        anew = pd.DataFrame(rows, columns=list(_DECIDED), dtype=object)
        anew["decision"] = anew["decision"].where(readable, frame["decision"].to_numpy())
        added = np.full((len(frame), len(today.shown)), np.nan)
        added[readable] = today.added_up(own[readable])
        columns = {f"{PROBABILITY}{name}": added[:, index] for index, name in enumerate(today.shown)}
        cascade = ANSWERED_EARLY in frame
        same = ["path", "image_id", "model_version", "error", *([ANSWERED_EARLY] if cascade else [])]
        kept = frame[same].reset_index(drop=True)
        told: pd.DataFrame = pd.concat([kept, anew, pd.DataFrame(columns)], axis=1)[
            arrow_schema(today.shown, cascade=cascade).names
        ]
        return told.astype(dict.fromkeys(("confidence", "margin", "entropy"), float))


def keep_words(folder: Path, card: ModelCard) -> None:
    """Lay a model's words beside its scores, where they are not yet."""
    if not (folder / WORDS_FILE).is_file():
        write_atomically(folder / WORDS_FILE, ModelWords.of(card).model_dump_json(indent=1))


def told_today(path: Path, frame: pd.DataFrame, taxonomy: Taxonomy) -> pd.DataFrame:
    """The rows of a score file by the names of today.

    Scores of the workspace are told anew from what the model said. Other files say what the classes were called when
    they were written; there, former names are read as what they mean now.
    """
    words = path.parent / WORDS_FILE
    if words.is_file():
        known = ModelWords.model_validate_json(words.read_text(encoding="utf-8"))
        return known.told(frame, known.today(taxonomy))
    classes = [name.removeprefix(PROBABILITY) for name in frame.columns if name.startswith(PROBABILITY)]
    now = {name: taxonomy.resolve(name) or name for name in classes}
    if all(old == new for old, new in now.items()):
        return frame
    own = frame[[f"{PROBABILITY}{name}" for name in classes]]
    added = own.T.groupby([f"{PROBABILITY}{now[name]}" for name in classes], sort=False).sum(min_count=1).T
    names = frame["predicted"].map(lambda name: now.get(name, name), na_action="ignore")
    return pd.concat([frame.drop(columns=own.columns).assign(predicted=names), added], axis=1)


def split_since(path: Path, taxonomy: Taxonomy) -> dict[str, tuple[str, ...]]:
    """Classes of scores of the workspace that were split since their model was trained, and what each may be now."""
    words = path.parent / WORDS_FILE
    if not words.is_file():
        return {}
    return ModelWords.model_validate_json(words.read_text(encoding="utf-8")).today(taxonomy).split


def write_told(source: Path, target: Path, words: ModelWords, today: ClassesToday) -> None:
    """Write finished scores by the names of today, whole or not at all; memory holds a few thousand rows."""
    cascade = ANSWERED_EARLY in pq.read_schema(source).names
    schema = arrow_schema(today.shown, cascade=cascade)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with pq.ParquetWriter(temporary, schema) as writer:
            for batch in pq.ParquetFile(source).iter_batches(ROWS):
                told = checked(words.told(batch.to_pandas(), today), SCORES)
                writer.write_table(pa.Table.from_pandas(told, schema=schema, preserve_index=False))
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def tables_of(path: Path) -> Iterator[pa.Table]:
    """The rows of a score file, a few thousand at a time."""
    for batch in pq.ParquetFile(path).iter_batches(ROWS):
        yield pa.Table.from_batches([batch])


def counts_of(tables: Iterable[pa.Table]) -> dict[str, Any]:
    """What the report of a scoring counts."""
    rows = errors = automatic = 0
    early: int | None = None
    predicted: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for table in tables:
        rows += table.num_rows
        if ANSWERED_EARLY in table.column_names:
            early = (early or 0) + sum(value is True for value in table[ANSWERED_EARLY].to_pylist())
        errors += table.num_rows - table["error"].null_count
        automatic += sum(value == Decision.AUTO.value for value in table["decision"].to_pylist())
        predicted.update(value for value in table["predicted"].to_pylist() if value is not None)
        reasons.update(value for value in table["reason"].to_pylist() if value is not None)
    return {
        "rows": rows,
        "errors": errors,
        "automatic": automatic,
        "review": rows - automatic,
        "predicted": dict(predicted.most_common()),
        ANSWERED_EARLY: early,
        "reasons": dict(reasons.most_common()),
    }
