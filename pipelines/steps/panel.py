"""What several readers together say of the images that they read independently, held against the labels that hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_contracts.vocabulary import Source, SubjectKind
from domain_models.reader_panel import UNANSWERED, ReaderQuality, consensus_of

FEWEST = 10
"""Under so many images with several answers nothing is said of readers, nor of what they say together."""

_SUBJECT = ["subject_kind", "subject_id"]


@dataclass(frozen=True)
class Panel:
    """What a panel says.

    Attributes:
        subjects: ``subject_kind, subject_id, answers`` (how many), ``consensus, quality, agreement``.
        images: of each image of a subject that has a label: ``image_id, consensus, quality, agreement, answers, label,
            contradicted`` (the label that holds is another one, and nobody has settled that since).
        readers: quality by name.
    """

    subjects: pd.DataFrame
    images: pd.DataFrame
    readers: dict[str, ReaderQuality]


def judge_panel(
    answers: pd.DataFrame,
    images: pd.DataFrame,
    probabilities: NDArray[np.float64],
    classes: Sequence[str],
    *,
    intervals: bool,
    seed: int,
) -> Panel | None:
    """Consensus and readers' quality; ``None`` where there is too little to judge by.

    Args:
        answers: of :func:`~data_contracts.review.panel.independent_answers`.
        images: one row per image, with ``image_id, group, label, source, at, event_id`` (of the label that holds).
        probabilities: float64 [len(images), k], of models that never saw the image's label; NaN where nothing is known.
        classes: k names.
        intervals: whether readers get an interval.
        seed: of ties and intervals.
    """
    index = {name: number for number, name in enumerate(classes)}
    rows_of = _rows_of_subjects(images)
    known = [subject in rows_of for subject in zip(answers["subject_kind"], answers["subject_id"], strict=True)]
    answers = answers[np.asarray(known, dtype=bool) & answers["label"].isin(index).to_numpy()]
    table = answers.assign(code=answers["label"].map(index)).pivot(index=_SUBJECT, columns="who", values="code")
    table = table[table.notna().sum(axis=1) >= 2].dropna(axis=1, how="all")
    if len(table) < FEWEST or len(classes) < 2:
        return None
    said = np.stack([_mean(probabilities[rows_of[subject]]) for subject in table.index])
    found = consensus_of(table.fillna(UNANSWERED).to_numpy(dtype=np.int64), said, intervals=intervals, seed=seed)
    subjects = table.index.to_frame(index=False).assign(
        answers=table.notna().sum(axis=1).to_numpy(),
        consensus=[classes[code] for code in found.labels],
        quality=found.quality,
        agreement=found.agreement,
    )
    readers = dict(zip((str(name) for name in table.columns), found.readers, strict=True))
    return Panel(subjects, _by_image(subjects, answers, images, rows_of), readers)


def contradicted_images(panel: Panel | None) -> set[str]:
    """Images whose label is not what their readers say together, and nobody has settled that since."""
    return set() if panel is None else set(panel.images.loc[panel.images["contradicted"], "image_id"])


def _rows_of_subjects(images: pd.DataFrame) -> Mapping[tuple[str, str], NDArray[np.int64]]:
    rows = {(SubjectKind.IMAGE.value, str(one)): np.array([row]) for row, one in enumerate(images["image_id"])}
    grouped = images["group"].dropna().reset_index(drop=True) if images.empty else images.reset_index(drop=True)
    groups = {} if images.empty else grouped.groupby("group").indices
    return rows | {(SubjectKind.GROUP.value, str(name)): np.asarray(at) for name, at in groups.items()}


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of the images of a subject of which something is known; NaN where there is none."""
    known = values[np.isfinite(values).all(axis=1)]
    out: NDArray[np.float64] = known.mean(axis=0) if len(known) else np.full(values.shape[1], np.nan)
    return out


def _by_image(
    subjects: pd.DataFrame,
    answers: pd.DataFrame,
    images: pd.DataFrame,
    rows_of: Mapping[tuple[str, str], NDArray[np.int64]],
) -> pd.DataFrame:
    of_subject = dict(iter(answers.groupby(_SUBJECT)))
    rows = []
    for one in subjects.itertuples():
        key = (str(one.subject_kind), str(one.subject_id))
        for row in rows_of[key]:
            image = images.iloc[int(row)]
            if isinstance(image["label"], str):
                against = _contradicts(str(one.consensus), of_subject[key], image)
                facts = (one.consensus, one.quality, one.agreement, one.answers)
                rows.append((image["image_id"], *facts, image["label"], against))
    names = ["image_id", "consensus", "quality", "agreement", "answers", "label", "contradicted"]
    return pd.DataFrame(rows, columns=names).astype({"contradicted": bool})


def _contradicts(consensus: str, answers: pd.DataFrame, image: pd.Series) -> bool:
    """Whether a person should look again at the label that holds.

    Not if it is the consensus, nor if nobody has said the consensus (then it is the model's doubt, not the readers').
    What an adjudicator or a reference has said is settled; so is what a reader said later than everybody who says the
    consensus, in sight of what there was or together with a second one. The order of imported rows means nothing.
    """
    agree = answers[answers["label"] == consensus]
    if image["label"] == consensus or agree.empty:
        return False
    if image["source"] == Source.IMPORT.value:
        return True
    if image["source"] != Source.READER.value:
        return False
    last = agree["at"].max()
    if image["at"] <= last:
        return True
    independent = image["event_id"] in set(answers["event_id"])
    return independent and int(((answers["label"] == image["label"]) & (answers["at"] > last)).sum()) < 2
