"""`tailsight serve`: what it answers, what it refuses, and that it says the same as batch scoring."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data_contracts.blobs import image_id_of
from data_contracts.workspace import Workspace
from deploy.client import Client, Prediction, ServerAway, ServerRefused
from pipelines.steps.score import ScoreRequest, score
from tests.pipelines.served import Served, multipart, served

NUMBERS = ("confidence", "margin", "entropy")


@pytest.fixture(scope="module")
def server(promoted_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Small limits, so that they can be reached."""
    log = tmp_path_factory.mktemp("serve") / "serve.log"
    limits = ("--max-images", "100", "--max-image-mb", "0.5", "--max-request-mb", "1")
    with served(promoted_workspace, log, *limits) as running:
        yield running


def test_a_served_prediction_is_the_row_that_scoring_writes(
    server: Served, promoted: Path, new_images: Path, tmp_path: Path
) -> None:
    score(Workspace(promoted), ScoreRequest(images=str(new_images), out=tmp_path / "scores.parquet"))
    rows = pd.read_parquet(tmp_path / "scores.parquet")
    good = rows[rows["error"].isna()]
    assert len(good) == 60
    with ThreadPoolExecutor(16) as pool:  # so that some are computed together
        answers = list(pool.map(server.predict, map(Path, good["path"])))
    for (_, row), answer in zip(good.iterrows(), answers, strict=True):
        assert answer.status == 200, answer.body
        said = answer.json
        for name in ("image_id", "predicted", "decision", "reason", "model_version"):
            assert said[name] == row[name], name
        assert said["conformal_set"] == list(row["conformal_set"])
        assert list(said["probabilities"]) == ["dots", "plain", "stripes"]
        # how many are computed together may move the last digits
        assert np.allclose([said[name] for name in NUMBERS], [row[name] for name in NUMBERS], atol=1e-5)
        scored = [row[f"prob_{name}"] for name in said["probabilities"]]
        assert np.allclose(list(said["probabilities"].values()), scored, atol=1e-5)


def test_images_of_requests_at_the_same_time_are_computed_together(server: Served, new_images: Path) -> None:
    def together() -> float:
        lines = server.get("/metrics").body.decode().splitlines()
        return float(next(line.split()[1] for line in lines if line.startswith("tailsight_batch_images_sum")))

    data = {f"{number}.png": (new_images / "dots" / f"dots-{number:03d}.png").read_bytes() for number in range(20)}
    before = together()
    answer = server.ask("POST", "/v1/predict-many", *multipart(data))
    assert answer.status == 200
    assert together() - before > 40, "each of twenty images was computed with more than one other"


def test_one_bad_image_among_several_fails_no_other(server: Served, new_images: Path) -> None:
    good = (new_images / "plain" / "plain-001.png").read_bytes()
    body, headers = multipart({"first.png": good, "torn.png": good[:200], "notes.png": b"a letter", "last.png": good})
    answer = server.ask("POST", "/v1/predict-many", body, headers)
    assert answer.status == 200
    outcomes = answer.json["outcomes"]
    assert [one["name"] for one in outcomes] == ["first.png", "torn.png", "notes.png", "last.png"]
    assert [one["prediction"] is None for one in outcomes] == [False, True, True, False]
    assert outcomes[0]["prediction"]["image_id"] == image_id_of(good)
    assert outcomes[2]["error"]["what"] == "The file is not an image: it holds plain text."
    assert outcomes[2]["error"]["remedy"]


def test_one_image_may_come_as_a_form_or_as_it_is(server: Served, new_images: Path) -> None:
    data = (new_images / "dots" / "dots-001.png").read_bytes()
    form = server.ask("POST", "/v1/predict", *multipart({"dots.png": data}, field="image"))
    raw = server.ask("POST", "/v1/predict", data, {"Content-Type": "image/png"})
    assert form.status == raw.status == 200
    assert form.json["predicted"] == raw.json["predicted"] == "dots"
    assert form.json["image_id"] == raw.json["image_id"]


def _huge() -> bytes:
    out = io.BytesIO()
    Image.new("1", (12_000, 12_000)).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize(
    ("body", "headers", "status", "what"),
    [
        (b"", {}, 422, "There is no image in the request"),
        (b"not an image at all", {}, 422, "The file is not an image"),
        (b"x" * 600_000, {}, 413, "The image has 0.6 MB; the limit is 0.5"),
        (b"x" * 1_100_000, {}, 413, "The request has more than 1 MB"),
        (_huge(), {}, 413, "144 megapixels; the limit is 120"),
        (b"--x", {"Content-Type": "multipart/form-data"}, 400, "Missing boundary in multipart"),
        (*multipart({}), 422, "There is no image in the request"),
        (*multipart({"a": b"1", "b": b"2"}), 422, "There are several images"),
        (*multipart({str(number): b"1" for number in range(101)}), 413, "more than 100 images"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_a_sentence(
    server: Served, body: bytes, headers: dict[str, str], status: int, what: str
) -> None:
    answer = server.ask("POST", "/v1/predict", body, headers)
    assert answer.status == status
    assert what in answer.json["error"]["what"]
    assert "Traceback" not in server.log.read_text()


def test_a_body_of_unknown_length_is_cut_off_at_the_limit(server: Served) -> None:
    answer = server.ask("POST", "/v1/predict", iter([b"x" * 400_000] * 4))  # type: ignore[arg-type]
    assert answer.status == 413


def test_an_address_that_nobody_serves_is_told_as_json(server: Served) -> None:
    assert server.get("/v2/predict").status == 404
    assert server.get("/v2/predict").json["error"]["what"] == "There is nothing here."
    assert server.get("/v1/predict").status == 405


def test_the_card_says_what_answers_and_nothing_of_where_it_lies(server: Served, promoted_workspace: Path) -> None:
    answer = server.get("/v1/model")
    card = answer.json
    assert card["model_version"] == "1"
    assert card["classes"] == ["dots", "plain", "stripes"]
    assert card["runtime"] == "openvino"
    assert (card["input"]["height"], card["input"]["width"]) == (32, 32)
    assert str(promoted_workspace) not in answer.body.decode()
    assert "config" not in card


def test_the_interface_is_typed(server: Served) -> None:
    document = server.get("/openapi.json").json
    assert set(document["paths"]) == {
        *("/v1/predict", "/v1/predict-many", "/v1/model", "/health", "/ready", "/metrics")
    }
    predict = document["paths"]["/v1/predict"]["post"]
    assert set(predict["responses"]) >= {"200", "401", "413", "422", "503", "504"}
    assert predict["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].endswith("/Prediction")
    assert predict["responses"]["503"]["content"]["application/json"]["schema"]["$ref"].endswith("/ProblemAnswer")
    assert set(predict["requestBody"]["content"]) == {"multipart/form-data", "application/octet-stream", "image/*"}
    prediction = document["components"]["schemas"]["Prediction"]
    assert set(prediction["required"]) == set(Prediction.__dataclass_fields__), "the client reads what is promised"
    assert prediction["properties"]["decision"]["enum"] == ["auto", "review"]


def test_figures_count_requests_by_route_and_status(server: Served, new_images: Path) -> None:
    def count(labels: str) -> float:
        lines = server.get("/metrics").body.decode().splitlines()
        found = [line for line in lines if line.startswith(f"tailsight_http_requests_total{{{labels}}}")]
        return float(found[0].split()[1]) if found else 0.0

    good, bad = 'route="/v1/predict",status="200"', 'route="/v1/predict",status="422"'
    before = count(good), count(bad)
    server.predict(new_images / "dots" / "dots-000.png")
    server.predict(b"nothing")
    assert (count(good), count(bad)) == (before[0] + 1, before[1] + 1)
    text = server.get("/metrics").body.decode()
    assert 'tailsight_model_info{runtime="openvino",version="1"} 1.0' in text
    assert "tailsight_workers_ready 1.0" in text


def test_the_client_reads_predictions_and_refusals(server: Served, new_images: Path, tmp_path: Path) -> None:
    image = new_images / "stripes" / "stripes-000.png"
    (tmp_path / "letter.txt").write_text("a letter")
    with Client(f"http://127.0.0.1:{server.port}") as client:
        said = client.predict(image)
        assert said.predicted == "stripes"
        assert said == client.predict(image.read_bytes())
        first, second = client.predict_many([image, tmp_path / "letter.txt"])
        assert isinstance(first, Prediction)
        assert first.image_id == said.image_id
        assert isinstance(second, ServerRefused)
        assert "plain text" in str(second)
        assert client.model()["model_version"] == "1"
        with pytest.raises(ServerRefused, match="not an image") as refused:
            client.predict(b"a letter")
        assert refused.value.status == 422


def test_the_client_asks_an_absent_server_again_before_it_gives_up() -> None:
    began = time.monotonic()
    with Client("http://127.0.0.1:9", attempts=2) as client, pytest.raises(ServerAway, match="asked 2 times"):
        client.predict(b"an image")
    assert time.monotonic() - began > 0.2


def test_start_up_says_what_answers_and_where(server: Served) -> None:
    assert server.said == {
        "workspace": server.said["workspace"],
        "address": f"http://localhost:{server.port}",
        "port": server.port,
        "model_version": "1",
        "runtime": "openvino",
        "workers": 1,
        "asks_for_keys": False,
    }
    assert json.loads(server.get("/health").body) == {"status": "ok"}
