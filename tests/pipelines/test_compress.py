"""``compress``: real students and pruned networks, measured, chosen under a target, registered once."""

from __future__ import annotations

import functools
import io
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from data_contracts.errors import BadInput, NotFound
from data_contracts.vocabulary import Alias
from data_contracts.workspace import Workspace
from domain_models import deployment_speed, pruning
from domain_models.compression import Choice, CompressionRow
from domain_models.export.kinds import Precision
from domain_models.model_card import read_card
from domain_models.preprocessing import Preprocessing
from pipelines.command_line.summaries_compress import summarise_compress
from pipelines.steps import compress as compress_step
from pipelines.steps import compress_candidates, compress_deployables
from pipelines.steps.cascade import CascadeRequest, cascade
from pipelines.steps.compress import CompressRequest, NothingSmallEnough, compress
from pipelines.steps.compress_candidates import sizes
from pipelines.steps.promote import PromoteRequest, promote
from pipelines.steps.registry import open_registry
from pipelines.steps.score_model import scoring_model
from tests.pipelines.commands import tailsight
from tests.pipelines.conftest import with_champion

SETTINGS = (
    *("backbone=test_resnet", "weights=none", "epochs=6", "probe=false", "cross_fit_folds=0", "batch_size=8"),
    *("preprocessing.height=64", "preprocessing.width=64", "learning_rate=0.002", "dropout=0"),
)
ASKED = {"students": ("test_resnet=none",), "epochs": 1, "overrides": ("batch_size=16",), "max_loss": 100.0}


@pytest.fixture(scope="session")
def champion_workspace(tmp_path_factory: pytest.TempPathFactory, curated_workspace: Path) -> Path:
    """A small champion on 64 px; read only."""
    return with_champion(tmp_path_factory, "compressed", curated_workspace, SETTINGS)


@pytest.fixture(autouse=True)
def few_and_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """One size of students, one width, 8 bits, and measurements of hundredths of a second."""
    quicken(monkeypatch.setattr)


def quicken(change: Callable[[object, str, object], None]) -> None:
    change(compress_candidates, "SCALES", (0.5,))
    change(compress_candidates, "KEPT", (0.5,))
    change(compress_deployables, "PRECISIONS", (Precision.INT8,))
    change(deployment_speed, "_TRYING", 0.01)
    change(compress_step, "images_per_second", functools.partial(deployment_speed.images_per_second, seconds=0.02))
    change(compress_step, "ROUNDS", 1)


@pytest.fixture
def line(champion_workspace: Path, tmp_path: Path) -> Workspace:
    return Workspace(Path(shutil.copytree(champion_workspace, tmp_path / "line")))


def asked(**more: object) -> CompressRequest:
    return CompressRequest.model_validate(ASKED | more)


def versions(workspace: Workspace) -> list[str]:
    with open_registry(workspace) as registry:
        return [info.version for info in registry.versions()]


def packages(workspace: Workspace) -> dict[str, float]:
    """When each network that was trained was written."""
    return {str(path): path.stat().st_mtime for path in workspace.runs.glob("*/package/model.safetensors")}


def test_the_best_under_the_target_is_a_candidate_once_and_computes_as_it_was_measured(line: Workspace) -> None:
    report = compress(line, asked(target_mb=0.6))
    rows = {row.name: row for row in report.rows}
    assert {row.family for row in report.rows} == {"champion", "student", "pruned", "cascade"}
    assert report.rows[0].name == "champion test_resnet 64×64, fp32"
    assert report.rows[0].difference == 0
    eligible = [row for row in report.rows if row.megabytes <= 0.6]
    assert report.chosen is not None
    assert rows[report.chosen].macro_f1 == max(row.macro_f1 for row in eligible)
    assert report.front
    page = Path(report.report).read_text(encoding="utf-8")
    assert report.sentence.split(":")[0] in page
    assert "data:image/png;base64," in page
    written = packages(line)
    again = compress(line, asked(target_mb=0.6))
    assert (again.model_version, again.chosen, again.rows) == (report.model_version, report.chosen, report.rows)
    assert packages(line) == written

    pruned = next(row for row in report.rows if row.family == "pruned" and row.runtime == "openvino")
    least = compress(line, asked(target_mb=min(row.megabytes for row in report.rows)))
    assert packages(line) == written, "another target trains nothing again"
    assert least.chosen is not None
    assert rows[least.chosen].family == "pruned"
    assert least.model_version is not None
    with open_registry(line) as registry:
        assert registry.alias(Alias.CANDIDATE) == least.model_version
        card = read_card(registry.package(least.model_version))
    assert card.parents == ("1",)
    assert card.architecture.widths
    assert any(sentence.startswith("Taught by model version 1") for sentence in card.choices)
    assert pruned.megabytes < rows["champion test_resnet 64×64, fp32"].megabytes / 2
    scoring = scoring_model(line, "candidate")
    assert scoring.runtime == rows[least.chosen].runtime
    if scoring.manifest is not None:
        assert scoring.manifest.model_version == least.model_version
        assert scoring.manifest.size_bytes / 1e6 == rows[least.chosen].megabytes
    judged = promote(line, PromoteRequest(who="tester", why="smaller", override=True))
    assert (judged.promoted, judged.previous) == (True, "1")

    known = versions(line)
    with pytest.raises(NothingSmallEnough, match="Nothing has at most 1e-05 MB; nothing was registered") as nothing:
        compress(line, asked(target_mb=1e-5, model="1"))
    assert nothing.value.exit_code == 1
    assert nothing.value.report.model_version is None
    assert versions(line) == known
    console = Console(file=io.StringIO(), width=160)
    summarise_compress(report.model_dump(mode="json"), console)
    told = console.file.getvalue()  # type: ignore[attr-defined]
    assert f"▶ {report.chosen}" in told
    assert report.sentence in told


def test_what_cannot_be_made_is_left_out_with_its_reason_and_the_champion_itself_registers_nothing(
    line: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "find_spec", lambda _: None)
    monkeypatch.setattr(compress_deployables, "PRECISIONS", ())
    report = compress(line, asked(target_ms=1000.0, students=("mobilenetv3_small_100",)))
    assert [row.family for row in report.rows] == ["champion"]
    student, pruned = list(report.left_out.items())
    assert student[0] == "student mobilenetv3_small_100 32×32"
    assert "No ImageNet weights of mobilenetv3_small_100 come with the installation" in student[1]
    assert "--student mobilenetv3_small_100=hub" in student[1]
    assert "torch-pruning, which is not installed" in pruned[1]
    assert report.model_version is None
    assert "The champion itself does it" in report.remark
    assert versions(line) == ["1"]


@pytest.mark.slow
def test_no_training_begins_once_the_minutes_are_spent_and_more_minutes_go_on(
    line: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compress_deployables, "PRECISIONS", ())
    first = compress(line, asked(target_ms=1000.0, minutes=0.001))
    assert [row.family for row in first.rows] == ["champion", "student", "cascade"]
    (reason,) = first.left_out.values()
    assert "minutes were spent" in reason
    more = compress(line, asked(target_ms=1000.0, minutes=60))
    assert [row.family for row in more.rows] == ["champion", "student", "pruned", "cascade"]


@pytest.mark.slow
def test_a_cascade_of_student_and_champion_competes_and_becomes_the_same_version_as_by_its_own_command(
    line: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compress_candidates, "KEPT", ())
    monkeypatch.setattr(compress_deployables, "PRECISIONS", ())

    def the_cascade(rows: list[CompressionRow], *_: object) -> Choice:
        return Choice(chosen=rows[-1].name, sentence="Whatever it costs.")

    monkeypatch.setattr(compress_step, "choose", the_cascade)
    report = compress(line, asked(target_ms=1000.0))
    champion, student, both = report.rows
    assert (both.family, both.runtime) == ("cascade", "openvino")
    assert both.name == "student test_resnet 32×32 before the champion, within 100 points, fp32"
    assert both.megabytes == pytest.approx(champion.megabytes + student.megabytes)
    assert (both.width, both.height) == (champion.width, champion.height)
    with open_registry(line) as registry:
        assert registry.alias(Alias.CANDIDATE) == report.model_version == "3"
        card = read_card(registry.package("3"))
    assert card.cascade is not None
    assert (card.cascade.large, card.cascade.first, card.parents) == ("1", "2", ("1", "2"))
    assert card.choices[-1] == card.cascade.in_words
    assert "model version 2 answers an image alone" in card.choices[-1]
    again = compress(line, asked(target_ms=1000.0))
    by_hand = cascade(line, CascadeRequest(first="2", model="1", max_loss=100.0))
    assert (again.model_version, by_hand.model_version, by_hand.reused) == ("3", "3", True)
    with pytest.raises(BadInput, match="Model version 3 is a cascade, which is two models"):
        compress(line, asked(target_ms=1000.0, model="3"))
    assert versions(line) == ["3", "2", "1"]


def test_mistakes_are_told_before_any_work(line: Workspace, curated: Path) -> None:
    neither = tailsight(line.folder, "compress", "--json")
    assert neither.code == 2
    assert neither.json["error"]["what"].startswith("Neither of --target-ms and --target-size")
    with pytest.raises(BadInput, match="Both of"):
        compress(line, asked(target_ms=1.0, target_mb=1.0))
    with pytest.raises(NotFound, match="There is no champion yet"):
        compress(Workspace(curated), asked(target_ms=1.0))
    with pytest.raises(BadInput, match="compress decides this itself"):
        compress(line, asked(target_ms=1.0, overrides=("backbone=resnet18",)))
    with pytest.raises(BadInput, match="did you mean 'learning_rate'"):
        compress(line, asked(target_ms=1.0, overrides=("lerning_rate=1",)))
    assert not list(line.runs.glob("compress-*"))


def test_students_see_what_can_be_made_of_the_champions_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compress_candidates, "SCALES", (0.71, 0.57, 1.0))
    whole = Preprocessing(height=224, width=160)
    small, smaller, same = sizes(whole)
    assert (small.height, small.width, small.reduced_from) == (160, 112, (224, 160))
    assert (smaller.height, smaller.width) == (128, 96)
    assert same == whole
    assert small.larger().pixel_key == whole.pixel_key
    assert [spec.height for spec in sizes(Preprocessing(height=32, width=32))] == [32]


SCRIPT = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from data_contracts.workspace import Workspace
from pipelines.steps.compress import compress
from tests.pipelines.test_compress import asked, quicken
quicken(setattr)
print(compress(Workspace(Path(sys.argv[1])), asked(target_mb=0.3, epochs=4)).model_dump_json())
"""


@pytest.mark.slow
def test_killed_in_several_places_the_same_call_ends_where_an_uninterrupted_one_ends(
    line: Workspace, champion_workspace: Path, tmp_path: Path
) -> None:
    script = SCRIPT.format(root=str(Path(__file__).parents[2]))
    signs = ("*/epoch.pt", "*/package/model.json", "*/artefacts/*/manifest.json")
    known = {path for sign in signs for path in line.runs.glob(sign)}  # the champion's
    for sign in signs:  # in a training, after one, and among conversions
        process = subprocess.Popen([sys.executable, "-c", script, str(line.folder)], stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 200
            while not set(line.runs.glob(sign)) - known:
                assert process.poll() is None, "it ended before it could be killed"
                assert time.monotonic() < deadline
                time.sleep(0.005)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert versions(line) == ["1"]
    resumed = json.loads(subprocess.run([sys.executable, "-c", script, str(line.folder)], check=True, stdout=-1).stdout)
    quiet = Workspace(Path(shutil.copytree(champion_workspace, tmp_path / "quiet")))
    whole = compress(quiet, asked(target_mb=0.3, epochs=4))
    for mine, other in zip(resumed["rows"], whole.rows, strict=True):
        assert (mine["name"], mine["macro_f1"], mine["difference"]) == (other.name, other.macro_f1, other.difference)
        assert mine["megabytes"] == pytest.approx(other.megabytes, rel=1e-3)  # a toolkit writes numbers of its own
    assert (resumed["chosen"], resumed["model_version"]) == (whole.chosen, whole.model_version)
    assert versions(line) == versions(quiet) == ["2", "1"]


@pytest.mark.slow
def test_a_mobilenet_can_be_a_student(line: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compress_candidates, "KEPT", ())
    monkeypatch.setattr(compress_candidates, "SCALES", (1.0,))
    report = compress(line, asked(target_ms=1000.0, students=("mobilenetv3_small_100=none",), epochs=2))
    names = [row.name for row in report.rows if row.family == "student"]
    assert names[0] == "student mobilenetv3_small_100 64×64, fp32"
    cards = [read_card(path.parent) for path in line.runs.glob("*/package/model.json")]
    (card,) = [card for card in cards if card.architecture.backbone == "mobilenetv3_small_100"]
    assert card.config["teacher"]["model"] == "1"
    assert card.parents == ("1",)
