"""From a candidate to a champion and back: through the gate, recorded, and whole after a kill."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_contracts.errors import Refused
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.promotions import looks, promotions
from data_contracts.vocabulary import Alias
from data_contracts.workspace import Workspace
from domain_models.tracking import Registry
from pipelines.steps.models import list_models
from pipelines.steps.promote import GateRefused, PromoteRequest, promote, rollback
from tests.pipelines.commands import TINY, done, tailsight


def _request(version: str | None = None, **more: object) -> PromoteRequest:
    return PromoteRequest.model_validate({"who": "tester", "why": "because", "version": version, **more})


def _second_model(folder: Path, seed: int = 1) -> str:
    return str(done(folder, "train", *TINY, "--seed", str(seed))["model_version"])


def test_the_first_champion_is_recorded_with_who_why_and_the_gates_reasons(promoted_workspace: Path) -> None:
    with Ledger.open(Workspace(promoted_workspace)) as ledger:
        events, seen = promotions(ledger), looks(ledger)
    assert [(e.model_version, e.to_alias, e.who, e.why, e.override) for e in events] == [
        ("1", Alias.CHAMPION, "tester", "first model", False)
    ]
    assert events[0].from_alias is Alias.CANDIDATE
    assert events[0].gate_report["passed"] is True
    assert [(look.model_version, look.against, look.passed) for look in seen] == [("1", None, True)]


def test_promoting_the_champion_again_records_nothing(promoted: Path) -> None:
    report = promote(Workspace(promoted), _request("champion"))
    assert report.already_champion
    assert report.promoted
    with Ledger.open(Workspace(promoted)) as ledger:
        assert len(promotions(ledger)) == 1
        assert len(looks(ledger)) == 1


def test_a_second_model_is_held_against_the_champion_and_rollback_restores_the_first(promoted: Path) -> None:
    second = _second_model(promoted)
    assert second == "2"
    answer = tailsight(promoted, "promote", "--by", "me", "--why", "newer", "--override", "--json")
    assert answer.code == 0, answer.stderr
    assert answer.json["previous"] == "1"
    assert answer.json["gate"]["champion"] == "1"
    assert done(promoted, "models")["champion"] == "2"
    back = done(promoted, "rollback", "--by", "me", "--why", "worse in practice")
    assert back == {"model_version": "1", "previous": "2"}
    assert done(promoted, "models")["champion"] == "1"
    with Ledger.open(Workspace(promoted)) as ledger:
        assert [event.model_version for event in promotions(ledger)] == ["1", "2", "1"]
    assert done(promoted, "labels", "verify")["promotions"] == 3
    with pytest.raises(Refused, match="There is no previous champion"):
        rollback(Workspace(promoted), who="me", why="further back")


def test_a_refusal_exits_with_1_gives_reasons_and_is_recorded_as_a_look(promoted: Path) -> None:
    profile = promoted / "tailsight.yaml"
    text = profile.read_text(encoding="utf-8")
    profile.write_text(text.replace("macro_f1_margin: -0.02", "macro_f1_margin: 0.9"), encoding="utf-8")
    _second_model(promoted)
    answer = tailsight(promoted, "promote", "--by", "me", "--why", "newer", "--json")
    assert answer.code == 1
    assert answer.json["promoted"] is False
    assert answer.json["passed"] is False
    assert "Macro-F1 differs by" in answer.json["reasons"][0]
    assert "Traceback" not in answer.stderr
    with Ledger.open(Workspace(promoted)) as ledger:
        assert [look.passed for look in looks(ledger)] == [True, False]
        assert len(promotions(ledger)) == 1
    human = tailsight(promoted, "promote", "--by", "me", "--why", "newer")
    assert human.code == 1
    assert "The gate refuses model version 2; the champion stays 1." in human.stdout
    report = promote(Workspace(promoted), _request("2", override=True))
    assert report.override
    with Ledger.open(Workspace(promoted)) as ledger:
        assert promotions(ledger)[-1].override is True


def test_a_kill_between_ledger_and_registry_is_put_right_by_the_next_command(
    promoted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _second_model(promoted)
    moved = Registry.set_alias

    def killed(registry: Registry, alias: Alias, version: str) -> None:
        raise KeyboardInterrupt  # the process ends here

    monkeypatch.setattr(Registry, "set_alias", killed)
    with pytest.raises(KeyboardInterrupt):
        promote(Workspace(promoted), _request("2", override=True))
    monkeypatch.setattr(Registry, "set_alias", moved)
    with Registry.open(promoted / "mlflow") as registry:
        assert registry.alias(Alias.CHAMPION) == "1"
    assert list_models(Workspace(promoted)).champion == "2"
    with Registry.open(promoted / "mlflow") as registry:
        assert registry.alias(Alias.CHAMPION) == "2"


def test_a_package_that_was_changed_never_becomes_champion(promoted: Path) -> None:
    _second_model(promoted)
    with Registry.open(promoted / "mlflow") as registry:
        card = registry.package("2") / "model.json"
    card.write_text(card.read_text(encoding="utf-8").replace('"temperature"', '"temperature" '), encoding="utf-8")
    answer = tailsight(promoted, "promote", "2", "--by", "me", "--why", "newer", "--json")
    assert answer.code == 1
    assert "changed since it was registered" in answer.json["error"]["what"]
    doctor = tailsight(promoted, "doctor", "--json")
    assert doctor.code == 1
    assert "changed since it was registered" in next(
        finding["detail"] for finding in doctor.json["findings"] if finding["name"] == "models"
    )


def test_a_version_that_does_not_exist_is_named_with_those_that_do(promoted_workspace: Path) -> None:
    answer = tailsight(promoted_workspace, "promote", "7", "--by", "me", "--why", "x")
    assert answer.code == 2
    assert "There is no model version '7'." in answer.stderr
    assert "Versions: 1" in answer.stderr


def test_the_gate_error_carries_its_report(promoted: Path) -> None:
    profile = promoted / "tailsight.yaml"
    text = profile.read_text(encoding="utf-8")
    profile.write_text(text.replace("macro_f1_margin: -0.02", "macro_f1_margin: 0.9"), encoding="utf-8")
    _second_model(promoted)
    with pytest.raises(GateRefused) as refusal:
        promote(Workspace(promoted), _request("2"))
    assert refusal.value.report.gate is not None
    assert refusal.value.exit_code == 1
