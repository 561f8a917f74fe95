"""The command line as a user and a script meet it."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.command_line.app import app
from tests.pipelines.commands import done, started_anew, tailsight
from tests.small_disk import enlarge
from tests.small_disk import small_disk as small_disk

VERBS = [
    *("demo", "init", "ingest", "curate", "train", "evaluate", "promote", "rollback", "models"),
    *("score", "report", "doctor", "labels", "queue", "review", "retrain", "decisions", "taxonomy"),
    *("up", "simulate", "backbones", "pretrain"),
]


def test_help_answers_within_a_second_and_names_every_verb(tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        answer = started_anew(tmp_path / "w", "--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        # processor time: other tests keep the cores busy
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert answer.code == 0
    assert all(f"  {verb} " in answer.stdout for verb in VERBS)
    assert 0.05 < min(seconds) < 1.0


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys; import pipelines.command_line.app;"
        "print([m for m in ('torch','dagster','mlflow','pandas','albumentations','sqlalchemy') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str) -> None:
    answer = CliRunner().invoke(app, [verb, "--help"], prog_name="tailsight")
    assert answer.exit_code == 0
    assert f"Usage: tailsight {verb}" in answer.output


MISTAKES = [
    (
        ("frobnicate",),
        "No such command 'frobnicate'.",
        "See `tailsight --help`.",
    ),
    (
        ("trian",),
        "No such command 'trian'. Did you mean 'train', 'retrain', 'pretrain'?",
        "See `tailsight --help`.",
    ),
    (
        ("init", "--profile", "generc"),
        "There is no profile 'generc'.",
        "Did you mean 'generic'?",
    ),
    (
        ("promote", "--by", "me"),
        "Missing option '--why'.",
        "See `tailsight promote --help`.",
    ),
    (
        ("curate", "--seed", "minus"),
        "Invalid value for '--seed': Input should be a valid integer, unable to parse string as an integer",
        "See `tailsight curate --help`.",
    ),
    (
        ("curate", "--fractions", "0.7,0.2"),
        "Invalid value: '0.7,0.2' is not three shares that add up to 1, such as 0.7,0.2,0.1",
        "See `tailsight curate --help`.",
    ),
]


@pytest.mark.parametrize(("words", "what", "remedy"), MISTAKES)
def test_a_mistake_is_answered_word_for_word(tmp_path: Path, words: tuple[str, ...], what: str, remedy: str) -> None:
    answer = tailsight(tmp_path / "w", *words)
    assert answer.code == 2
    assert answer.stdout == ""
    assert answer.stderr == f"tailsight: {what}\n  Do:  {remedy}\n"


def test_a_folder_that_is_no_workspace_is_named_with_the_command_that_makes_one(tmp_path: Path) -> None:
    folder = tmp_path / "w"
    folder.mkdir()
    for words in (("curate",), ("train",), ("models",), ("labels", "verify"), ("score", ".", "--out", "s.parquet")):
        answer = tailsight(folder, *words)
        assert answer.code == 2, words
        assert answer.stderr == (
            f"tailsight: {folder} is not a Tailsight workspace (no tailsight.yaml).\n"
            "  Do:  Make one with `tailsight --workspace DIR init --profile generic`, or give its --workspace.\n"
        )


def test_with_json_an_error_is_one_object_on_stdout_and_words_on_stderr(tmp_path: Path) -> None:
    answer = tailsight(tmp_path / "w", "init", "--profile", "generc", "--json")
    assert answer.code == 2
    assert answer.json == {
        "error": {"what": "There is no profile 'generc'.", "cause": None, "remedy": "Did you mean 'generic'?"}
    }
    assert "There is no profile 'generc'." in answer.stderr


def test_init_makes_a_workspace_once_and_never_overwrites_a_profile(tmp_path: Path) -> None:
    folder = tmp_path / "line 4" / "wörk"
    first = done_in(folder, "init", "--profile", "generic")
    assert first["created"] is True
    again = done_in(folder, "init", "--profile", "generic")
    assert again["created"] is False
    other = tailsight(folder, "init", "--profile", "solar-el", "--json")
    assert other.code == 2
    assert other.json["error"]["what"] == f"{folder} is already a workspace, with the profile 'generic'."
    assert (folder / "ledger.key").stat().st_mode & 0o777 == 0o600


def done_in(folder: Path, *words: str) -> dict[str, object]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    return dict(done(folder, *words))


def test_init_takes_a_profile_file_and_names_its_mistakes(tmp_path: Path) -> None:
    good = tmp_path / "mine.yaml"
    good.write_text("name: mine\nlimits: {automatic_error: 0.02}\n", encoding="utf-8")
    assert done(tmp_path / "w", "init", "--profile", str(good))["profile"] == "mine"
    bad = tmp_path / "bad.yaml"
    bad.write_text("name: mine\nlimits: {automatic_eror: 0.02}\n", encoding="utf-8")
    answer = tailsight(tmp_path / "v", "init", "--profile", str(bad))
    assert answer.code == 2
    assert "unknown key 'limits.automatic_eror'; did you mean 'automatic_error'?" in answer.stderr
    assert not (tmp_path / "v").exists()
    missing = tailsight(tmp_path / "v", "init", "--profile", str(tmp_path / "none.yaml"))
    assert missing.code == 2
    assert "cannot be read (No such file or directory)" in missing.stderr


def test_a_defect_of_ours_is_one_line_and_a_log_file_never_a_traceback(tmp_path: Path) -> None:
    folder = tmp_path / "w"
    done(folder, "init", "--profile", "generic")
    (folder / "dagster" / "dagster.yaml").mkdir(parents=True)
    answer = tailsight(folder, "curate", "--json")
    assert answer.code == 1
    assert "Traceback" not in answer.stderr
    assert answer.json["error"]["cause"] == "This is a defect in Tailsight, not something you did."
    log = next((folder / "logs").glob("*.log"))
    assert str(log) in answer.json["error"]["remedy"]
    assert "Traceback" in log.read_text(encoding="utf-8")


def test_doctor_finds_a_sound_machine_and_a_changed_ledger(tmp_path: Path) -> None:
    folder = tmp_path / "w"
    done(folder, "init", "--profile", "generic")
    report = done(folder, "doctor")
    assert report["ok"] is True
    assert {finding["name"] for finding in report["findings"]} >= {"python", "memory", "disk", "ledger", "runs"}
    (folder / "ledger.key").unlink()
    (folder / "tailsight.yaml").write_text("name: x\nlimts: {}\n", encoding="utf-8")
    answer = tailsight(folder, "doctor", "--json")
    assert answer.code == 1
    assert "FAIL" in tailsight(folder, "doctor").stdout
    failing = {finding["name"] for finding in answer.json["findings"] if finding["health"] == "fail"}
    assert "profile" in failing


def test_the_workspace_may_come_from_the_environment(tmp_path: Path) -> None:
    import os
    import subprocess

    from tests.pipelines.commands import TAILSIGHT

    folder = tmp_path / "from environment"
    run = subprocess.run(
        [TAILSIGHT, "init", "--profile", "generic"],
        env={**os.environ, "TAILSIGHT_WORKSPACE": str(folder)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0
    assert (folder / "tailsight.yaml").is_file()


def test_a_full_disk_is_said_plainly_and_the_same_command_works_once_there_is_room(
    small_disk: Path, new_images: Path
) -> None:
    workspace = small_disk / "workspace"
    done(workspace, "init", "--profile", "generic")
    refused = tailsight(workspace, "ingest", str(new_images), "--json")
    assert refused.code == 1
    assert f"disk of {workspace} is full (" in refused.json["error"]["what"]
    assert "run the same command again" in refused.json["error"]["remedy"]
    enlarge(small_disk, 200)
    assert done(workspace, "ingest", str(new_images))["added"] > 0
    assert done(workspace, "labels", "verify")["ok"]


def test_an_empty_folder_leads_nowhere_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    done(tmp_path / "w", "init", "--profile", "generic")
    answer = tailsight(tmp_path / "w", "ingest", str(tmp_path / "images"))
    assert "No image was taken in; check the path." in answer.stdout
    assert "Next:" not in answer.stdout
