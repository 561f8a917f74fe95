"""The simulated inspector answers like a person: through the review code, with a few errors, the same every time."""

from __future__ import annotations

from pathlib import Path

from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.events import events_frame
from data_contracts.ledger.fold import image_answers
from data_contracts.ledger.verify import verify_chain
from data_contracts.review.records import NewTask
from data_contracts.review.tasks import add_round, tasks_frame
from data_contracts.vocabulary import Source, TaskState
from data_contracts.workspace import Workspace
from pipelines.simulated_inspector import answer_queue

ACT = {"error_share": 0.1, "seed": 3, "seconds_per_image": 6.0}


def test_it_answers_everything_once_errs_as_often_as_told_and_goes_on_after_a_pause(curated: Path) -> None:
    with Ledger.open(Workspace(curated)) as ledger:
        known = image_answers(ledger)
        truth = {str(i): str(label) for i, label in zip(known["image_id"], known["label"], strict=True)}
        tasks = [NewTask(subject_id=i, reason="low_confidence", priority=0.1) for i in sorted(truth)]
        add_round(ledger, tasks, round_id="one", model_version=None, strategy="random", budget=None, seed=0)
        first = answer_queue(ledger, "ann", truth, most=50, **ACT)
        rest = answer_queue(ledger, "ann", truth, **ACT)
        assert (first.answered, rest.answered) == (50, len(truth) - 50)
        assert rest.by_reason == {"low_confidence": len(truth) - 50}
        assert answer_queue(ledger, "ann", truth, **ACT).answered == 0
        assert set(tasks_frame(ledger)["state"]) == {TaskState.CLOSED.value}
        events = events_frame(ledger)
        spoken = events[events["source"] == Source.READER.value]
        wrong = sum(truth[row.subject_id] != row.label for row in spoken.itertuples())
        assert wrong == first.wrong + rest.wrong
        assert 5 <= wrong <= 30  # of 150
        assert len(spoken) == len(truth)
        assert verify_chain(ledger).ok
