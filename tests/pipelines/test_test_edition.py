"""The test set grows with the data, by chance alone: audits and what was set aside, never what somebody selected."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.events import append_events
from data_contracts.ledger.images import add_images
from data_contracts.ledger.roots import register_root
from data_contracts.ledger.taxonomies import current_taxonomy, save_taxonomy
from data_contracts.profile import shipped_profile_text
from data_contracts.records import ImageRecord, NewLabelEvent, Occurrence
from data_contracts.review.records import NewTask
from data_contracts.review.tasks import add_round
from data_contracts.set_aside import is_set_aside
from data_contracts.taxonomy import Taxonomy
from data_contracts.vocabulary import Action, Purpose, ReviewReason, Source, SubjectKind
from data_contracts.workspace import Workspace
from pipelines.steps.curate import CurateReport, curate
from pipelines.steps.dataset import load_dataset
from pipelines.steps.promote import PromoteRequest, promote
from tests.pipelines.commands import done


@dataclass(frozen=True)
class Arrival:
    """One part with its images, and how they came by their label (``None``: they have none yet)."""

    name: str
    views: int
    label: str
    by: str | None  # "file", "audit", "selected", "audit and selected"


def arrive(ledger: Ledger, folder: Path, parts: list[Arrival], number: int) -> None:
    """Images of a delivery (rows of the ledger; curating reads no file), tasks about them and the answers."""
    if not current_taxonomy(ledger).names:
        save_taxonomy(ledger, Taxonomy().extended(["a", "b", "new"]), "tester", "three classes")
    root = register_root(ledger, folder)
    images, places, tasks, events = [], [], [], []
    for part in parts:
        for view in range(part.views):
            name = f"{part.name}-{view}"
            image_id = hashlib.sha256(name.encode()).hexdigest()
            facts = {"width": 99, "height": 99, "mode": "L", "bit_depth": 8, "format": "PNG", "size_bytes": 1}
            record = {"image_id": image_id, "uri": f"{root}/{name}.png", "perceptual_hash": 0, "group": part.name}
            images.append(ImageRecord.model_validate({**facts, **record}))
            places.append(Occurrence(image_id=image_id, root_id=root, path=f"{name}.png", size_bytes=1, modified_ns=1))
            imported = part.by == "file"
            if part.by is not None:
                events.append(
                    NewLabelEvent(
                        who="file" if imported else "ann",
                        subject_id=image_id,
                        action=Action.IMPORT if imported else Action.LABEL,
                        label=part.label,
                        source=Source.IMPORT if imported else Source.READER,
                    )
                )
        for kind in ("audit", "selected"):
            if part.by is not None and kind in part.by:
                audit = kind == "audit"
                tasks.append(
                    (
                        kind,
                        NewTask(
                            subject_kind=SubjectKind.GROUP if audit else SubjectKind.IMAGE,
                            subject_id=part.name if audit else images[-1].image_id,
                            reason=(ReviewReason.RANDOM_AUDIT if audit else ReviewReason.LOW_CONFIDENCE).value,
                            purpose=Purpose.AUDIT if audit else Purpose.REVIEW,
                            priority=0.5,
                        ),
                    )
                )
    add_images(ledger, images, places, f"delivery {number}")
    for kind in ("audit", "selected"):
        of_kind = [task for one, task in tasks if one == kind]
        settings_of_round = {"model_version": None, "strategy": "margin", "budget": None, "seed": 0}
        add_round(ledger, of_kind, round_id=f"{number} {kind}", **settings_of_round)  # type: ignore[arg-type]
    append_events(ledger, events)


def splits(workspace: Workspace) -> dict[str, str]:
    """Split of every part with a label."""
    _, manifest = load_dataset(workspace)
    used = manifest[manifest["split"] != "pool"]
    assert used.groupby("group")["split"].nunique().max() == 1
    return dict(zip(used["group"], used["split"], strict=True))


PART = st.tuples(
    st.integers(1, 3), st.sampled_from("ab"), st.sampled_from(["file", "audit", "selected", "audit and selected", None])
)


@given(st.lists(st.lists(PART, min_size=1, max_size=30), min_size=1, max_size=2), st.integers(0, 10**6))
@settings(max_examples=4, phases=(Phase.explicit, Phase.generate))  # making a failure smaller would take minutes
def test_the_test_set_grows_by_chance_alone_and_by_all_that_chance_has_drawn(
    deliveries: list[list[tuple[int, str, str | None]]], salt: int
) -> None:
    first = [Arrival(f"{salt} first {n}", 1, "ab"[n % 2], "file") for n in range(40)]
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder) / "site")
        workspace.folder.mkdir()
        workspace.profile_path.write_text(shipped_profile_text("generic"), encoding="utf-8")
        with Ledger.open(workspace) as ledger:
            arrive(ledger, Path(folder), first, 0)
            edition = curate(workspace).test_edition
            held = splits(workspace)
            for number, delivery in enumerate(deliveries, start=1):
                parts = [Arrival(f"{salt} {number} {n}", *facts) for n, facts in enumerate(delivery)]
                arrive(ledger, Path(folder), parts, number)
                report = curate(workspace)
                now = splits(workspace)
                assert {name: now[name] for name in held} == held, "a known part keeps its split for ever"
                for part in parts:
                    assert (part.name in now) == (part.by is not None)
                    if part.by is None:
                        continue
                    if "audit" in part.by:
                        assert now[part.name] == "test"
                    elif part.by == "selected":
                        assert now[part.name] == "train"
                    else:
                        assert (now[part.name] == "test") == is_set_aside(part.name)
                grown = "test" in {now[part.name] for part in parts if part.name in now}
                assert report.test_edition == edition + grown
                assert curate(workspace).dataset_version == report.dataset_version
                held, edition = now, report.test_edition


def names(set_aside: bool, count: int, stem: str) -> list[str]:
    found = (f"{stem} {n}" for n in range(10_000))
    return [name for name, _ in zip((n for n in found if is_set_aside(n) == set_aside), range(count), strict=False)]


@pytest.fixture
def started(workspace: Workspace, tmp_path: Path) -> Workspace:
    """A workspace with a first data set of forty parts."""
    with Ledger.open(workspace) as ledger:
        arrive(ledger, tmp_path, [Arrival(f"first {n}", 1, "ab"[n % 2], "file") for n in range(40)], 0)
    curate(workspace)
    return workspace


def delivered(workspace: Workspace, folder: Path, parts: list[Arrival]) -> tuple[CurateReport, pd.Series]:
    with Ledger.open(workspace) as ledger:
        arrive(ledger, folder, parts, 1)
    report = curate(workspace)
    return report, pd.Series(splits(workspace))


def test_a_class_that_the_test_set_lacks_is_split_as_a_first_data_set_is(started: Workspace, tmp_path: Path) -> None:
    parts = [Arrival(name, 1, "new", "file") for name in names(False, 20, "fresh")]
    _, split = delivered(started, tmp_path, parts)
    assert split[[part.name for part in parts]].value_counts().to_dict() == {"train": 14, "val": 4, "test": 2}


def test_what_waits_for_a_person_and_was_not_drawn_trains_though_it_was_set_aside(
    started: Workspace, tmp_path: Path
) -> None:
    """Of what is set aside the model picks the doubtful ones; a test set of these would be no fair sample."""
    parts = [Arrival(name, 2, "a", "selected") for name in names(True, 3, "doubtful")]
    report, split = delivered(started, tmp_path, parts)
    assert set(split[[part.name for part in parts]]) == {"train"}
    assert report.test_edition == 1


def test_a_split_that_was_given_stays_whatever_chance_says(started: Workspace, tmp_path: Path) -> None:
    """Also of parts that an audit draws later: what was trained on is never tested on."""
    with Ledger.open(started) as ledger:
        audit = NewTask(
            subject_kind=SubjectKind.GROUP,
            subject_id="first 0",
            reason="random_audit",
            purpose=Purpose.AUDIT,
            priority=1,
        )
        others = [audit.model_copy(update={"subject_id": f"first {n}"}) for n in range(1, 40)]
        add_round(ledger, [audit, *others], round_id="late", model_version=None, strategy=None, budget=None, seed=0)
    before = splits(started)
    curate(started)
    assert splits(started) == before


def test_audits_of_a_cold_start_are_tested_on_and_the_rest_still_has_three_parts(
    workspace: Workspace, tmp_path: Path
) -> None:
    parts = [Arrival(f"audited {n}", 1, "ab"[n % 2], "audit") for n in range(4)]
    parts += [Arrival(f"typical {n}", 1, "ab"[n % 2], "selected") for n in range(40)]
    _, split = delivered(workspace, tmp_path, parts)
    assert set(split[[f"audited {n}" for n in range(4)]]) == {"test"}
    assert set(split[[f"typical {n}" for n in range(40)]]) >= {"train", "val"}


@pytest.mark.slow
def test_the_gate_compares_both_models_on_the_newest_edition(challenged: Path, new_images: Path) -> None:
    """Also the champion, which was promoted on the edition before."""
    workspace = Workspace(challenged)
    _, before = load_dataset(workspace)
    done(challenged, "ingest", str(new_images))
    assert curate(workspace).test_edition == 2
    record, manifest = load_dataset(workspace)
    tested = manifest.loc[manifest["split"] == "test", "image_id"]
    assert set(tested) > set(before.loc[before["split"] == "test", "image_id"])
    request = PromoteRequest(version="2", who="lead", why="to see the gate look", override=True)
    assert promote(workspace, request).dataset_version == record.dataset_version
    for version in ("1", "2"):
        path = workspace.cache / "predictions" / f"{version}-{record.dataset_version}-test.parquet"
        assert set(pd.read_parquet(path)["image_id"]) == set(tested)
