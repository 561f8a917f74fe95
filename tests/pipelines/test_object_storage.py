"""Images on S3-compatible storage: taken in, learned from and scored as from disk, by a real server of our own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data_contracts import object_requests
from data_contracts.blobs import Blobs
from data_contracts.errors import BadInput, IntegrityError, NotFound
from data_contracts.frames import SCORES, read_table
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.fold import image_labels
from data_contracts.ledger.images import find_images, images_frame
from data_contracts.ledger.roots import registered_roots
from data_contracts.object_storage import ObjectAddress, place_of
from data_contracts.settings import read_settings
from data_contracts.workspace import Workspace
from pipelines.steps.curate import CurateRequest, curate
from pipelines.steps.ingest import IngestReport, IngestRequest, ingest
from pipelines.steps.initialise import initialise
from pipelines.steps.queue import QueueRequest, build_queue
from pipelines.steps.score import ScoreRequest, score
from pipelines.steps.train import TrainRequest, train
from tests.pipelines.commands import TINY_SETTINGS, done, make_images, tailsight
from tests.pipelines.storage_server import StorageServer

BUCKET = "plant"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorageServer]:
    with StorageServer(tmp_path_factory.mktemp("storage")) as running:
        running.make_bucket(BUCKET)
        yield running


@pytest.fixture
def storage(server: StorageServer, monkeypatch: pytest.MonkeyPatch) -> StorageServer:
    """The server, with its address and keys in this process's environment."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TAILSIGHT_PROCESSES", "1")
    return server


@pytest.fixture
def fresh(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path / "workspace")
    initialise(made, "generic")
    return made


def _take_in(workspace: Workspace, address: str, **more: object) -> IngestReport:
    return ingest(workspace, IngestRequest.model_validate({"images": address, "who": "tester", **more}))


def _labels(workspace: Workspace) -> dict[str, str | None]:
    with Ledger.open(workspace, read_settings()) as ledger:
        frame = image_labels(ledger)
    return dict(zip(frame["image_id"], frame["label"], strict=True))


def _blobs(workspace: Workspace) -> tuple[Blobs, pd.DataFrame]:
    with Ledger.open(workspace, read_settings()) as ledger:
        return Blobs(registered_roots(ledger)), images_frame(ledger)


@pytest.mark.slow
def test_class_folders_on_storage_become_a_model_as_those_on_disk_do(
    storage: StorageServer, fresh: Workspace, image_folder: Path, tmp_path: Path
) -> None:
    storage.put_folder(BUCKET, "line4/images", image_folder)
    # a command of its own: processes that read for this one may have been started before its environment was set
    report = done(fresh.folder, "ingest", f"s3://{BUCKET}/line4/images", TAILSIGHT_PROCESSES="2", **storage.environment)
    assert (report["added"], report["quarantined"]) == (150, [])
    on_disk = Workspace(tmp_path / "on-disk")
    initialise(on_disk, "generic")
    _take_in(on_disk, str(image_folder))
    assert _labels(fresh) == _labels(on_disk)
    splits = [curate(one, CurateRequest()).splits for one in (fresh, on_disk)]
    assert splits[0] == splits[1]
    trained = train(fresh, TrainRequest(preset="quick", overrides=TINY_SETTINGS))
    assert trained.model_version == "1"


def test_scores_of_objects_are_those_of_the_same_files(
    storage: StorageServer, promoted: Path, new_images: Path, tmp_path: Path
) -> None:
    storage.put_folder(BUCKET, "line4/batch", new_images)
    address = f"s3://{BUCKET}/line4/batch"
    workspace = Workspace(promoted)
    score(workspace, ScoreRequest(images=str(new_images), out=tmp_path / "disk.parquet"))
    report = score(workspace, ScoreRequest(images=address, out=tmp_path / "storage.parquet"))
    assert (report.rows, report.errors) == (61, 1)
    disk, remote = (read_table(tmp_path / f"{name}.parquet", SCORES) for name in ("disk", "storage"))
    assert list(remote["path"]) == [f"{address}/{Path(path).relative_to(new_images)}" for path in disk["path"]]
    pd.testing.assert_frame_equal(disk.drop(columns="path"), remote.drop(columns="path"), rtol=0, atol=1e-6)
    again = score(workspace, ScoreRequest(images=address, out=tmp_path / "again.parquet"))
    assert again.reused
    some = score(workspace, ScoreRequest(images=f"{address}/*/*-00[0-4].png", out=tmp_path / "glob.parquet"))
    assert some.rows == 15
    one = score(workspace, ScoreRequest(images=f"{address}/dots/dots-000.png", out=tmp_path / "one.parquet"))
    assert one.rows == 1


@pytest.mark.slow
def test_actors_read_objects_for_themselves(
    server: StorageServer, promoted: Path, new_images: Path, tmp_path: Path
) -> None:
    server.put_folder(BUCKET, "line6/batch", new_images)
    words = ("score", f"s3://{BUCKET}/line6/batch", "--out")
    done(promoted, *words, str(tmp_path / "local.parquet"), **server.environment)
    shutil.rmtree(promoted / "scores")
    report = done(promoted, *words, str(tmp_path / "ray.parquet"), "--engine", "ray", **server.environment)
    assert (report["rows"], report["errors"], report["reused"]) == (61, 1, False)
    tables = [read_table(tmp_path / f"{name}.parquet", SCORES) for name in ("local", "ray")]
    pd.testing.assert_frame_equal(*tables, rtol=0, atol=1e-6)


def test_scored_objects_become_known_images_of_their_prefix(
    storage: StorageServer, promoted: Path, new_images: Path, tmp_path: Path
) -> None:
    storage.put_folder(BUCKET, "line5/batch", new_images)
    workspace = Workspace(promoted)
    scored = tmp_path / "s.parquet"
    score(workspace, ScoreRequest(images=f"s3://{BUCKET}/line5/batch", out=scored))
    storage.remove(BUCKET, "line5/batch/dots/dots-000.png")
    report = build_queue(workspace, QueueRequest(budget=5, scores=(scored,)))
    assert (report.images_added, report.files_gone) == (59, 1)
    assert not report.display_failures
    with Ledger.open(workspace, read_settings()) as ledger:
        assert f"s3://{BUCKET}/line5/batch" in {str(root) for root in registered_roots(ledger).values()}
        assert len(find_images(ledger, f"s3://{BUCKET}/line5/batch/dots/dots-001.png")) == 1


def test_bad_objects_are_set_aside_and_nothing_leaves_the_prefix(
    storage: StorageServer, fresh: Workspace, image_folder: Path
) -> None:
    whole = (image_folder / "dots" / "dots-000.png").read_bytes()
    secret = (image_folder / "dots" / "dots-001.png").read_bytes()
    storage.put(BUCKET, "trouble/ok/a.png", whole)
    storage.put(BUCKET, "trouble/ok/torn.png", whole[:200])
    storage.put(BUCKET, "trouble/ok/camera.cr2", b"raw")
    storage.put(BUCKET, "trouble/ok/../../secret.png", secret)
    storage.put(BUCKET, "trouble/ok//double.png", secret)
    storage.put(BUCKET, "trouble/ok/.hidden.png", secret)
    storage.put(BUCKET, "trouble/ok/notes.txt", b"words")
    storage.put(BUCKET, "trouble/empty/", b"")
    storage.put(BUCKET, "trouble-of-others/b.png", secret)
    report = _take_in(fresh, f"s3://{BUCKET}/trouble")
    assert report.added == 1
    reasons = {item.path: item.reason for item in report.quarantined}
    assert set(reasons) == {"ok/torn.png", "ok/camera.cr2", "ok/../../secret.png", "ok//double.png"}
    assert "empty or dotted part" in reasons["ok/../../secret.png"]
    assert any(".txt 1" in warning for warning in report.warnings)
    blobs, images = _blobs(fresh)
    root = images["uri"].iloc[0].partition("/")[0]
    for uri in (f"{root}/../trouble-of-others/b.png", f"{root}/ok//double.png", f"{root}/./ok/a.png"):
        with pytest.raises(NotFound, match="empty or dotted part"):
            blobs.read(uri)


def test_an_object_that_changed_since_ingest_is_noticed(
    storage: StorageServer, fresh: Workspace, tmp_path: Path
) -> None:
    folder = make_images(tmp_path / "few", per_class=2)
    storage.put_folder(BUCKET, "changing", folder)
    address = f"s3://{BUCKET}/changing"
    assert _take_in(fresh, address).added == 6
    same = _take_in(fresh, address)
    assert (same.added, same.already_known) == (0, 6)
    other = make_images(tmp_path / "other", per_class=1, seed=77) / "dots" / "dots-000.png"
    storage.put(BUCKET, "changing/dots/dots-000.png", other.read_bytes())  # within the same second, perhaps
    blobs, images = _blobs(fresh)
    changed = images[images["uri"].str.endswith("dots/dots-000.png")].iloc[0]
    with pytest.raises(
        IntegrityError, match=rf"s3://{BUCKET}/changing/dots/dots-000.png changed since it was ingested"
    ):
        blobs.read(changed["uri"], changed["image_id"])
    with pytest.raises(BadInput, match="is no file on disk, and this needs one"):
        blobs.path(changed["uri"])
    assert _take_in(fresh, address).added == 1
    storage.remove(BUCKET, "changing/plain/plain-000.png")
    gone = images[images["uri"].str.endswith("plain/plain-000.png")].iloc[0]
    with pytest.raises(NotFound, match="cannot be read"):
        blobs.read(gone["uri"], gone["image_id"])
    assert not blobs.is_there(gone["uri"])


def test_look_alikes_among_objects_are_found(storage: StorageServer, fresh: Workspace, tmp_path: Path) -> None:
    chance = np.random.default_rng(3)
    folder = tmp_path / "pairs"
    folder.mkdir()
    for number in range(4):
        picture = np.kron(chance.integers(0, 255, (8, 8)), np.ones((16, 16))).astype(np.uint8)
        Image.fromarray(picture).save(folder / f"{number}-first.png")
        Image.fromarray(np.clip(picture + chance.normal(0, 2, picture.shape), 0, 255).astype(np.uint8)).save(
            folder / f"{number}-second.png"
        )
    storage.put_folder(BUCKET, "pairs", folder)
    on_disk = Workspace(tmp_path / "on-disk")
    initialise(on_disk, "generic")
    found = _take_in(fresh, f"s3://{BUCKET}/pairs").near_duplicates
    assert found == _take_in(on_disk, str(folder)).near_duplicates > 0


def test_a_labels_file_on_disk_names_objects(storage: StorageServer, fresh: Workspace, tmp_path: Path) -> None:
    folder = make_images(tmp_path / "few", per_class=2)
    storage.put_folder(BUCKET, "listed", folder)
    storage.put(BUCKET, "listed/odd/scan", (folder / "dots" / "dots-000.png").read_bytes() + b"\0")
    address = f"s3://{BUCKET}/listed"
    rows = ["image,label", "dots/dots-000.png,round", f"{address}/plain/plain-000.png,flat", "stripes/stripes-001,long"]
    rows += ["../outside.png,flat", "plain/missing.png,flat", "s3://elsewhere/x.png,flat", "odd/scan,round"]
    labels = tmp_path / "labels.csv"
    labels.write_text("\n".join(rows) + "\n")
    report = _take_in(fresh, address, labels=labels, allow_new_classes=True)
    assert sorted(filter(None, _labels(fresh).values())) == ["flat", "long", "round", "round"]
    reasons = {item.path: item.reason for item in report.quarantined}
    assert "outside the folder" in reasons["../outside.png"]
    assert "outside the folder" in reasons["s3://elsewhere/x.png"]
    assert "no such file" in reasons["plain/missing.png"]


def test_custody_of_objects_keeps_them_on_disk(storage: StorageServer, fresh: Workspace, tmp_path: Path) -> None:
    folder = make_images(tmp_path / "few", per_class=2)
    storage.put_folder(BUCKET, "copied", folder)
    assert _take_in(fresh, f"s3://{BUCKET}/copied", copy_files=True).added == 6
    for kind in ("dots", "plain", "stripes"):
        storage.remove(BUCKET, f"copied/{kind}/{kind}-000.png")
    blobs, images = _blobs(fresh)
    assert all(blobs.read(row.uri, row.image_id) for row in images.itertuples())


def test_no_key_reaches_ledger_run_history_or_output(server: StorageServer, tmp_path: Path, new_images: Path) -> None:
    server.put_folder(BUCKET, "quiet", new_images / "dots")
    workspace = tmp_path / "workspace"
    done(workspace, "init", "--profile", "generic")
    answer = tailsight(workspace, "ingest", f"s3://{BUCKET}/quiet", "--json", **server.environment)
    assert answer.code == 0, answer.stderr
    assert answer.json["added"] == 20
    refused = tailsight(workspace, "ingest", "s3://AKIAFAKE:sesame@plant/quiet", **server.environment)
    assert refused.code == 2
    assert "holds credentials" in refused.stderr
    words = [server.environment["AWS_SECRET_ACCESS_KEY"], server.environment["AWS_ACCESS_KEY_ID"], "sesame"]
    written = [answer.stdout, answer.stderr, refused.stdout, refused.stderr]
    written += [file.read_bytes().decode("latin-1") for file in workspace.rglob("*") if file.is_file()]
    assert len(written) > 10
    assert not [word for word in words for text in written if word in text]


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("s3://no-such-bucket/x", "There is no bucket 'no-such-bucket' on this storage."),
        (f"s3://{BUCKET}/nothing-here", "There are no objects under s3://plant/nothing-here."),
        ("s3://x", "'s3://x' is not the address of a bucket."),
        ("gs://plant/images", "Addresses that begin with gs:// are not read."),
    ],
)
def test_an_address_with_nothing_behind_it_is_refused_in_a_sentence(
    storage: StorageServer, fresh: Workspace, address: str, sentence: str
) -> None:
    with pytest.raises(BadInput) as refused:
        _take_in(fresh, address)
    assert refused.value.what == sentence
    assert refused.value.remedy


@pytest.mark.parametrize(
    ("change", "code", "sentence"),
    [
        ({"AWS_ENDPOINT_URL": "http://user:sesame@127.0.0.1:9"}, 1, "The storage of s3://plant does not answer."),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, 2, "does not know who asks"),
    ],
)
def test_a_wrong_environment_is_said_in_a_sentence(
    server: StorageServer, curated: Path, change: dict[str, str], code: int, sentence: str
) -> None:
    answer = tailsight(curated, "ingest", f"s3://{BUCKET}/x", **{**server.environment, **change})
    assert answer.code == code, answer.stderr
    assert sentence in answer.stderr
    assert "Traceback" not in answer.stderr
    assert "sesame" not in answer.stderr


def test_keys_that_the_storage_does_not_know_are_refused(curated: Path, tmp_path: Path) -> None:
    with StorageServer(tmp_path, requests_without_check=1) as strict:
        strict.make_bucket("locked")
        answer = tailsight(curated, "ingest", "s3://locked/images", **strict.environment)
    assert answer.code == 2, answer.stderr
    assert "does not know who asks (InvalidAccessKeyId)" in answer.stderr
    assert "AWS_PROFILE" in answer.stderr


def test_a_missing_extra_is_refused_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_requests, "find_spec", lambda name: None)
    monkeypatch.setattr(object_requests, "_opened", {})
    with pytest.raises(BadInput, match=r"need s3fs, which is not installed. Install it with: pip install"):
        ObjectAddress("plant", "x.png").read_bytes()


@pytest.mark.parametrize(
    "address",
    ["s3://key:secret@plant/x", "s3://plant:9000/x", "s3://plant/x.png?X-Amz-Signature=sesame", "s3://plant/a/../b"],
)
def test_an_address_says_where_and_nothing_else(address: str) -> None:
    with pytest.raises(BadInput) as refused:
        place_of(address)
    assert "secret" not in str(refused.value)
    assert "sesame" not in str(refused.value)


def test_a_look_for_a_profile_needs_a_folder_on_disk(tmp_path: Path) -> None:
    answer = tailsight(tmp_path / "workspace", "init", "--from-images", f"s3://{BUCKET}/line4")
    assert answer.code == 2
    assert "looks at a folder on disk" in answer.stderr
