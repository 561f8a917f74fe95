"""Cascades that compete under a target: each student that was made answers first, the champion what it leaves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from data_contracts.errors import BadInput, Refused
from data_contracts.progress import Progress
from domain_models.cascade import FIRST_FOLDER
from domain_models.model_card import CARD_FILE, ONNX_FILE, WEIGHTS_FILE, ModelCard, read_card
from domain_models.runtimes import Runtime
from domain_models.tracking.artifacts import digest
from pipelines.steps.candidate import name_candidate, register_candidate, registered_version
from pipelines.steps.cascade_members import Member
from pipelines.steps.cascade_package import Pair, cascade_card, cascade_key, first_named, matched, write_package
from pipelines.steps.compress_candidates import Asked, Candidate
from pipelines.steps.compress_deployables import Deployable, as_packaged
from pipelines.steps.compress_subject import Subject

FAMILY = "cascade"


def cascades(subject: Subject, asked: Asked) -> list[Candidate]:
    """One candidate, which makes a cascade of every student there is by then; none of them is a training."""

    def make(made: Sequence[Deployable], left_out: dict[str, str], progress: Progress) -> list[Deployable]:
        found = []
        for student in made:
            if student.family != "student" or student.artefact is not None:
                continue
            name = f"{student.name.rpartition(',')[0]} before the champion, within {asked.max_loss:g} points"
            try:
                found.append(_cascade(subject, name, student, asked.max_loss, progress))
            except (BadInput, Refused) as reason:
                left_out[name] = reason.what
        return found

    return [Candidate(f"cascades within {asked.max_loss:g} points", False, make)]


def _cascade(subject: Subject, name: str, student: Deployable, max_loss: float, progress: Progress) -> Deployable:
    large = Member(subject.version, subject.package, subject.sha256, subject.card)
    first = Member("", student.package, digest(student.package), read_card(student.package))
    key = cascade_key(subject.workspace, large, first, max_loss)
    place = subject.workspace.runs / key / "unnamed"
    refused = place.with_name("refused.txt")
    if refused.is_file():
        raise Refused(refused.read_text(encoding="utf-8"))
    if not (place / CARD_FILE).is_file():
        pair = matched(subject.workspace, large, first, progress)
        card = _card(subject, pair, max_loss, refused, progress)
        write_package(place, large, first, card)
    card = read_card(place)

    def register(progress: Progress) -> str:
        """The student becomes a version too: the cascade's card names it."""
        assert student.register is not None
        small = student.register(progress)
        version = registered_version(subject.workspace, key)
        if version is None:
            whole = write_package(place.with_name("package"), large, first, first_named(card, small))
            version = register_candidate(subject.workspace, whole, key, progress)
        name_candidate(subject.workspace, version, key, reused=False, seconds=0.0)
        return version

    return as_packaged(subject, name, FAMILY, place, _bytes(subject.runtime, place), register)


def _card(subject: Subject, pair: Pair, max_loss: float, refused: Path, progress: Progress) -> ModelCard:
    try:
        return cascade_card(subject.workspace, pair, max_loss / 100, subject.runtime, progress)
    except Refused as reason:
        refused.parent.mkdir(parents=True, exist_ok=True)
        refused.write_text(reason.what, encoding="utf-8")
        raise


def _bytes(runtime: Runtime, package: Path) -> int:
    """Size of both networks' files, as that runtime reads them."""
    name = WEIGHTS_FILE if runtime is Runtime.TORCH else ONNX_FILE
    return sum((folder / name).stat().st_size for folder in (package, package / FIRST_FOLDER))
