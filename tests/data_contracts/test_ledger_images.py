"""Images, where they were seen, quarantine, near-duplicates, roots."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from data_contracts.errors import NotFound
from data_contracts.frames import IMAGES, checked
from data_contracts.ledger.conflicts import conflicts_frame
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.image_names import ImageNames
from data_contracts.ledger.images import (
    AddedImages,
    add_images,
    find_images,
    images_frame,
    occurrences_frame,
    repoint_images,
    set_groups,
)
from data_contracts.ledger.near_duplicates import near_duplicates_frame, record_near_duplicates
from data_contracts.ledger.quarantine import quarantine_frame, record_quarantine, release
from data_contracts.ledger.roots import register_root, registered_roots, root_id_of
from data_contracts.records import ImageRecord, NearDuplicate, Occurrence, QuarantinedFile
from data_contracts.vocabulary import QuarantineKind, Split


def picture(root: str, name: str, path: str, **fields: Any) -> ImageRecord:
    facts = {"width": 4, "height": 3, "mode": "L", "bit_depth": 8, "format": "PNG", "size_bytes": 9}
    return ImageRecord(image_id=name.ljust(64, "0"), uri=f"{root}/{path}", **(facts | {"perceptual_hash": -5} | fields))


def seen(root: str, name: str, path: str, **fields: Any) -> Occurrence:
    facts = {"size_bytes": 9, "modified_ns": 1_700_000_000_123_456_789} | fields
    return Occurrence(image_id=name.ljust(64, "0"), root_id=root, path=path, **facts)


@pytest.fixture
def root(ledger: Ledger, tmp_path: Path) -> str:
    (tmp_path / "images").mkdir()
    return register_root(ledger, tmp_path / "images")


def test_a_root_has_one_id_and_may_be_registered_again(ledger: Ledger, root: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "images")
    assert register_root(ledger, tmp_path / "link") == root == root_id_of(tmp_path / "images")
    assert len(root) == 12
    assert registered_roots(ledger) == {root: tmp_path / "images"}
    with pytest.raises(NotFound, match="is not a folder"):
        register_root(ledger, tmp_path / "nothing")


def test_adding_the_same_again_changes_nothing(ledger: Ledger, root: str) -> None:
    images = [picture(root, "a", "a.png", group="g", given_split=Split.TEST), picture(root, "b", "b.png")]
    places = [seen(root, "a", "a.png"), seen(root, "a", "copy of a.png"), seen(root, "b", "b.png")]
    assert add_images(ledger, images, places, "one") == AddedImages(2, 3)
    before = images_frame(ledger)
    assert add_images(ledger, images, places, "two") == AddedImages(0, 0)
    assert images_frame(ledger).equals(before)
    assert before["batch"].tolist() == ["one", "one"]
    assert before["given_split"].tolist() == ["test", None]
    assert before["group"].tolist() == ["g", None]
    assert before["perceptual_hash"].dtype == "int64"


def test_a_failing_batch_leaves_nothing_behind(ledger: Ledger, root: str) -> None:
    with pytest.raises(Exception, match=r"(?i)foreign key"):
        add_images(ledger, [picture(root, "a", "a.png")], [seen("0" * 12, "a", "a.png")], "one")
    assert images_frame(ledger).empty


def test_empty_tables_are_valid(ledger: Ledger) -> None:
    assert checked(images_frame(ledger), IMAGES).empty
    assert occurrences_frame(ledger).dtypes["modified_ns"] == "int64"
    assert quarantine_frame(ledger).empty
    assert near_duplicates_frame(ledger).empty
    assert conflicts_frame(ledger).empty


def test_a_file_that_was_touched_keeps_its_image_and_its_new_time(ledger: Ledger, root: str) -> None:
    add_images(ledger, [picture(root, "a", "a.png")], [seen(root, "a", "a.png")], "one")
    assert add_images(ledger, [], [seen(root, "a", "a.png", modified_ns=7)], "two") == AddedImages(0, 0)
    assert occurrences_frame(ledger, root)["modified_ns"].tolist() == [7]
    assert occurrences_frame(ledger, "f" * 12).empty


def test_a_file_with_other_bytes_replaces_what_was_seen_there(ledger: Ledger, root: str) -> None:
    places = [seen(root, "a", "a.png"), seen(root, "a", "copy.png")]
    add_images(ledger, [picture(root, "a", "a.png")], places, "one")
    added = add_images(ledger, [picture(root, "b", "a.png")], [seen(root, "b", "a.png")], "two")
    assert added == AddedImages(1, 1)
    assert sorted(
        zip(occurrences_frame(ledger)["path"], occurrences_frame(ledger)["image_id"].str[0], strict=True)
    ) == [
        ("a.png", "b"),
        ("copy.png", "a"),
    ]
    uris = images_frame(ledger).set_index("image_id")["uri"]
    assert uris["a".ljust(64, "0")] == f"{root}/copy.png", "the copy still has these bytes"


def test_the_frames_of_one_file_are_images_at_one_place(ledger: Ledger, root: str) -> None:
    names = [f"{'a' * 64}#{frame}" for frame in range(3)]
    images = [picture(root, name, f"stack.tif#{n}") for n, name in enumerate(names)]
    places = [seen(root, name, "stack.tif") for name in names]
    assert add_images(ledger, images, places, "one") == AddedImages(3, 3)
    assert add_images(ledger, images, places, "one") == AddedImages(0, 0)


def test_a_group_is_set_once_and_another_one_is_a_conflict(ledger: Ledger, add_pictures: Any) -> None:
    a, b = add_pictures(ledger, "ab", {"a": "p1"})
    assert set_groups(ledger, {a: "p1", b: "p2", "unknown": "p3"}) == []
    (conflict,) = set_groups(ledger, {a: "p9", b: "p2"})
    assert (conflict.subject_id, conflict.labels) == (a, ("p1", "p9"))
    assert images_frame(ledger).set_index("image_id")["group"].to_dict() == {a: "p1", b: "p2"}
    assert len(set_groups(ledger, {a: "p9"})) == 1
    assert len(conflicts_frame(ledger)) == 1


def test_every_look_up_accepts_every_name(ledger: Ledger, root: str, tmp_path: Path) -> None:
    names = ["abcdef01", "abcdef02"]
    images = [picture(root, name, f"d/{name}.png") for name in names]
    places = [seen(root, name, f"d/{name}.png", external_ids={"serial": f"SN {name}", "lot": "L7"}) for name in names]
    add_images(ledger, images, [*places, seen(root, names[0], "e/abcdef02.png")], "one")
    first, second = (name.ljust(64, "0") for name in names)
    everything = ImageNames(ledger)
    for text in (first, "abcdef01", "ABCDEF010", "d/abcdef01.png", "./d/abcdef01.png", f"{root}/d/abcdef01.png",
                 str(tmp_path / "images/d/abcdef01.png"), "SN abcdef01", "abcdef01.png"):  # fmt: skip
        assert find_images(ledger, text) == [first], text
        assert everything.find(text) == {first}, text
    assert find_images(ledger, "L7") == find_images(ledger, "abcdef02.png") == [first, second]
    assert everything.find("L7") == {first, second}
    for text in ("abcdef0", "", "  ", "nothing", "100%", "_bcdef01"):
        assert find_images(ledger, text) == [], text
        assert everything.find(text) == set(), text
    assert everything.find("abcdef01.png", relative_to=tmp_path / "images" / "d") == {first}
    assert everything.nearest("d/abcdef0l.png") in ("d/abcdef01.png", "d/abcdef02.png")
    assert everything.nearest("something else") is None


def test_an_image_may_be_read_from_another_place(ledger: Ledger, add_pictures: Any) -> None:
    (a,) = add_pictures(ledger, "a")
    repoint_images(ledger, {})
    repoint_images(ledger, {a: "custody/aa/a.png"})
    assert images_frame(ledger)["uri"].tolist() == ["custody/aa/a.png"]


def test_a_file_enters_quarantine_with_its_reason_and_leaves_when_it_is_fine(ledger: Ledger, root: str) -> None:
    def bad(path: str, reason: str) -> QuarantinedFile:
        return QuarantinedFile(path=path, kind=QuarantineKind.TRUNCATED, reason=reason)

    record_quarantine(ledger, root, [bad("a.png", "half of it is missing"), bad("b.png", "its end is missing")], "one")
    record_quarantine(ledger, root, [bad("b.png", "it is still short")], "two")
    record_quarantine(ledger, root, [], "three")
    assert quarantine_frame(ledger)[["path", "reason", "batch"]].values.tolist() == [
        ["a.png", "half of it is missing", "one"],
        ["b.png", "it is still short", "two"],
    ]
    release(ledger, root, ["b.png", "never there.png"])
    release(ledger, root, [])
    assert quarantine_frame(ledger)["path"].tolist() == ["a.png"]


def test_a_pair_is_the_same_in_either_order(ledger: Ledger, add_pictures: Any) -> None:
    a, b, c = add_pictures(ledger, "abc")

    def pair(one: str, other: str, correlation: float) -> NearDuplicate:
        return NearDuplicate(
            image_a=one, image_b=other, hash_distance=3, correlation=correlation, transform="flip", binding=True
        )

    assert record_near_duplicates(ledger, []) == 0
    assert record_near_duplicates(ledger, [pair(a, b, 0.98)]) == 1
    assert record_near_duplicates(ledger, [pair(b, a, 0.99), pair(b, c, 0.995)]) == 1
    frame = near_duplicates_frame(ledger)
    assert (frame["image_a"] < frame["image_b"]).all()
    assert sorted(frame["correlation"]) == [0.99, 0.995]
    assert frame["binding"].dtype == bool


def test_ten_thousand_images_are_added_in_seconds(ledger: Ledger, root: str) -> None:
    images = [picture(root, f"{n:x}-", f"{n}.png", group=f"g{n % 999}") for n in range(10_000)]
    places = [seen(root, f"{n:x}-", f"{n}.png", external_ids={"serial": f"{n}"}) for n in range(10_000)]
    began = time.process_time()
    assert add_images(ledger, images, places, "one") == AddedImages(10_000, 10_000)
    assert add_images(ledger, images, places, "one") == AddedImages(0, 0)
    assert time.process_time() - began < 6, "two seconds on an idle machine"
