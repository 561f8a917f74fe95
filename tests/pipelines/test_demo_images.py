"""The demo's images: real folders, the same every time, and a plain word where they are not installed."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest

from data_contracts.errors import BadInput
from data_contracts.progress import SILENT
from pipelines.demo_images import GRADES, installed_images, lay_out


def test_the_package_holds_2624_images_in_four_grades() -> None:
    images = installed_images()
    counts = pd.Series([grade for grade, _ in images.values()]).value_counts()
    assert counts.to_dict() == {
        "functional": 1508,
        "defective": 715,
        "possibly_defective": 295,
        "probably_defective": 106,
    }


def test_the_layout_is_the_same_every_time_and_labels_no_production_image(tmp_path: Path) -> None:
    first = lay_out(tmp_path, SILENT)
    labels = pd.read_csv(first.labels)
    assert len(labels) == first.labelled_count == len(list(first.labelled.iterdir()))
    assert len(first.truth) == 2624
    assert set(labels["label"]) == set(GRADES.values())
    produced = [path.name for batch in first.batches for path in batch.iterdir()]
    assert len(labels) + len(produced) == 2624
    assert not {Path(name).name for name in labels["image"]} & set(produced)
    assert first.planted == frozenset()
    assert all(first.truth[Path(row.image).name] == row.label for row in labels.itertuples())
    shipped = pd.Series({name: first.truth[name] for name in produced})
    shares = shipped.value_counts(normalize=True) - labels["label"].value_counts(normalize=True)
    assert shares.abs().max() < 0.01
    torn = first.labelled / Path(labels["image"][0]).name
    torn.write_bytes(b"half a copy")
    untouched = first.labelled / Path(labels["image"][1]).name
    stamp = untouched.stat().st_ctime_ns
    again = lay_out(tmp_path, SILENT)
    assert again == first
    assert torn.stat().st_size > 1000
    assert untouched.stat().st_ctime_ns == stamp


def test_planted_errors_are_known_to_the_demo_alone(tmp_path: Path) -> None:
    images = lay_out(tmp_path, SILENT, planted_share=0.05)
    labels = pd.read_csv(images.labels)
    wrong = {Path(row.image).name for row in labels.itertuples() if images.truth[Path(row.image).name] != row.label}
    assert wrong == images.planted
    assert len(wrong) == round(0.05 * images.labelled_count)
    assert lay_out(tmp_path, SILENT, planted_share=0.05) == images


def test_without_the_extra_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "elpv_dataset", None)
    with pytest.raises(BadInput, match=r"The demo's images are not installed\.") as refusal:
        installed_images()
    assert refusal.value.remedy == "Run: pip install 'tailsight[demo]'"
    assert "CC BY-NC-SA 4.0" in str(refusal.value)
