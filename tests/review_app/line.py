"""A line with images, labels, display copies and a queue, made without any model: what the app's tests work on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from data_contracts.display import DisplayCopies
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.images import add_images
from data_contracts.ledger.roots import register_root
from data_contracts.ledger.taxonomies import save_taxonomy
from data_contracts.pixels import Pixels
from data_contracts.profile import shipped_profile_text
from data_contracts.records import ImageRecord, Occurrence
from data_contracts.review import roles
from data_contracts.review.decide import decide
from data_contracts.review.records import Answer, NewTask, TaskEvidence
from data_contracts.review.serving import serve
from data_contracts.review.tasks import add_round
from data_contracts.taxonomy import Taxonomy, TaxonomyClass
from data_contracts.vocabulary import Action, Role
from data_contracts.workspace import Workspace

CLASSES = {
    "good": "No defect, or only what the drawing allows.",
    "scratch": "A thin, straight or curved line, brighter than the surface around it.",
    "pit": "A round hole, darker inside.",
    "crack": "A jagged dark line with branches.",
}


def make_site(folder: Path, *, extra_profile: str = "") -> Workspace:
    """A workspace with four classes and nothing to do yet."""
    folder.mkdir(parents=True)
    text = shipped_profile_text("generic")
    (folder / "tailsight.yaml").write_text(text + extra_profile, encoding="utf-8")
    workspace = Workspace(folder)
    with Ledger.open(workspace) as ledger:
        classes = tuple(TaxonomyClass(name=name, description=meaning) for name, meaning in CLASSES.items())
        save_taxonomy(ledger, Taxonomy(version=1, classes=classes), "engineer", "first classes")
    return workspace


def picture_of(number: int, kind: str, *, size: int = 320, deep: bool = False) -> Pixels:
    """A brushed surface with what ``kind`` names on it: [size, size, 1], uint8, or uint16 with 12 of 16 bits used."""
    chance = np.random.default_rng(number)
    grain = cv2.GaussianBlur(chance.normal(0, 1, (size, size)), (0, 0), sigmaX=9, sigmaY=0.6)
    surface = 0.55 + 0.35 * grain + np.linspace(-0.08, 0.08, size)[:, None]
    x, y = (int(value) for value in chance.integers(size // 4, 3 * size // 4, 2))
    if kind == "scratch":
        end = (int(x + size * chance.uniform(0.2, 0.4)), int(y - size * chance.uniform(-0.3, 0.3)))
        cv2.line(surface, (x - size // 6, y), end, 0.95, max(1, size // 160), cv2.LINE_AA)
    elif kind == "pit":
        cv2.circle(surface, (x, y), size // 18, 0.12, -1, cv2.LINE_AA)
        cv2.circle(surface, (x, y), size // 18, 0.75, max(1, size // 200), cv2.LINE_AA)
    elif kind == "crack":
        steps = chance.normal(0, size / 40, (24, 2)) + np.array([size / 60, size / 90])
        points = np.cumsum(steps, axis=0) + np.array([x / 2, y / 2])
        cv2.polylines(surface, [points.astype(np.int32)], False, 0.08, max(1, size // 130), cv2.LINE_AA)
    clipped = np.clip(surface, 0, 1)[..., None]
    return (clipped * 4095).astype(np.uint16) if deep else (clipped * 255).astype(np.uint8)


def add_pictures(
    workspace: Workspace, count: int, *, size: int = 320, start: int = 0, deep: bool = False, group: int = 0
) -> list[str]:
    """Images in turn of each class, with display copies; ``group`` images at a time are one part. Returns their ids."""
    copies = DisplayCopies(workspace)
    ids, records, places = [], [], []
    with Ledger.open(workspace) as ledger:
        root = register_root(ledger, workspace.folder)
        for number in range(start, start + count):
            kind = list(CLASSES)[number % len(CLASSES)]
            image_id = hashlib.sha256(f"picture {number} {deep}".encode()).hexdigest()
            array = picture_of(number, kind, size=size, deep=deep)
            copies.write_copies(image_id, array, display_of=f"{root}/line/part-{number:05d}.png")
            part = {"group": f"part-{number // group}"} if group else {}
            records.append(_record(image_id, f"{root}/line/part-{number:05d}.png", number, size, deep, part))
            places.append(_place(image_id, root, number))
            ids.append(image_id)
        add_images(ledger, records, places, "monday")
    return ids


def add_overlays(workspace: Workspace, ids: Sequence[str]) -> None:
    """Some evidence for each image, in the middle."""
    copies = DisplayCopies(workspace)
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    heat = np.exp(-4 * (x**2 + y**2)).astype(np.float32)
    for image_id in ids:
        copies.write_overlay(image_id, heat, model_version="3", class_name="scratch")


def simple_task(image_id: str, number: int, **fields: object) -> NewTask:
    """A task of an image that the model would call by turns good, scratch, pit, crack."""
    names = list(CLASSES)
    predicted, other = names[number % 4], names[(number + 1) % 4]
    share = 0.62 - 0.03 * (number % 7)
    settings: dict[str, object] = {
        "subject_id": image_id,
        "reason": "low_confidence",
        "priority": 1000.0 - number,
        "predicted": predicted,
        "confidence": share,
        "evidence": TaskEvidence(top=((predicted, share), (other, 0.9 - share), (names[(number + 2) % 4], 0.1))),
    }
    return NewTask.model_validate(settings | fields)


def add_tasks(workspace: Workspace, tasks: Sequence[NewTask], *, round_id: str = "round-1") -> None:
    """Put tasks into the queue."""
    with Ledger.open(workspace) as ledger:
        add_round(ledger, tasks, round_id=round_id, model_version="3", strategy="margin", budget=None, seed=0)


def add_queue(workspace: Workspace, count: int, *, size: int = 320) -> list[str]:
    """Images and one simple task for each, in the order of the images."""
    ids = add_pictures(workspace, count, size=size)
    add_tasks(workspace, [simple_task(image_id, number) for number, image_id in enumerate(ids)])
    return ids


def _record(image_id: str, uri: str, number: int, size: int, deep: bool, part: dict[str, str]) -> ImageRecord:
    return ImageRecord(
        image_id=image_id,
        uri=uri,
        width=size,
        height=size,
        mode="I;16" if deep else "L",
        bit_depth=16 if deep else 8,
        format="PNG",
        size_bytes=size * size,
        perceptual_hash=-(2**63) + number,
        **part,
    )


def _place(image_id: str, root: str, number: int) -> Occurrence:
    return Occurrence(
        image_id=image_id,
        root_id=root,
        path=f"line/part-{number:05d}.png",
        size_bytes=1,
        modified_ns=1_700_000_000_123_456_789,
        external_ids={"serial": f"SN-{number:05d}"},
    )


def add_disagreement(workspace: Workspace) -> None:
    """One picture that Ann calls a pit and Ben a crack, both blind; Lea is the lead, Adi an adjudicator."""
    (image,) = add_pictures(workspace, 1)
    add_tasks(workspace, [simple_task(image, 0, readings_required=2, blind=True)])
    with Ledger.open(workspace) as ledger:
        roles.sign_in(ledger, "Lea")
        for who, label in (("Ann", "pit"), ("Ben", "crack")):
            (task,) = serve(ledger, who)
            decide(ledger, who, Answer(task_id=task.task_id, request_id=who, action=Action.LABEL, label=label))
        roles.set_role(ledger, "Adi", Role.ADJUDICATOR, by="Lea")
