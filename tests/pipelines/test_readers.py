"""Several readers of the same images: who is told what of whom, and which labels are asked about again."""

from __future__ import annotations

import csv
import functools
import io
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from data_contracts.ledger.fold import image_labels
from data_contracts.ledger.images import images_frame
from data_contracts.review import choices, roles
from data_contracts.review.tasks import tasks_frame
from data_contracts.vocabulary import Role
from data_contracts.workspace import Workspace
from pipelines.command_line.summaries_labels import summarise_readers
from pipelines.steps import readers
from pipelines.steps.labels import import_labels
from pipelines.steps.ledger import open_ledger
from pipelines.steps.panel import FEWEST, contradicted_images, judge_panel
from pipelines.steps.queue import QueueRequest, build_queue
from pipelines.steps.readers import readers_report
from tests.pipelines.commands import CLASSES, done

AT = datetime(2026, 3, 1, tzinfo=UTC)
NAMES = ("pit", "crack")


def scene(
    extra: Sequence[tuple[str, str, int]], label: str, source: str, at: int, event: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Answers and images: a dozen unanimous images, and image ``x`` with answers ``extra`` (who, label, minute)."""
    rows = [(f"i{n}", who, NAMES[n % 2], 0) for n in range(12) for who in ("ann", "bob", "cy")]
    rows += [("x", *one) for one in extra]
    answers = pd.DataFrame(
        [("image", s, who, said, AT + timedelta(minutes=m), f"{s}-{who}") for s, who, said, m in rows],
        columns=["subject_kind", "subject_id", "who", "label", "at", "event_id"],
    )
    facts = [(f"i{n}", None, NAMES[n % 2], "import", AT, "e") for n in range(12)]
    facts.append(("x", None, label, source, AT + timedelta(minutes=at), event))
    return answers, pd.DataFrame(facts, columns=["image_id", "group", "label", "source", "at", "event_id"])


@pytest.mark.parametrize(
    ("extra", "label", "source", "at", "event", "again"),
    [
        # two of three reviewers in a file say otherwise than the row that happened to come last
        ([("ann", "pit", 0), ("bob", "pit", 1), ("cy", "crack", 2)], "crack", "import", 2, "x-cy", True),
        ([("ann", "pit", 0), ("bob", "pit", 1), ("cy", "crack", 2)], "pit", "import", 2, "x-bob", False),
        # an adjudicator has spoken
        ([("ann", "pit", 0), ("bob", "pit", 1), ("cy", "crack", 2)], "crack", "adjudication", 0, "e", False),
        # somebody looked at it later, knowing what there was
        ([("ann", "pit", 0), ("bob", "pit", 1), ("cy", "crack", 2)], "crack", "reader", 9, "e", False),
        # one blind reading later than the others is one voice against two
        ([("ann", "pit", 0), ("bob", "pit", 1), ("cy", "crack", 9)], "crack", "reader", 9, "x-cy", True),
        # two blind readings later settle it
        (
            [("ann", "pit", 0), ("bob", "pit", 1), ("eve", "pit", 1), ("cy", "crack", 9), ("dan", "crack", 9)],
            "crack",
            "reader",
            9,
            "x-dan",
            False,
        ),
    ],
)
def test_a_label_against_the_consensus_is_asked_about_until_it_is_settled(
    extra: list[tuple[str, str, int]], label: str, source: str, at: int, event: str, again: bool
) -> None:
    answers, images = scene(extra, label, source, at, event)
    said = np.full((13, 2), 0.5)
    panel = judge_panel(answers, images, said, NAMES, intervals=False, seed=0)
    assert panel is not None
    consensus = panel.images.set_index("image_id").loc["x", "consensus"]
    assert consensus == "pit"
    assert contradicted_images(panel) == ({"x"} if again else set())


def test_too_few_images_say_nothing_of_anybody() -> None:
    answers, images = scene([("ann", "pit", 0), ("bob", "pit", 0)], "crack", "import", 0, "e")
    few = answers[answers["subject_id"].isin({f"i{n}" for n in range(FEWEST - 1)})]
    assert judge_panel(few, images, np.full((13, 2), 0.5), NAMES, intervals=False, seed=0) is None


def test_a_group_is_judged_as_one_case() -> None:
    answers, images = scene([], "pit", "import", 0, "e")
    answers = answers.assign(subject_kind="group", subject_id="g" + answers["subject_id"])
    images = images[images["image_id"] != "x"].assign(group=lambda frame: "g" + frame["image_id"])
    images = pd.concat([images, images.assign(image_id="second " + images["image_id"])], ignore_index=True)
    said = np.full((24, 2), np.nan)
    panel = judge_panel(answers, images, said, NAMES, intervals=False, seed=0)
    assert panel is not None
    assert (len(panel.subjects), len(panel.images)) == (12, 24)
    assert not panel.images["contradicted"].any()


@pytest.fixture(scope="module")
def read_by_three(curated_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Thirty labelled images that ann, bob and cy read; cy errs in a third, ann and bob find two labels wrong."""
    folder = tmp_path_factory.mktemp("read")
    workspace = Workspace(Path(shutil.copytree(curated_workspace, folder / "workspace")))
    with open_ledger(workspace) as ledger:
        labels = image_labels(ledger).dropna(subset=["label"])
        splits = images_frame(ledger)[["image_id"]].merge(labels, on="image_id").head(60).iloc[::2]
    rows = []
    for number, (image_id, label) in enumerate(zip(splits["image_id"], splits["label"], strict=True)):
        other = CLASSES[(CLASSES.index(label) + 1) % len(CLASSES)]
        truth = other if number < 2 else label
        rows += [
            (image_id, truth, "ann"),
            (image_id, truth, "bob"),
            (image_id, other if number % 3 == 0 else label, "cy"),
        ]
    with (folder / "panel.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image_id", "label", "reviewer"])
        writer.writerows(rows)
    import_labels(workspace, folder / "panel.csv")
    with open_ledger(workspace) as ledger:
        roles.set_role(ledger, "lea", Role.LEAD, by="lea")
    return workspace


def test_figures_of_a_person_are_told_without_the_name_unless_a_lead_has_chosen_so(
    read_by_three: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(Path(shutil.copytree(read_by_three.folder, tmp_path / "workspace")))
    _without_a_model(monkeypatch)
    nobody, own, lead = (readers_report(workspace, asked_by=who) for who in (None, "cy", "lea"))
    assert nobody.judged
    assert (nobody.subjects, nobody.answers) == (30, 90)
    for report in (nobody, lead):
        assert [one.reader for one in report.readers] == ["reader 1", "reader 2", "reader 3"]
        assert all(one.answers is None and not one.named for one in report.readers)
    assert [(one.reader, one.named) for one in own.readers][-1] == ("cy", True), "and cy is the least reliable"
    assert (len(own.readers), own.withheld) == (3, 0)
    with open_ledger(workspace) as ledger:
        choices.choose(ledger, "lea", choices.PERSONAL_FIGURES, "leads")
    named, other = (readers_report(workspace, asked_by=who) for who in ("lea", "ann"))
    assert [one.reader for one in named.readers][-1] == "cy"
    assert {one.reader for one in named.readers} == {"ann", "bob", "cy"}
    assert [one.answers for one in named.readers] == [30, 30, 30]
    assert [one.quality for one in named.readers] == [one.quality for one in nobody.readers]
    assert not any(one.named for one in other.readers if one.reader != "ann")


def _without_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers alone, and no intervals: that is quick."""
    monkeypatch.setattr(
        readers, "_out_of_sample", lambda workspace, ledger, images, *rest: np.full((len(images), len(CLASSES)), np.nan)
    )
    quick = functools.partial(judge_panel, intervals=False)
    monkeypatch.setattr(readers, "judge_panel", lambda *words, intervals, seed: quick(*words, seed=seed))


def test_a_person_reads_their_own_figures_by_name(read_by_three: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    _without_a_model(monkeypatch)
    console = Console(file=io.StringIO(), width=200)
    summarise_readers(readers_report(read_by_three, asked_by="cy").model_dump(mode="json"), console)
    words = console.file.getvalue()
    assert "30 images or groups were read independently by at least two people, 20 of them unanimously." in words
    assert "cy: quality" in words
    assert "ann" not in words


@pytest.mark.slow
def test_the_command_tells_the_same_as_json(read_by_three: Workspace) -> None:
    report = done(read_by_three.folder, "labels", "readers")
    assert report["judged"]
    assert report["withheld"] == 0
    low, high = report["readers"][0]["quality_ci"]
    assert low <= report["readers"][0]["quality"] <= high


@pytest.mark.slow
def test_images_that_readers_see_otherwise_than_their_label_are_asked_about(
    read_by_three: Workspace, tmp_path: Path
) -> None:
    workspace = Workspace(Path(shutil.copytree(read_by_three.folder, tmp_path / "workspace")))
    expected = {one.image_id for one in readers_report(workspace).contradictions}
    assert expected, "rows of cy came last, and two others say otherwise"
    report = build_queue(workspace, QueueRequest(budget=40, strategy="conflicts"))
    assert report.by_reason.get("conflict", 0) > 0
    with open_ledger(workspace) as ledger:
        frame = tasks_frame(ledger)
        asked = set(frame.loc[frame["reason"] == "conflict", "subject_id"])
    assert len(asked & expected) >= 0.8 * len(expected), "the round's probabilities are not those of the command"
