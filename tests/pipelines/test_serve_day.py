"""A server's day: the champion moves, a worker dies, too many ask, keys are wrong, the end comes."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from PIL import Image

from data_contracts.blobs import image_id_of
from data_contracts.errors import BadInput
from data_contracts.ledger.connect import Ledger
from data_contracts.review.tasks import tasks_frame
from data_contracts.workspace import Workspace
from deploy.client import Client, ServerRefused
from pipelines.command_line import verbs_serve
from pipelines.serving.keys import add_key, read_keys
from pipelines.serving.served_model import find_model
from pipelines.steps.promote import PromoteRequest, promote
from pipelines.steps.queue import QueueRequest, build_queue
from pipelines.steps.score import ScoreRequest, score
from pipelines.steps.taxonomy import rename_class
from pipelines.steps.train import TrainRequest, train
from tests.pipelines.commands import TINY_SETTINGS, tailsight, texture
from tests.pipelines.served import Reply, Served, eventually, multipart, serve_command, served


class Askers:
    """Clients that ask without a pause from threads of their own until they are stopped."""

    def __init__(self, server: Served, images: list[Path], threads: int = 8) -> None:
        self.answers: list[list[Reply]] = [[] for _ in range(threads)]
        self.readiness: list[int] = []
        self._server, self._images = server, images
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(threads)]
        self._threads.append(threading.Thread(target=self._look))

    def __enter__(self) -> Askers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def versions(self) -> set[str]:
        return {one[-1].json["model_version"] for one in self.answers if one and one[-1].status == 200}

    def _ask(self, number: int) -> None:
        while not self._over.is_set():
            image = self._images[(number + len(self.answers[number])) % len(self._images)]
            self.answers[number].append(self._server.predict(image))

    def _look(self) -> None:
        while not self._over.is_set():
            self.readiness.append(self._server.get("/ready").status)
            time.sleep(0.05)


@pytest.mark.slow
def test_when_the_champion_moves_no_request_fails_and_every_answer_is_of_the_version_that_it_names(
    promoted: Path, new_images: Path, tmp_path: Path
) -> None:
    workspace = Workspace(promoted)
    larger = ("preprocessing.height=40", "preprocessing.width=40", *TINY_SETTINGS[2:])  # another shape of pixels, too
    train(workspace, TrainRequest(preset="quick", overrides=larger))
    images = [new_images / "dots" / f"dots-{number:03d}.png" for number in range(8)]
    expected = {}
    for version in ("1", "2"):
        out = tmp_path / f"{version}.parquet"
        score(workspace, ScoreRequest(images=str(new_images / "dots"), out=out, model=version))
        expected[version] = _confidences(out)
    assert expected["1"] != expected["2"]
    with served(promoted, tmp_path / "log", "--workers", "2") as server, Askers(server, images) as askers:
        eventually(lambda: askers.versions() == {"1"})
        promote(workspace, PromoteRequest(who="tester", why="second", version="2", override=True))
        eventually(lambda: askers.versions() == {"2"})
        assert server.get("/v1/model").json["model_version"] == "2"
        assert b"tailsight_model_swaps_total 1.0" in server.get("/metrics").body
    assert {reply.status for answers in askers.answers for reply in answers} == {200}
    assert set(askers.readiness) == {200}
    for answers in askers.answers:
        said = [reply.json for reply in answers]
        versions = [one["model_version"] for one in said]
        assert versions == sorted(versions), "nobody sees the former model once they saw the next"
        for one in said:
            assert one["confidence"] == pytest.approx(expected[one["model_version"]][one["image_id"]], abs=1e-5)


def _confidences(scores: Path) -> dict[str, float]:
    frame = pd.read_parquet(scores)
    return dict(zip(frame["image_id"], frame["confidence"], strict=True))


def test_a_worker_that_dies_is_noticed_and_replaced_and_what_it_had_is_computed_again(
    promoted: Path, new_images: Path, tmp_path: Path
) -> None:
    image = new_images / "dots" / "dots-000.png"
    with served(promoted, tmp_path / "log") as server, ThreadPoolExecutor(8) as pool:
        (worker,) = server.workers()
        worker.suspend()  # so that requests are under way when it dies
        asked = [pool.submit(server.predict, image) for _ in range(8)]
        eventually(lambda: b"tailsight_waiting_images 8.0" in server.get("/metrics").body)
        worker.kill()
        eventually(lambda: server.get("/ready").status == 503)
        assert server.get("/ready").json["workers_ready"] == 0
        assert [one.result().status for one in asked] == [200] * 8
        eventually(lambda: server.get("/ready").status == 200)
        assert server.get("/ready").json["restarts"] == 1
        (other,) = server.workers()
        assert other.pid != worker.pid


def test_on_sigterm_everything_under_way_is_answered_and_nothing_is_left(
    promoted: Path, new_images: Path, tmp_path: Path
) -> None:
    image = new_images / "dots" / "dots-000.png"
    with served(promoted, tmp_path / "log") as server, ThreadPoolExecutor(8) as pool:
        family = server.family()
        (worker,) = server.workers()
        worker.suspend()
        asked = [pool.submit(server.predict, image) for _ in range(8)]
        eventually(lambda: b"tailsight_waiting_images 8.0" in server.get("/metrics").body)
        os.killpg(server.process.pid, signal.SIGTERM)  # as a service manager does: to the workers, too
        time.sleep(0.3)
        worker.resume()
        assert server.process.wait(30) == 0
        assert [one.result().status for one in asked] == [200] * 8
        _, alive = psutil.wait_procs(family, timeout=5)
        assert not alive


@pytest.mark.slow
def test_a_killed_server_leaves_no_process_behind(promoted: Path, tmp_path: Path) -> None:
    with served(promoted, tmp_path / "log") as server:
        family = server.family()
        assert len(family) >= 2
        server.end(signal.SIGKILL)
        _, alive = psutil.wait_procs(family, timeout=20)
        assert not alive


def test_more_than_the_server_takes_is_turned_away_at_once_and_late_answers_are_given_up(
    promoted: Path, new_images: Path, tmp_path: Path
) -> None:
    image = new_images / "dots" / "dots-000.png"
    options = ("--max-images", "4", "--max-waiting", "4", "--timeout", "2")
    with served(promoted, tmp_path / "log", *options) as server, ThreadPoolExecutor(16) as pool:
        (worker,) = server.workers()
        worker.suspend()
        answers = list(pool.map(lambda _: server.predict(image), range(16)))
        worker.resume()
        late = [one for one in answers if one.status == 504]
        turned_away = [one for one in answers if one.status == 503]
        assert (len(late), len(turned_away)) == (4, 12)
        assert late[0].json["error"]["what"] == "The answer took longer than 2 seconds."
        assert turned_away[0].headers["retry-after"] == "1"
        assert "4 images wait already" in turned_away[0].json["error"]["what"]
        many = server.ask("POST", "/v1/predict-many", *multipart({str(n): image.read_bytes() for n in range(5)}))
        assert many.status == 413
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as slow:
            slow.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nonly this")
            assert slow.recv(100).startswith(b"HTTP/1.1 408")
        eventually(lambda: server.predict(image).status == 200)
        assert b"tailsight_waiting_images 0.0" in server.get("/metrics").body


def test_who_has_no_key_gets_nothing_and_no_key_is_ever_written_down(
    promoted: Path, new_images: Path, tmp_path: Path
) -> None:
    image = new_images / "dots" / "dots-000.png"
    file, log = tmp_path / "keys", tmp_path / "log"
    key, other = add_key(file, "line4"), "a-key-of-the-environment"
    with served(promoted, log, "--keys-file", str(file), "--host", "0.0.0.0", TAILSIGHT_SERVE_KEYS=other) as server:
        assert server.said["asks_for_keys"]
        for path in ("/v1/model", "/metrics"):
            assert server.get(path).status == 401
            assert server.get(path, **{"X-API-Key": key[:-1]}).status == 401
            assert server.get(path, **{"X-API-Key": key}).status == 200
            assert server.get(path, **{"X-API-Key": other}).status == 200
        assert server.predict(image).status == 401
        assert server.predict(image, Authorization=f"Bearer {key}").status == 200
        assert server.get("/health").status == server.get("/ready").status == 200
        with Client(f"http://127.0.0.1:{server.port}", key=key) as client:
            assert client.predict(image).predicted == "dots"
        guessing = Client(f"http://127.0.0.1:{server.port}", key="guessed")
        with guessing, pytest.raises(ServerRefused, match="asks for an API key"):
            guessing.predict(image)
        said = log.read_text() + str(server.said) + server.get("/metrics", **{"X-API-Key": key}).body.decode()
    assert key not in said + file.read_text()
    assert other not in said
    assert file.stat().st_mode & 0o777 == 0o600


def test_keys_are_read_as_they_are_or_as_hashes_and_short_or_open_ones_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    key = add_key(file, "line4")
    add_key(file, "line5")
    assert read_keys(None, file).open_for(key)
    assert not read_keys(None, file).open_for(None)
    assert not read_keys(None, None)
    assert re.fullmatch(r"(line\d sha256:[0-9a-f]{64}\n){2}", file.read_text())
    assert read_keys("twenty-characters-key, another-key-of-a-length", None).open_for("another-key-of-a-length")
    with pytest.raises(BadInput, match="An entry of TAILSIGHT_SERVE_KEYS is neither") as refused:
        read_keys("short-secret", None)
    assert "short-secret" not in str(refused.value)
    file.chmod(0o640)
    with pytest.raises(BadInput, match="Others may read or change the key file"):
        read_keys(None, file)
    with pytest.raises(BadInput, match="Others may read or change the key file"):
        add_key(file, "line6")


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("--host", "0.0.0.0"), "Without an API key the server listens on this machine alone, not on 0.0.0.0."),
        (("--host", "203.0.113.9", "--without-keys"), "The server cannot listen on 203.0.113.9:8000"),
        (("--model", "9"), "There is no model version '9'"),
        (("--runtime", "abacus", "--port", "0"), "There is no runtime 'abacus'"),
        (("--log-automatic",), "--log-automatic adds to --log-predictions"),
        (("--new-key", "line4"), "--new-key needs a file for the key's hash"),
    ],
)
def test_what_cannot_be_served_ends_with_a_sentence_and_exit_code_2(
    promoted_workspace: Path, words: tuple[str, ...], what: str
) -> None:
    run = subprocess.run(serve_command(promoted_workspace, *words), capture_output=True, text=True, timeout=60)
    assert run.returncode == 2
    assert what in run.stderr
    assert "Traceback" not in run.stderr


def test_a_port_that_is_taken_is_named(promoted_workspace: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        command = serve_command(promoted_workspace, "--port", str(port))
        run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert run.returncode == 2
    assert f"The server cannot listen on 127.0.0.1:{port}" in run.stderr


def test_without_the_extra_the_verb_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verbs_serve, "_NEEDED", ("fastapi", "a_package_that_nobody_has"))
    with pytest.raises(BadInput, match=r"not installed \(a_package_that_nobody_has\)") as refused:
        verbs_serve._require_extra()
    assert refused.value.remedy == "Run `pip install 'tailsight[serve]'`."


def test_an_uncertain_image_that_was_served_waits_in_the_review_queue(promoted: Path, tmp_path: Path) -> None:
    workspace = Workspace(promoted)
    uncertain, certain = _uncertain_and_certain(workspace, tmp_path / "candidates")
    with served(promoted, tmp_path / "log", "--log-predictions") as server:
        doubted, plain = server.predict(uncertain), server.predict(certain)
        assert doubted.json["decision"] == "review"
        server.predict(uncertain)  # asked twice, asked about once
        assert server.end() == 0
    kept = sorted(path.name for path in workspace.served.iterdir())
    doubted_id = image_id_of(uncertain.read_bytes())
    assert f"{doubted_id}.png" in kept
    assert (workspace.served / f"{doubted_id}.png").stat().st_mode & 0o777 == 0o600
    if plain.json["decision"] == "auto":
        assert f"{plain.json['image_id']}.png" not in kept
    report = build_queue(workspace, QueueRequest(budget=10))
    assert report.hold >= 1
    with Ledger.open(workspace) as ledger:
        subjects = list(tasks_frame(ledger)["subject_id"])
    assert subjects.count(doubted_id) == 1


def _uncertain_and_certain(workspace: Workspace, folder: Path) -> tuple[Path, Path]:
    """Two images that were never seen: one that the model wants a person to look at, and the one it is surest of."""
    chance = np.random.default_rng(77)
    folder.mkdir()
    for number in range(24):
        stripes, dots = (texture(kind, chance).astype(float) for kind in ("stripes", "dots"))
        share = number / 23
        pixels = share * stripes + (1 - share) * dots
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"blend-{number:02d}.png")
    out = folder / "scores.parquet"
    score(workspace, ScoreRequest(images=str(folder), out=out))
    rows = pd.read_parquet(out).sort_values("confidence")
    shutil.rmtree(workspace.scores)  # what the server keeps is to be all that the queue knows
    assert rows["decision"].iloc[0] == "review"
    return Path(rows["path"].iloc[0]), Path(rows["path"].iloc[-1])


@pytest.mark.slow
def test_the_kept_images_never_take_more_room_than_they_may(promoted: Path, tmp_path: Path) -> None:
    chance = np.random.default_rng(3)
    images = []
    for number in range(3):
        path = tmp_path / f"{number}.png"
        Image.fromarray(chance.integers(0, 255, (800, 800)).astype("uint8")).save(path)
        images.append(path)
    assert images[0].stat().st_size > 500_000
    options = ("--log-predictions", "--log-automatic", "--log-max-mb", "1")
    with served(promoted, tmp_path / "log", *options) as server:
        assert [server.predict(image).status for image in images] == [200] * 3
        eventually(lambda: b"tailsight_not_kept_images_total 2.0" in server.get("/metrics").body)
    assert len(list(Workspace(promoted).served.iterdir())) == 1
    assert "Predictions are not kept any more" in (tmp_path / "log").read_text()


@pytest.mark.slow
def test_a_renamed_class_is_told_by_its_new_name_without_a_new_start(
    promoted: Path, new_images: Path, tmp_path: Path
) -> None:
    image = new_images / "dots" / "dots-000.png"
    with served(promoted, tmp_path / "log") as server:
        assert server.predict(image).json["predicted"] == "dots"
        rename_class(Workspace(promoted), "dots", "speckles", who="tester", why="as people say")
        eventually(lambda: server.predict(image).json["predicted"] == "speckles")
        assert list(server.predict(image).json["probabilities"]) == ["speckles", "plain", "stripes"]
        assert server.get("/v1/model").json["classes"] == ["speckles", "plain", "stripes"]


def test_the_key_of_a_model_tells_versions_and_class_names_apart(promoted_workspace: Path) -> None:
    model = find_model(Workspace(promoted_workspace), "champion", "auto")
    assert model.key == "1-openvino@1"


def test_a_new_key_is_shown_once_and_works(promoted: Path, tmp_path: Path) -> None:
    answer = tailsight(promoted, "serve", "--new-key", "line4", "--keys-file", str(tmp_path / "keys"), "--json")
    assert answer.code == 0, answer.stderr
    assert read_keys(None, tmp_path / "keys").open_for(answer.json["key"])
