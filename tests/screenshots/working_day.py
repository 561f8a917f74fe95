"""A working day on the demo's workspace, so that every screen of the review app has something real to show.

Images, model, queue and what the experts said of each image are the demo's. On top of them a lead answers part of the
queue, two readers read some images on their own, the model learns from all of it, and the gate is asked. Everything
goes through the code that the app and the command line use; only the people are made up.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from data_contracts.display import DisplayCopies
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.images import occurrences_frame
from data_contracts.progress import Progress
from data_contracts.review import roles, tasks
from data_contracts.review.decide import decide
from data_contracts.review.records import Answer, NewTask, ReviewTask
from data_contracts.vocabulary import Action, Certainty, Purpose, ReviewReason, Role, TaskState
from data_contracts.workspace import Workspace
from domain_models.retraining_choice import Mode
from pipelines.demo_images import GRADES, installed_images
from pipelines.demo_rounds import READER as DEMO_INSPECTOR
from pipelines.steps.ledger import open_ledger
from pipelines.steps.retrain import RetrainRequest, retrain
from pipelines.steps.settle import settle

LEAD = "Lena Fischer"
READERS = ("Ines Moreau", "Tomas Berg")
WHY = "labels corrected this morning"

SEED = 11
ANSWERED_BY_THE_LEAD = 30
READ_TWICE = 48
SLIP = 0.06
"""Share of answers of each person that are one grade off, as between two experts on these images."""

_CLASSES = tuple(GRADES.values())


def truth_of(workspace: Workspace) -> dict[str, str]:
    """What the experts said of each demo image that the ledger knows, by image id."""
    grades = {path.name: grade for path, (grade, _) in installed_images().items()}
    with open_ledger(workspace) as ledger:
        places = occurrences_frame(ledger)
    found = zip(places["image_id"], places["path"].map(lambda path: Path(path).name), strict=True)
    return {str(image_id): grades[name] for image_id, name in found if name in grades}


def live_through(workspace: Workspace, truth: Mapping[str, str], progress: Progress) -> None:
    """Let the day happen: people, answers, double readings, a retraining, and the gate's request to the lead.

    Args:
        workspace: a copy of the demo's, with its last queue waiting.
        truth: class by image id, as the experts said it.
        progress: told of each step.
    """
    _ask_little_of_the_next_model(workspace)
    clock = _Clock(datetime.now(UTC) - timedelta(minutes=20))
    with open_ledger(workspace) as ledger:
        roles.set_role(ledger, LEAD, Role.LEAD, by=DEMO_INSPECTOR)
        for reader in READERS:
            roles.sign_in(ledger, reader)
        _answer_part_of_the_queue(ledger, truth, clock)
        _read_twice(ledger, DisplayCopies(workspace), truth, clock)
    learned = retrain(workspace, RetrainRequest(mode=Mode.INCREMENTAL.value), progress)
    settle(workspace, learned.model_version, WHY, progress)


def _ask_little_of_the_next_model(workspace: Workspace) -> None:
    """On so few test images no small change can be shown to be harmless, and Progress would show no request."""
    path = workspace.folder / "tailsight.yaml"
    text = path.read_text(encoding="utf-8")
    asked = "macro_f1_margin: -0.02"
    if asked not in text:
        raise AssertionError(f"{path} does not say {asked!r}")
    path.write_text(text.replace(asked, "macro_f1_margin: -0.15"), encoding="utf-8")


class _Clock:
    """When somebody said something: nobody answers twice in the same second."""

    def __init__(self, start: datetime) -> None:
        self.now = start
        self._chance = random.Random(SEED)

    def next(self) -> float:
        """Let one answer's time pass; returns the seconds."""
        seconds = round(self._chance.uniform(3.5, 11.0), 1)
        self.now += timedelta(seconds=seconds)
        return seconds


def _answer_part_of_the_queue(ledger: Ledger, truth: Mapping[str, str], clock: _Clock) -> None:
    """The lead answers the labels in doubt, and as many others as make up the number."""
    waiting = [tasks.task(ledger, task_id) for task_id in tasks.tasks_frame(ledger, [TaskState.OPEN])["task_id"]]
    doubted = {ReviewReason.SUSPECT_LABEL, ReviewReason.CONFLICT}
    waiting.sort(key=lambda task: (task.reason.partition(":")[0] not in doubted, task.priority, task.task_id))
    shown = [task for task in waiting if not task.blind]
    chance = random.Random(SEED)
    for task in shown[:ANSWERED_BY_THE_LEAD]:
        _say(ledger, LEAD, task, _reading(truth[task.image_ids[0]], chance), clock)


def _read_twice(ledger: Ledger, copies: DisplayCopies, truth: Mapping[str, str], clock: _Clock) -> None:
    """A study: images that were labelled before are read by two people on their own; some readings differ."""
    known = sorted(set(tasks.tasks_frame(ledger, [TaskState.CLOSED])["subject_id"]))
    subjects = [image_id for image_id in known if image_id in truth and copies.has(image_id)][:READ_TWICE]
    study = [
        NewTask(
            subject_id=image_id,
            purpose=Purpose.STUDY,
            reason=ReviewReason.RANDOM_AUDIT.value,
            readings_required=2,
            priority=float(place),
        )
        for place, image_id in enumerate(subjects)
    ]
    name = "two-readers"
    tasks.add_round(ledger, study, round_id=name, model_version=None, strategy=None, budget=None, seed=SEED)
    frame = tasks.tasks_frame(ledger)
    ids = frame.loc[frame["round"] == name, "task_id"]
    for number, reader in enumerate(READERS):
        chance = random.Random(SEED + 1 + number)
        for task in (tasks.task(ledger, task_id) for task_id in ids):
            _say(ledger, reader, task, _reading(truth[task.image_ids[0]], chance), clock)


def _reading(true: str, chance: random.Random) -> str:
    """What somebody reads in an image: now and then the grade beside the true one."""
    place = _CLASSES.index(true)
    beside = [_CLASSES[other] for other in (place - 1, place + 1) if 0 <= other < len(_CLASSES)]
    return chance.choice(beside) if chance.random() < SLIP else true


def _say(ledger: Ledger, who: str, task: ReviewTask, label: str, clock: _Clock) -> None:
    seconds = clock.next()
    agrees = not task.blind and label == task.predicted
    decide(
        ledger,
        who,
        Answer(
            task_id=task.task_id,
            request_id=f"{who}/{task.task_id}",
            action=Action.CONFIRM if agrees else Action.LABEL,
            label=label,
            certainty=None if label in (_CLASSES[0], _CLASSES[-1]) else Certainty.LIKELY,
            seconds_spent=seconds,
            model_shown=not task.blind,
        ),
        now=clock.now,
    )
