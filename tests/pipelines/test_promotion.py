"""From a candidate to a champion and back: through the gate, recorded, and whole after a kill."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from data_contracts.errors import BadInput, IntegrityError, NotFound, Refused
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.events import append_events
from data_contracts.ledger.fold import image_labels
from data_contracts.ledger.promotions import looks, promotions
from data_contracts.records import NewLabelEvent
from data_contracts.review.decide import decide
from data_contracts.review.records import Answer, NewTask
from data_contracts.review.serving import serve
from data_contracts.review.tasks import add_round
from data_contracts.vocabulary import Action, Alias
from data_contracts.workspace import Workspace
from domain_models.tracking import Registry
from pipelines.steps.doctor import Health, examine
from pipelines.steps.evaluate import EvaluateRequest, evaluate
from pipelines.steps.labels import verify_labels
from pipelines.steps.models import list_models
from pipelines.steps.promote import GateRefused, PromoteRequest, promote, rollback
from pipelines.steps.report import ReportRequest, write_report
from pipelines.steps.train import TrainRequest, train
from tests.pipelines.commands import TINY, done, tailsight


def _request(version: str | None = None, **more: object) -> PromoteRequest:
    return PromoteRequest.model_validate({"who": "tester", "why": "because", "version": version, **more})


def test_the_first_champion_is_recorded_with_who_why_and_the_gates_reasons(promoted_workspace: Path) -> None:
    with Ledger.open(Workspace(promoted_workspace)) as ledger:
        events, seen = promotions(ledger), looks(ledger)
    assert [(e.model_version, e.to_alias, e.who, e.why, e.override) for e in events] == [
        ("1", Alias.CHAMPION, "tester", "first model", False)
    ]
    assert events[0].from_alias is Alias.CANDIDATE
    assert events[0].gate_report["passed"] is True
    assert [(look.model_version, look.against, look.passed) for look in seen] == [("1", None, True)]
    assert seen[0].report["trained_on"] == seen[0].dataset_version, "so that people see where their answers went"


def test_promoting_the_champion_again_records_nothing(promoted: Path) -> None:
    report = promote(Workspace(promoted), _request("champion"))
    assert report.already_champion
    assert report.promoted
    with Ledger.open(Workspace(promoted)) as ledger:
        assert len(promotions(ledger)) == 1
        assert len(looks(ledger)) == 1


def test_a_second_model_is_held_against_the_champion_and_rollback_restores_the_first(challenged: Path) -> None:
    answer = done(challenged, "promote", "--by", "me", "--why", "newer", "--override")
    assert answer["model_version"] == "2"
    assert answer["previous"] == "1"
    assert answer["gate"]["champion"] == "1"
    assert list_models(Workspace(challenged)).champion == "2"
    back = done(challenged, "rollback", "--by", "me", "--why", "worse in practice")
    assert back == {"model_version": "1", "previous": "2"}
    assert list_models(Workspace(challenged)).champion == "1"
    with Ledger.open(Workspace(challenged)) as ledger:
        assert [event.model_version for event in promotions(ledger)] == ["1", "2", "1"]
    checked = verify_labels(Workspace(challenged))
    assert checked["ok"]
    assert checked["promotions"] == 3
    with pytest.raises(Refused, match="There is no previous champion"):
        rollback(Workspace(challenged), who="me", why="further back")


def test_a_refusal_exits_with_1_gives_reasons_and_is_recorded_as_a_look(challenged: Path) -> None:
    profile = challenged / "tailsight.yaml"
    text = profile.read_text(encoding="utf-8")
    profile.write_text(text.replace("macro_f1_margin: -0.02", "macro_f1_margin: 0.9"), encoding="utf-8")
    answer = tailsight(challenged, "promote", "--by", "me", "--why", "newer", "--json")
    assert answer.code == 1
    assert answer.json["promoted"] is False
    assert answer.json["passed"] is False
    assert "Macro-F1 differs by" in answer.json["reasons"][0]
    assert "Traceback" not in answer.stderr
    with Ledger.open(Workspace(challenged)) as ledger:
        assert [look.passed for look in looks(ledger)] == [True, False]
        assert len(promotions(ledger)) == 1
    with pytest.raises(GateRefused, match="The gate refuses model version 2") as refusal:
        promote(Workspace(challenged), _request("2"))
    assert refusal.value.report.gate is not None
    report = promote(Workspace(challenged), _request("2", override=True))
    assert report.override
    with Ledger.open(Workspace(challenged)) as ledger:
        assert promotions(ledger)[-1].override is True
    again = promote(Workspace(challenged), _request("2"))
    assert (again.already_champion, again.override, again.passed) == (True, True, False)


def test_a_kill_between_ledger_and_registry_is_put_right_by_the_next_command(
    challenged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = Registry.set_alias

    def killed(registry: Registry, alias: Alias, version: str) -> None:
        raise KeyboardInterrupt  # the process ends here

    monkeypatch.setattr(Registry, "set_alias", killed)
    with pytest.raises(KeyboardInterrupt):
        promote(Workspace(challenged), _request("2", override=True))
    monkeypatch.setattr(Registry, "set_alias", moved)
    with Registry.open(challenged / "mlflow") as registry:
        assert registry.alias(Alias.CHAMPION) == "1"
    assert list_models(Workspace(challenged)).champion == "2"
    with Registry.open(challenged / "mlflow") as registry:
        assert registry.alias(Alias.CHAMPION) == "2"


def test_a_package_that_was_changed_never_becomes_champion(challenged: Path) -> None:
    with Registry.open(challenged / "mlflow") as registry:
        card = registry.package("2") / "model.json"
    card.write_text(card.read_text(encoding="utf-8").replace('"temperature"', '"temperature" '), encoding="utf-8")
    with pytest.raises(IntegrityError, match="changed since it was registered"):
        promote(Workspace(challenged), _request("2"))
    findings = {finding.name: finding for finding in examine(Workspace(challenged)).findings}
    assert findings["models"].health is Health.FAIL
    assert "changed since it was registered" in findings["models"].detail


def test_a_version_that_does_not_exist_is_named_with_those_that_do(promoted_workspace: Path) -> None:
    with pytest.raises(NotFound, match=r"There is no model version '7'\. Versions: 1"):
        promote(Workspace(promoted_workspace), _request("7"))


def test_the_same_training_again_neither_trains_nor_registers_twice(promoted: Path) -> None:
    report = done(promoted, "train", *TINY)
    assert report["reused"] is True
    assert report["model_version"] == "1"
    assert len(list_models(Workspace(promoted)).versions) == 1


def test_settings_that_do_not_exist_are_answered_with_the_nearest_and_nothing_is_trained(curated: Path) -> None:
    with pytest.raises(BadInput, match=re.escape("--set: unknown setting 'epoch'; did you mean 'epochs'?")):
        train(Workspace(curated), TrainRequest(overrides=("epoch=3",)))
    answer = tailsight(curated, "train", "--preset", "fast", "--json")
    assert answer.code == 2
    assert answer.json["error"] == {
        "what": "There is no preset 'fast'.",
        "cause": None,
        "remedy": "Presets: quick, standard, best, auto.",
    }
    assert not (curated / "runs").exists()


def test_evaluate_keeps_the_contract_and_remembers_its_predictions(promoted: Path) -> None:
    first = done(promoted, "evaluate", "--model", "candidate", "--split", "test")
    keys = "model_version dataset_version split n accuracy balanced_accuracy macro_f1 auroc_ovr_macro ece nll"
    keys += " ece_of_a_calibrated_model top5_accuracy per_class confusion groups coverage_at_limit"
    keys += " reader_hours_per_1000 escape_rate overkill_rate accuracy_ci macro_f1_ci"
    assert set(keys.split()) <= set(first)
    assert first["escape_rate"] is None
    assert set(first["groups"]) == {"many", "medium", "few"}
    kept = list((promoted / "cache" / "predictions").glob("*.parquet"))
    assert len(kept) == 1
    stamp = kept[0].stat().st_mtime_ns
    second = evaluate(Workspace(promoted), EvaluateRequest(model="1")).as_one()
    assert kept[0].stat().st_mtime_ns == stamp
    assert second["macro_f1"] == first["macro_f1"]


def _read_first(workspace: Workspace) -> None:
    """One reader who, once the model was shown, left the right class, by a truth that was found later."""
    with Ledger.open(workspace) as ledger:
        labels = image_labels(ledger).dropna(subset=["label"])
        image_id, right = labels.iloc[0][["image_id", "label"]]
        wrong = next(label for label in labels["label"] if label != right)
        new = NewTask(subject_id=image_id, reason="low_confidence", priority=1.0, predicted=wrong)
        add_round(ledger, [new], round_id="read", model_version="1", strategy="margin", budget=None, seed=0)
        (task,) = serve(ledger, "ann")
        for label, shown in ((right, False), (wrong, True)):
            said = Answer(task_id=task.task_id, request_id=label, action=Action.LABEL, label=label, model_shown=shown)
            decide(ledger, "ann", said, read_first=True)
        teardown = {"who": "teardown", "subject_id": image_id, "action": "import", "source": "reference"}
        append_events(ledger, [NewLabelEvent.model_validate({**teardown, "label": right, "subject_kind": "image"})])


def test_the_report_is_one_file_that_fetches_nothing(promoted: Path) -> None:
    _read_first(Workspace(promoted))
    report = write_report(Workspace(promoted), ReportRequest())
    page = Path(report.report).read_text(encoding="utf-8")
    assert Path(report.report).is_relative_to(promoted / "reports")
    assert "data:image/png;base64," in page
    assert 'src="http' not in page
    assert 'href="http' not in page
    assert "Model version 1" in page
    assert "1 of 1 second answers differ from the first: 0 changed wrong to right, 1 right to wrong" in page
