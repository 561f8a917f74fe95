"""``labels readers``: what people who read independently say together, and how good each of them is."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from data_contracts.blobs import Blobs
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.fold import image_answers
from data_contracts.ledger.images import images_frame
from data_contracts.ledger.near_duplicates import near_duplicates_frame
from data_contracts.ledger.roots import registered_roots
from data_contracts.ledger.splits import split_assignments
from data_contracts.ledger.taxonomies import current_taxonomy
from data_contracts.progress import SILENT, Progress
from data_contracts.review.choices import PERSONAL_FIGURES, choice
from data_contracts.review.panel import independent_answers
from data_contracts.review.roles import role_of
from data_contracts.set_aside import lot
from data_contracts.splitting import components
from data_contracts.vocabulary import Role, Split, SubjectKind
from data_contracts.workspace import Workspace
from domain_models.label_audit import out_of_fold_probabilities
from pipelines.steps.embeddings import bundled_embedder, embeddings_of
from pipelines.steps.ledger import open_ledger
from pipelines.steps.panel import FEWEST, Panel, judge_panel
from pipelines.steps.queue_model import RoundModel, load_round_model
from pipelines.steps.queue_pool import MOST_LABELLED

FEWEST_UNNAMED = 2
"""Of fewer readers whose names are withheld nothing is told: who they are would be plain."""


class ReaderFigures(BaseModel):
    """One reader; ``answers`` is withheld with the name, because volumes tell names."""

    model_config = ConfigDict(frozen=True)

    reader: str
    named: bool
    quality: float
    quality_ci: tuple[float, float] | None
    agreement_with_consensus: float
    answers: int | None


class Contradiction(BaseModel):
    """An image whose label is not what its readers say together."""

    model_config = ConfigDict(frozen=True)

    image_id: str
    label: str
    consensus: str
    quality: float
    answers: int


class ReadersReport(BaseModel):
    """``subjects``: images, or groups that are read as one case, with two or more independent answers.

    ``judged``: false where there are too few. ``withheld``: readers of whom nothing is told to this person.
    """

    model_config = ConfigDict(frozen=True)

    subjects: int
    answers: int
    judged: bool
    fewest: int
    unanimous: int
    model_version: str | None
    readers: list[ReaderFigures]
    withheld: int
    contradictions: list[Contradiction]


def readers_report(
    workspace: Workspace, *, asked_by: str | None = None, seed: int = 0, progress: Progress = SILENT
) -> ReadersReport:
    """Consensus and quality of everybody who reads here.

    Figures of a person belong to that person: others see them without names, except leads where a lead has chosen so.

    Args:
        workspace: whose ledger.
        asked_by: who wants to know; ``None`` sees no names.
        seed: of folds, ties and intervals.
        progress: told of the work.
    """
    with open_ledger(workspace.require()) as ledger:
        answers = independent_answers(ledger)
        model = load_round_model(workspace, None) if len(answers) else None
        panel = None
        if len(answers[["subject_kind", "subject_id"]].drop_duplicates()) >= FEWEST:
            images = images_frame(ledger).merge(image_answers(ledger), on="image_id", how="left")
            said = _out_of_sample(workspace, ledger, images, _images_of(answers, images), model, seed, progress)
            classes = current_taxonomy(ledger).names
            with progress.step("Weighing readers against one another"):
                panel = judge_panel(answers, images, said, classes, intervals=True, seed=seed)
        by_name = (
            asked_by is not None
            and role_of(ledger, asked_by) == Role.LEAD
            and choice(ledger, PERSONAL_FIGURES) == "leads"
        )
    readers, withheld = _told(panel, asked_by, by_name=by_name)
    subjects = answers[["subject_kind", "subject_id"]].drop_duplicates()
    found = panel.images[panel.images["contradicted"]] if panel is not None else pd.DataFrame()
    columns = ["image_id", "label", "consensus", "quality", "answers"]
    return ReadersReport(
        subjects=len(subjects),
        answers=len(answers),
        judged=panel is not None,
        fewest=FEWEST,
        unanimous=int((answers.groupby(["subject_kind", "subject_id"])["label"].nunique() == 1).sum()),
        model_version=None if model is None else model.version,
        readers=readers,
        withheld=withheld,
        contradictions=[Contradiction.model_validate(row) for row in found.reindex(columns=columns).to_dict("records")],
    )


def _told(panel: Panel | None, asked_by: str | None, *, by_name: bool) -> tuple[list[ReaderFigures], int]:
    """What this person may see, the best reader first; and of how many they see nothing."""
    if panel is None:
        return [], 0
    ranked = sorted(panel.readers.items(), key=lambda item: (-item[1].quality, item[0]))
    unnamed = sum(1 for name, _ in ranked if not by_name and name != asked_by)
    told = []
    for place, (name, one) in enumerate(ranked, start=1):
        named = by_name or name == asked_by
        if not named and unnamed < FEWEST_UNNAMED:
            continue
        told.append(
            ReaderFigures(
                reader=name if named else f"reader {place}",
                named=named,
                quality=one.quality,
                quality_ci=one.interval,
                agreement_with_consensus=one.agreement,
                answers=one.answers if named else None,
            )
        )
    return told, len(ranked) - len(told)


def _images_of(answers: pd.DataFrame, images: pd.DataFrame) -> NDArray[np.bool_]:
    """bool [n]: images of the panel, alone or in a group."""
    groups = answers.loc[answers["subject_kind"] == SubjectKind.GROUP.value, "subject_id"]
    alone = answers.loc[answers["subject_kind"] == SubjectKind.IMAGE.value, "subject_id"]
    return np.asarray(images["image_id"].isin(set(alone)) | images["group"].isin(set(groups)))


def _out_of_sample(
    workspace: Workspace,
    ledger: Ledger,
    images: pd.DataFrame,
    wanted: NDArray[np.bool_],
    model: RoundModel | None,
    seed: int,
    progress: Progress,
) -> NDArray[np.float64]:
    """float64 [n, k]: of wanted images, what models say that never saw their label; NaN elsewhere.

    Labelled ones are predicted by the other folds, as for finding wrong labels; others by the champion.
    """
    taxonomy = current_taxonomy(ledger)
    blobs = Blobs(registered_roots(ledger))
    out = np.full((len(images), len(taxonomy.names)), np.nan)
    if not taxonomy.names:
        return out
    items = list(zip(images["image_id"], images["uri"], strict=True))
    usable = images["label"].isin(taxonomy.names).to_numpy() & ~images["bad_image"].eq(True).to_numpy()
    splits = split_assignments(ledger)
    tested = images["image_id"].isin(set(splits.loc[splits["split"] == Split.TEST.value, "image_id"])).to_numpy()
    lots = np.array([lot(one) for one in images["image_id"]])
    others = np.flatnonzero(usable & ~tested & ~wanted)
    others = others[np.argsort(lots[others], kind="stable")][:MOST_LABELLED]
    judged = np.sort(np.concatenate([others, np.flatnonzero(usable & wanted)]))
    if len(judged):
        features = embeddings_of(
            workspace, blobs, bundled_embedder(images, workspace.profile), [items[row] for row in judged], progress
        )
        index = {name: number for number, name in enumerate(taxonomy.names)}
        labels = np.array([index[label] for label in images["label"].iloc[judged]], dtype=np.int64)
        groups = {
            i: (g if isinstance(g, str) else None) for i, g in zip(images["image_id"], images["group"], strict=True)
        }
        pairs = near_duplicates_frame(ledger)
        bound = pairs[pairs["binding"]]
        component_of = components(groups, zip(bound["image_a"], bound["image_b"], strict=True))
        parts = [component_of[one] for one in images["image_id"].iloc[judged]]
        out[judged] = out_of_fold_probabilities(features, labels, parts, len(taxonomy.names), seed=seed)
    rest = np.flatnonzero(wanted & ~usable)
    if model is not None and len(rest):
        places = embeddings_of(workspace, blobs, model.embedder, [items[row] for row in rest], progress)
        out[rest] = model.probabilities(places) @ model.shares(taxonomy)
    return out
