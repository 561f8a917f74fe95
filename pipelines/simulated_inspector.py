"""Somebody who answers the queue with the truth and errs now and then: for the demo and tests, never in production.

Answers go through :mod:`data_contracts.review`, the code that the app uses. What is answered to an image, right or
wrong, follows from the seed and the image, so a demo that was killed answers the same again.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from data_contracts.ledger.connect import Ledger
from data_contracts.review.decide import decide
from data_contracts.review.records import Answer, ReviewTask
from data_contracts.review.roles import sign_in
from data_contracts.review.serving import serve
from data_contracts.vocabulary import Action

AT_ONCE = 20


class Sitting(BaseModel):
    """What one sitting did: tasks answered, and how many of the answers were wrong on purpose."""

    model_config = ConfigDict(frozen=True)

    answered: int
    wrong: int
    by_reason: dict[str, int]


def answer_queue(
    ledger: Ledger,
    who: str,
    truth: Mapping[str, str],
    *,
    error_share: float,
    seed: int,
    seconds_per_image: float,
    most: int | None = None,
) -> Sitting:
    """Answer every task that this person is served, with the image's true class but for ``error_share`` of them.

    Args:
        ledger: with a queue.
        who: signs in, if they have not.
        truth: class by image id.
        error_share: share of wrong answers.
        seed: decides which are wrong, and how.
        seconds_per_image: said to have been spent on each.
        most: stop after so many answers; ``None``: when nothing is left.

    Raises:
        KeyError: the truth about an image is not known.
    """
    sign_in(ledger, who)
    classes = sorted(set(truth.values()))
    answered, wrong, reasons = 0, 0, dict[str, int]()
    while most is None or answered < most:
        tasks = serve(ledger, who, count=AT_ONCE if most is None else min(AT_ONCE, most - answered))
        if not tasks:
            break
        for task in tasks:
            label, erred = _said(task, truth, classes, error_share, seed)
            decide(
                ledger,
                who,
                Answer(
                    task_id=task.task_id,
                    request_id=f"{who}/{task.task_id}",
                    action=Action.LABEL,
                    label=label,
                    seconds_spent=seconds_per_image,
                ),
            )
            answered, wrong = answered + 1, wrong + erred
            reason = task.reason.partition(":")[0]
            reasons[reason] = reasons.get(reason, 0) + 1
    return Sitting(answered=answered, wrong=wrong, by_reason=dict(sorted(reasons.items())))


def _said(
    task: ReviewTask, truth: Mapping[str, str], classes: list[str], error_share: float, seed: int
) -> tuple[str, bool]:
    true = truth[task.image_ids[0]]
    chance = random.Random(f"{seed}/{task.subject_id}")  # noqa: S311 (an act, not a secret)
    if chance.random() >= error_share:
        return true, False
    return chance.choice([name for name in classes if name != true]), True
