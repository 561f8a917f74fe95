"""The benchmark data sets, where they are at hand, come in with the counts that are known of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_contracts.workspace import Workspace
from pipelines.steps.curate import curate
from pipelines.steps.dataset import load_dataset
from tests.pipelines.picture_files import take_in


@pytest.mark.data
@pytest.mark.slow
def test_ten_thousand_dermatoscopic_images_come_in_once_and_no_lesion_is_split(
    benchmark_data: Path, workspace: Workspace
) -> None:
    images = benchmark_data / "ham10000-200x150"
    first = take_in(workspace, images, images / "labels.csv", group_column="lesion_id")
    assert first.added + first.duplicates == 10_015
    assert (first.quarantined, first.label_errors, first.unlabelled) == ([], [], 0)
    again = take_in(workspace, images, images / "labels.csv", group_column="lesion_id")
    assert (again.added, again.already_known) == (0, first.added)
    assert curate(workspace).leaks_found == 0
    _, manifest = load_dataset(workspace)
    assert manifest.groupby("group")["split"].nunique().max() == 1


@pytest.mark.data
@pytest.mark.slow
def test_infrared_modules_have_their_known_duplicates_and_conflicts(benchmark_data: Path, workspace: Workspace) -> None:
    images = benchmark_data / "infrared-solar-modules"
    report = take_in(workspace, images, images / "labels.csv")
    assert (report.added, report.duplicates, report.conflicts) == (19_978, 22, 6)
    assert curate(workspace).conflicts == 6


@pytest.mark.data
def test_steel_strip_class_folders_come_in_whole(benchmark_data: Path, workspace: Workspace) -> None:
    report = take_in(workspace, benchmark_data / "x-sdd" / "images")
    assert (report.added + report.duplicates, report.quarantined, report.label_errors) == (1_360, [], [])
    found = curate(workspace)
    assert found.leaks_found == 0
    telling = {(one.attribute, value.value, value.label) for one in found.shortcuts for value in one.telling}
    assert ("file format", "PNG", "finishing roll printing") in telling, "its known shortcut"
