"""Labels from and to files."""

from __future__ import annotations

import csv
import hashlib
import json
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_contracts.errors import BadInput, IntegrityError, LabelFileError, NotFound
from data_contracts.ledger.append_only import trigger_names
from data_contracts.ledger.conflicts import conflicts_frame
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.events import append_events, events_frame
from data_contracts.ledger.fold import image_labels
from data_contracts.ledger.images import add_images
from data_contracts.ledger.roots import register_root
from data_contracts.ledger.taxonomies import current_taxonomy, save_taxonomy
from data_contracts.records import ImageRecord, NewLabelEvent, Occurrence
from data_contracts.taxonomy import Taxonomy, TaxonomyClass
from data_contracts.vocabulary import Action, Source
from data_contracts.workspace import Workspace
from pipelines.steps.labels import export_labels, import_labels, label_history, verify_labels
from pipelines.steps.labels_rows import neutralised, restored

NAMES = [f"cell_{number:02d}.png" for number in range(12)]


def image_id(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


@pytest.fixture
def site(workspace: Workspace, tmp_path: Path) -> Workspace:
    """A workspace that knows twelve images under ``tmp_path/line``, and the classes crack (alias Riss), pit and -1."""
    folder = tmp_path / "line"
    folder.mkdir()
    with Ledger.open(workspace) as ledger:
        root = register_root(ledger, folder)
        facts = {"width": 4, "height": 3, "mode": "L", "bit_depth": 8, "format": "PNG", "size_bytes": 9}
        images = [
            ImageRecord(image_id=image_id(name), uri=f"{root}/{name}", perceptual_hash=0, group="lot 1", **facts)
            for name in NAMES
        ]
        places = [
            Occurrence(image_id=image_id(name), root_id=root, path=name, size_bytes=9, modified_ns=1,
                       external_ids={"serial": f"SN-{name[5:7]}", "lot": "L1"})
            for name in NAMES
        ]  # fmt: skip
        add_images(ledger, images, places, "first")
        classes = (TaxonomyClass(name="crack", aliases=("Riss",)), TaxonomyClass(name="pit"), TaxonomyClass(name="-1"))
        save_taxonomy(ledger, Taxonomy(version=1, classes=classes), "ann", "agreed")
    return workspace


Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a CSV of ``rows`` and returns its path."""

    def make(rows: Sequence[Sequence[str]], header: str = "image,label,reviewer", name: str = "labels.csv") -> Path:
        path = tmp_path / name
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(header.split(","))
            writer.writerows(rows)
        return path

    return make


def labels_of(workspace: Workspace) -> dict[str, str]:
    with Ledger.open(workspace) as ledger:
        frame = image_labels(ledger).dropna(subset=["label"])
    names = {image_id(name): name for name in NAMES}
    return {names[key]: label for key, label in zip(frame["image_id"], frame["label"], strict=True)}


def test_an_import_takes_every_kind_of_name_and_a_second_import_adds_nothing(site: Workspace, write: Write) -> None:
    rows = [
        ("cell_00.png", "crack", "ann"),
        ("line/cell_01.png", "pit", "ann"),
        (image_id("cell_02.png"), "Riss", "bob"),
        (image_id("cell_03.png")[:10], "pit", "bob"),
        ("SN-04", "-1", "bob"),
    ]
    file = write(rows)
    first = import_labels(site, file)
    assert (first["rows"], first["imported"], first["already_known"]) == (5, 5, 0)
    assert first["label_errors"] == first["conflicts"] == first["superseded"] == []
    assert list(labels_of(site).values()).count("crack") == 2
    assert labels_of(site)["cell_04.png"] == "-1"
    second = import_labels(site, file)
    assert (second["imported"], second["already_known"], second["head"]) == (0, 5, first["head"])
    json.dumps(second)


def test_every_bad_row_is_reported_with_its_number_value_nearest_and_reason(site: Workspace, write: Write) -> None:
    header = "image,label,reviewer,note,certainty,source"
    rows = [
        ("cell_00.png", "crack", "ann", "fine", "Sure", "reader"),
        ("cell_0l.png", "crack", "ann", "", "", ""),
        ("L1", "crack", "ann", "", "", ""),
        ("", "crack", "ann", "", "", ""),
        ("cell_02.png", "crak", "ann", "", "", ""),
        ("cell_02.png", "=cmd|' /C calc'!A0", "ann", "", "", ""),
        ("cell_02.png", "", "ann", "", "", ""),
        ("cell_02.png", "pit", "", "", "", ""),
        ("cell_02.png", "pit", "@SUM(A1)", "", "", ""),
        ("cell_02.png", "pit", "ann", "", "certain", ""),
        ("cell_02.png", "pit", "ann", "", "", "adjudicaton"),
        ("cell_02.png", "pit", "ann", "=HYPERLINK(1)", "", ""),
        ("cell_02.png", "pi\u202et", "ann", "", "", ""),
        ("cell_02.png", "pit", "ann", "bell \a", "", ""),
    ]
    report = import_labels(site, write(rows, header))
    errors = {error["row"]: error for error in report["label_errors"]}
    assert report["imported"] == 1
    assert sorted(errors) == list(range(3, 16))
    assert all(len(error["reason"]) > 15 for error in errors.values())
    assert errors[3]["value"] == "cell_0l.png"
    assert errors[3]["nearest"] in NAMES
    assert errors[4]["reason"] == "12 images go by this name; give the path or the image_id."
    assert (errors[6]["value"], errors[6]["nearest"]) == ("crak", "crack")
    assert errors[7]["value"] == "=cmd|' /C calc'!A0"
    assert errors[12]["nearest"] == "adjudication"
    assert "\u202e" not in errors[14]["value"]
    with Ledger.open(site) as ledger:
        row = events_frame(ledger).iloc[0]
    assert (row["certainty"], row["source"], row["note"], row["who"]) == ("sure", "reader", "fine", "ann")


def test_an_old_csv_never_overrides_a_later_answer_but_is_listed(site: Workspace, write: Write) -> None:
    file = write([("cell_00.png", "pit", "old system"), ("cell_01.png", "pit", "old system")])
    import_labels(site, file)
    with Ledger.open(site) as ledger:
        said = NewLabelEvent(
            who="ann", subject_id=image_id("cell_00.png"), action=Action.CORRECT, label="crack", source=Source.READER
        )
        append_events(ledger, [said])
    report = import_labels(site, file)
    assert report["imported"] == 0
    assert report["conflicts"] == [
        {
            "row": 2,
            "image_id": image_id("cell_00.png"),
            "imported": "pit",
            "current": "crack",
            "source": "reader",
        }
    ]
    assert labels_of(site) == {"cell_00.png": "crack", "cell_01.png": "pit"}
    with Ledger.open(site) as ledger:
        assert conflicts_frame(ledger)["labels"].tolist() == [("crack", "pit")]


def test_an_old_csv_that_a_newer_csv_replaced_is_said_to_be_superseded(site: Workspace, write: Write) -> None:
    old, new = write([("cell_00.png", "pit", "ann")]), write([("cell_00.png", "crack", "ann")], name="new.csv")
    import_labels(site, old)
    assert import_labels(site, new)["superseded"] == []
    report = import_labels(site, old)
    assert [entry["current"] for entry in report["superseded"]] == ["crack"]
    assert report["conflicts"] == []
    assert labels_of(site) == {"cell_00.png": "crack"}


def test_two_labels_for_one_image_in_one_file_are_a_conflict(site: Workspace, write: Write) -> None:
    report = import_labels(site, write([("cell_00.png", "pit", "ann"), ("cell_00.png", "crack", "bob")]))
    assert report["imported"] == 2
    assert labels_of(site) == {"cell_00.png": "crack"}
    with Ledger.open(site) as ledger:
        (conflict,) = conflicts_frame(ledger).to_dict("records")
    assert (conflict["kind"], conflict["labels"]) == ("duplicate_labels", ("pit", "crack"))


def test_a_first_import_without_a_taxonomy_makes_the_classes_it_finds(workspace: Workspace, write: Write) -> None:
    folder = workspace.folder.parent / "line"
    folder.mkdir()
    with Ledger.open(workspace) as ledger:
        root = register_root(ledger, folder)
        facts = {"width": 4, "height": 3, "mode": "L", "bit_depth": 8, "format": "PNG", "size_bytes": 9}
        images = [ImageRecord(image_id=image_id(n), uri=f"{root}/{n}", perceptual_hash=0, **facts) for n in NAMES]
        places = [Occurrence(image_id=image_id(n), root_id=root, path=n, size_bytes=9, modified_ns=1) for n in NAMES]
        add_images(ledger, images, places, "first")
    rows = [(name, "scratch" if number < 10 else "scrach", "ann") for number, name in enumerate(NAMES[:11])]
    report = import_labels(workspace, write(rows))
    assert report["new_classes"] == ["scratch"]
    assert [(error["row"], error["nearest"]) for error in report["label_errors"]] == [(12, "scratch")]
    with Ledger.open(workspace) as ledger:
        assert current_taxonomy(ledger).names == ("scratch",)


def test_a_file_that_cannot_be_used_is_refused_as_a_whole(site: Workspace, write: Write, tmp_path: Path) -> None:
    with pytest.raises(LabelFileError, match="has no column 'reviewer'"):
        import_labels(site, write([("cell_00.png", "pit")], "image,label"))
    with pytest.raises(LabelFileError, match="has no column 'image'"):
        import_labels(site, write([("cell_00.png", "pit", "ann")], "picture,label,reviewer"))
    with pytest.raises(LabelFileError):
        import_labels(site, tmp_path / "nothing.csv")


def test_what_is_exported_is_safe_for_spreadsheets_and_can_be_imported_again(
    site: Workspace, write: Write, tmp_path: Path
) -> None:
    header = "image,label,reviewer,note,certainty,source"
    rows = [
        ("cell_00.png", "-1", "ann", '- seen, "twice"\nand again', "likely", "reader"),
        ("cell_01.png", "crack", "bob", "+1 for Ünïcode 図", "", "reference"),
    ]
    import_labels(site, write(rows, header))
    with Ledger.open(site) as ledger:
        bad = NewLabelEvent(
            who="ann", subject_id=image_id("cell_05.png"), action=Action.BAD_IMAGE, source=Source.READER
        )
        append_events(ledger, [bad])
    file = tmp_path / "out.csv"
    report = export_labels(site, file)
    assert (report["labels"], report["bad_images"], report["unlabelled"]) == (2, 1, 9)
    with file.open(newline="", encoding="utf-8") as stream:
        written = list(csv.DictReader(stream))
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for row in written for cell in row.values())
    by_name = {row["image"]: row for row in written}
    assert by_name["cell_00.png"]["label"] == "'-1"
    assert by_name["cell_01.png"]["source"] == "reference"
    assert by_name["cell_05.png"]["bad_image"] == "yes"
    again = import_labels(site, file)
    assert (again["imported"], again["already_known"]) == (0, 2)
    with Ledger.open(site) as ledger:
        said = NewLabelEvent(
            who="ann", subject_id=image_id("cell_07.png"), action=Action.LABEL, label="pit", source=Source.READER
        )
        append_events(ledger, [said])
    export_labels(site, file)
    assert import_labels(site, file)["imported"] == 0, "an answer that was given here is not said twice"
    assert [error["reason"][:27] for error in again["label_errors"]] == ["The image is marked as unus"]
    assert list(tmp_path.glob(".out.csv*")) == []


def test_an_export_that_cannot_be_written_says_so(site: Workspace, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be written"):
        export_labels(site, tmp_path / "no such folder" / "out.csv")


@given(st.text(st.sampled_from("'=+-@\tab")))
def test_neutralising_a_cell_can_be_undone(cell: str) -> None:
    assert restored(neutralised(cell)) == cell
    assert not neutralised(cell).startswith(("=", "+", "-", "@", "\t", "\r"))


def test_the_history_says_who_said_what(site: Workspace, write: Write) -> None:
    import_labels(site, write([("cell_00.png", "pit", "ann")]))
    import_labels(site, write([("cell_00.png", "crack", "bob")]))
    for name in ("cell_00.png", image_id("cell_00.png")[:12], "SN-00"):
        report = label_history(site, name)
        assert (report["image_id"], report["label"], report["group"]) == (image_id("cell_00.png"), "crack", "lot 1")
        assert [(e["who"], e["label"], e["previous_label"]) for e in report["events"]] == [
            ("ann", "pit", None),
            ("bob", "crack", "pit"),
        ]
    json.dumps(report)
    assert label_history(site, "cell_01.png")["events"] == []
    with pytest.raises(NotFound, match="Did you mean 'cell_"):
        label_history(site, "cell_0l.png")
    with pytest.raises(BadInput, match="12 images go by the name 'L1'"):
        label_history(site, "L1")


def test_verify_finds_an_answer_that_was_changed_behind_the_ledgers_back(site: Workspace, write: Write) -> None:
    import_labels(site, write([("cell_00.png", "pit", "ann")]))
    assert verify_labels(site) | {"head": None} == {
        "ok": True,
        "events": 1,
        "promotions": 0,
        "problems": [],
        "head": None,
    }
    connection = sqlite3.connect(site.ledger_path)
    with connection, pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute("UPDATE label_event SET label = 'crack'")
    with connection:
        connection.execute(f"DROP TRIGGER {trigger_names('label_event')[0]}")
        connection.execute("UPDATE label_event SET label = 'crack'")
    connection.close()
    report = verify_labels(site)
    assert not report["ok"]
    assert "label event 1: was changed after it was written, or is not from this ledger." in report["problems"]
    site.ledger_key_path.unlink()
    with pytest.raises(IntegrityError, match="is missing"):
        verify_labels(site)


def test_a_large_file_is_imported_in_seconds(site: Workspace, write: Write) -> None:
    rows = [(NAMES[number % 12], "pit", f"reader {number}") for number in range(5_000)]
    began = time.process_time()
    report = import_labels(site, write(rows))
    assert report["imported"] == 5_000
    assert time.process_time() - began < 10
