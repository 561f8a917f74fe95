"""``init --from-images``: a profile proposed from real files, with a reason for every line."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from data_contracts.errors import BadInput, NotFound
from data_contracts.profile import SHIPPED_PROFILES, parse_profile, shipped_profile_text
from data_contracts.vocabulary import Domain, Promotion
from data_contracts.workspace import Workspace
from pipelines.steps.curate import curate
from pipelines.steps.nearest_profile import nearest_profile, pass_class_of
from pipelines.steps.propose_profile import ProposalReport, propose
from pipelines.steps.survey_images import LOOKED_AT, has_direction, sample_files
from tests.pipelines.commands import TINY, done, make_images, tailsight
from tests.pipelines.picture_files import class_folders, picture, save, take_in, write_csv

MIRRORS = ("flip_horizontal", "flip_vertical", "rotate_quarter_turns")


def proposed(tmp_path: Path, images: Path) -> tuple[Workspace, ProposalReport]:
    workspace = Workspace(tmp_path / "line")
    return workspace, propose(workspace, images)


def reason_of(report: ProposalReport, key: str) -> str:
    return next(line.reason for line in report.lines if line.key == key)


@pytest.mark.parametrize("name", SHIPPED_PROFILES)
def test_every_shipped_profile_is_valid_says_why_and_is_careful(name: str) -> None:
    text = shipped_profile_text(name)
    profile = parse_profile(text, origin=name)
    assert profile.name == name
    assert text.startswith("# ")
    assert text.count("#") > 4
    assert profile.promotion is Promotion.BY_HAND
    assert profile.limits.automatic_error <= 0.05
    assert profile.description
    medical = profile.domain in (Domain.DERMOSCOPY, Domain.RADIOGRAPH)
    assert profile.review.read_first is medical


def test_a_radiograph_is_never_mirrored() -> None:
    profile = parse_profile(shipped_profile_text("radiograph"), origin="radiograph")
    assert not any(getattr(profile.augmentation, name) for name in MIRRORS)
    assert profile.input.channels == 1


def test_every_line_has_a_reason_and_stands_as_a_comment_above_its_value(tmp_path: Path) -> None:
    images = class_folders(tmp_path / "images", {"good": 12, "scratch": 6, "dent": 5})
    workspace, report = proposed(tmp_path, images)
    profile = workspace.profile
    assert report.created
    assert [item.name for item in profile.taxonomy] == ["dent", "good", "scratch"]
    assert report.class_counts == {"dent": 5, "good": 12, "scratch": 6}
    assert profile.pass_class == "good"
    assert (profile.input.channels, profile.domain, report.nearest) == (3, Domain.GENERIC, None)
    assert all(len(line.reason) > 10 for line in report.lines)
    text = workspace.profile_path.read_text(encoding="utf-8").splitlines()
    for line in report.lines:
        key = line.key.rpartition(".")[2]
        number = next(i for i, row in enumerate(text) if row.strip().startswith(f"{key}:"))
        assert text[number - 1].strip().startswith("#"), line.key
    kept = {line.key for line in report.lines}
    for section in ("input", "augmentation"):
        assert {f"{section}.{name}" for name in getattr(profile, section).model_dump()} <= kept
    assert propose(workspace, images).created is False


def test_nothing_that_may_change_a_label_is_on_unless_a_profile_of_the_field_has_it_on(tmp_path: Path) -> None:
    images = class_folders(tmp_path / "images", {"up": 6, "down": 6})
    workspace, report = proposed(tmp_path, images)
    settings = workspace.profile.augmentation
    assert not any(getattr(settings, name) for name in MIRRORS)
    assert settings.rotate_degrees <= 3
    assert settings.hue_saturation == settings.blur_probability == settings.erase_probability == 0
    assert reason_of(report, "augmentation.flip_horizontal").startswith("Off: whether a mirrored image keeps its class")


def test_class_names_of_a_known_field_lead_to_its_shipped_profile(tmp_path: Path) -> None:
    images = class_folders(tmp_path / "images", {"crazing": 5, "Rolled-in scale": 5, "scratches": 5, "other": 5})
    workspace, report = proposed(tmp_path, images)
    assert report.nearest == "steel-strip"
    assert report.nearest_why == "3 of 4 class names are of its field ('Rolled-in scale', 'crazing', 'scratches')"
    assert workspace.profile.domain is Domain.SURFACE
    assert workspace.profile.augmentation.flip_vertical
    reason = reason_of(report, "augmentation.flip_vertical")
    assert reason.startswith("As in the shipped profile 'steel-strip'. An image upside down must keep its class.")
    assert reason.endswith("Check that this holds here.")


def test_medical_names_hide_the_model_until_a_person_has_decided(tmp_path: Path) -> None:
    workspace, report = proposed(tmp_path, class_folders(tmp_path / "x", {"pneumonia": 5, "Pleural effusion": 5}))
    assert report.nearest == "radiograph"
    assert workspace.profile.review.read_first
    assert not any(getattr(workspace.profile.augmentation, name) for name in MIRRORS)


def test_a_labels_csv_beside_the_images_gives_classes_columns_and_the_command(tmp_path: Path) -> None:
    folder = tmp_path / "delivery"
    rows: list[tuple[object, ...]] = [("file", "defect", "patient_id", "fold", "age")]
    for number in range(24):
        save(folder / "images" / f"{number:02}.png", number)
        rows.append(
            (f"images/{number:02}.png", "ab"[number % 2] * 4, f"P{number // 3}", ["train", "test"][number % 2], 40)
        )
    write_csv(folder / "labels.csv", rows)
    write_csv(folder / "other.csv", [("part", "price"), ("screw", "2"), ("nut", "3")])
    workspace, report = proposed(tmp_path, folder / "images")
    assert report.labels == str(folder / "labels.csv")
    assert report.class_counts == {"aaaa": 12, "bbbb": 12}
    assert workspace.profile.group_column == "patient_id"
    assert report.next == (
        f"tailsight ingest {folder / 'images'} --labels {folder / 'labels.csv'} --image-column file "
        "--label-column defect --group-column patient_id --split-column fold"
    )
    assert "24 rows share 8 values" in reason_of(report, "group_column")
    taken = take_in(workspace, folder / "images", folder / "labels.csv", image_column="file", label_column="defect")
    assert taken.label_errors == []
    assert curate(workspace).components == 8  # the profile names the group column, so nobody has to


def test_grey_pictures_stored_in_colour_and_deep_ones_are_recognised(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    for number in range(10):
        grey = chance.integers(0, 255, (40, 60), dtype=np.uint8)
        path = tmp_path / "grey" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.repeat(grey[..., None], 3, axis=2)).save(path)
        path = tmp_path / "deep" / "ab"[number % 2] / f"{number}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(chance.integers(0, 4096, (40, 60)).astype(np.uint16)).save(path)
    for kind, words in (("grey", "three channels agree"), ("deep", "The images are grey.")):
        workspace = Workspace(tmp_path / f"line-{kind}")
        report = propose(workspace, tmp_path / kind)
        assert workspace.profile.input.channels == 1
        assert words in reason_of(report, "input.channels")
    assert "10 of 10 images looked at have 16 bits" in reason_of(report, "input.window_centre")


def test_pictures_that_are_always_the_same_way_up_are_told_from_those_that_are_not() -> None:
    chance = np.random.default_rng(1)
    noise = chance.normal(0, 20, (60, 24, 24))
    sky = np.linspace(60, 0, 24)[None, :, None]
    assert has_direction(noise + sky, axis=1)
    assert not has_direction(noise + sky, axis=2)
    assert not has_direction(noise, axis=1)
    turned = chance.choice([-1, 1], 60)[:, None, None] * sky
    assert not has_direction(noise + turned, axis=1)
    assert not has_direction(noise[:5] + sky, axis=1)


def test_the_same_seed_looks_at_the_same_files_from_every_folder() -> None:
    paths = [f"{name}/{n}.png" for name, size in (("a", 5000), ("b", 30), ("c", 3)) for n in range(size)]
    chosen = sample_files(paths, 100, seed=4)
    assert chosen == sample_files(list(reversed(paths)), 100, seed=4)
    assert chosen != sample_files(paths, 100, seed=5)
    assert len(set(chosen)) == 100
    assert [sum(p.startswith(f"{name}/") for p in chosen) for name in "abc"] == [67, 30, 3]


def test_a_large_folder_is_sampled(tmp_path: Path) -> None:
    first = save(tmp_path / "images" / "ok" / "0.png", 1, height=8, width=8)
    for number in range(1, 4000):
        os.link(first, first.with_name(f"{number}.png"))
    _, report = proposed(tmp_path, tmp_path / "images")
    assert (report.images, report.looked_at) == (4000, LOOKED_AT)
    assert report.class_counts == {}  # a single class folder is no class


def test_hostile_folders_are_refused_or_survived_with_words(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match=r"has no image that can be read\. It is empty\."):
        propose(Workspace(tmp_path / "w"), tmp_path / "empty")
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "readme.txt").write_text("hello")
    with pytest.raises(BadInput, match=r"It holds other files: \.txt 1"):
        propose(Workspace(tmp_path / "w"), tmp_path / "text")
    with pytest.raises(NotFound, match="There is no folder"):
        propose(Workspace(tmp_path / "w"), tmp_path / "nowhere")
    with pytest.raises(BadInput, match="is a file; --from-images looks at a folder"):
        propose(Workspace(tmp_path / "w"), tmp_path / "text" / "readme.txt")
    (tmp_path / "broken").mkdir()
    for number in range(3):
        (tmp_path / "broken" / f"{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(number))
    with pytest.raises(BadInput, match="None of the 3 files looked at"):
        propose(Workspace(tmp_path / "w"), tmp_path / "broken")
    assert not (tmp_path / "w").exists()


def test_links_pipes_torn_files_and_wild_names_leave_a_valid_profile(tmp_path: Path) -> None:
    images = tmp_path / "wild: #\n- {name}"
    names = ['ok: "yes"', "# no", "- {a: 1}", "null", "5", "ünï 🦊", "=1+1"]
    for seed, name in enumerate(names):
        for number in range(3):
            save(images / name / f"{number}.png", 10 * seed + number)
    (images / 'ok: "yes"' / "torn.png").write_bytes((images / "5" / "0.png").read_bytes()[:60])
    (images / "out.png").symlink_to("/etc/passwd")
    (images / "loop.png").symlink_to(images / "loop.png")
    os.mkfifo(images / "pipe.png")
    (tmp_path / "labels.csv").write_bytes(b'image,label\n"never closed')
    workspace, report = proposed(tmp_path, images)
    assert {item.name for item in workspace.profile.taxonomy} == {*names} - {"=1+1", "- {a: 1}"}
    assert report.unreadable[0]["path"].endswith("torn.png")
    assert any("3 files were set aside unread" in remark for remark in report.remarks)
    assert "begins with '='" in reason_of(report, "taxonomy")
    assert yaml.safe_load(workspace.profile_path.read_text(encoding="utf-8"))["taxonomy"][0]["name"]
    taken = take_in(workspace, images)
    assert [error.value for error in taken.label_errors] == ["- {a: 1}", "=1+1"]


def test_a_bomb_does_not_raise_the_limit(tmp_path: Path) -> None:
    images = class_folders(tmp_path / "images", {"a": 6, "b": 6})
    Image.new("1", (12_000, 12_000)).save(images / "a" / "bomb.png")
    workspace, _ = proposed(tmp_path, images)
    assert workspace.profile.input.max_megapixels == 120


def test_mixed_kinds_of_files_are_pointed_out(tmp_path: Path) -> None:
    images = class_folders(tmp_path / "images", {"a": 6})
    (images / "b").mkdir()
    for number in range(6):
        picture(50 + number).convert("L").save(images / "b" / f"{number}.jpg")
    _, report = proposed(tmp_path, images)
    assert any(remark.startswith("Formats are mixed (") for remark in report.remarks)
    assert any(remark.startswith("Grey and colour images are mixed") for remark in report.remarks)


def test_a_workspace_in_the_folder_of_images_is_not_looked_at(tmp_path: Path) -> None:
    images = class_folders(tmp_path / "images", {"a": 4, "b": 4})
    workspace = Workspace(images)
    propose(workspace, images)
    save(images / "cache" / "x.png", 99)
    assert propose(workspace, images).images == 8


def test_names_of_fields_and_of_good_parts() -> None:
    assert nearest_profile(["Mel", "NV", "something"]) is not None
    assert nearest_profile(["a", "b"], ["lesion_id"]) is not None
    assert nearest_profile(["short", "long", "wide"]) is None
    assert pass_class_of(["No-Anomaly", "Cell"]) == "No-Anomaly"
    assert pass_class_of(["ok", "good"]) is None


@pytest.mark.parametrize("words", [("init",), ("init", "--profile", "generic", "--from-images", ".")])
def test_init_takes_a_profile_or_images(tmp_path: Path, words: tuple[str, ...]) -> None:
    answer = tailsight(tmp_path / "w", *words)
    assert answer.code == 2
    assert "give either --profile NAME|FILE or --from-images DIR" in answer.stderr


@pytest.mark.slow
def test_a_new_line_is_on_its_way_in_eight_commands_without_editing_anything(tmp_path: Path) -> None:
    images = make_images(tmp_path / "images")
    batch = make_images(tmp_path / "batch", per_class=5, seed=9)
    line = tmp_path / "line"
    first = done(line, "init", "--from-images", str(images))
    assert first["next"] == f"tailsight ingest {images}"
    assert done(line, "ingest", str(images))["label_errors"] == []
    done(line, "curate")
    done(line, "train", *TINY)
    assert done(line, "evaluate")["n"] > 0
    assert done(line, "promote", "--by", "me", "--why", "first")["promoted"]
    assert done(line, "score", str(batch), "--out", str(tmp_path / "scores.parquet"))
    assert done(line, "labels", "verify")["ok"]
