"""The Kubernetes manifests hold against the schemas, against each other and against the server that they start."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from typer.main import get_command

from pipelines.command_line.app import app

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes"
MANIFESTS: dict[str, Any] = {
    path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in FOLDER.glob("*.yaml")
}
POD = MANIFESTS["deployment"]["spec"]["template"]
(CONTAINER,) = POD["spec"]["containers"]


@pytest.mark.parametrize("name", MANIFESTS)
def test_every_manifest_is_valid_to_the_letter(name: str) -> None:
    kubernetes_validate.validate(MANIFESTS[name], "1.37", strict=True)
    assert "namespace" not in MANIFESTS[name]["metadata"], "whoever applies it says where"


def test_a_misspelt_field_would_be_noticed() -> None:
    broken = {**MANIFESTS["service"], "spec": {**MANIFESTS["service"]["spec"], "selektor": {}}}
    with pytest.raises(kubernetes_validate.ValidationError, match="selektor"):
        kubernetes_validate.validate(broken, "1.37", strict=True)


def test_service_and_autoscaler_mean_the_deployment() -> None:
    deployment, service = MANIFESTS["deployment"], MANIFESTS["service"]
    labels = POD["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels == service["spec"]["selector"]
    target = MANIFESTS["autoscaler"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", deployment["metadata"]["name"])
    assert "replicas" not in deployment["spec"], "the autoscaler counts"
    (port,) = CONTAINER["ports"]
    assert service["spec"]["ports"][0]["targetPort"] == port["name"]


def test_the_command_is_one_that_the_server_understands() -> None:
    verb, *arguments = CONTAINER["args"]
    context = get_command(app).commands[verb].make_context(verb, list(arguments))  # type: ignore[attr-defined]
    assert context.params["port"] == CONTAINER["ports"][0]["containerPort"]
    assert context.params["host"] == "0.0.0.0"
    assert not context.params["without_keys"]


def test_probes_ask_for_what_they_are_there_for() -> None:
    assert CONTAINER["livenessProbe"]["httpGet"]["path"] == "/health", "a dead worker is replaced, not the pod"
    assert CONTAINER["readinessProbe"]["httpGet"]["path"] == "/ready"
    assert CONTAINER["startupProbe"]["periodSeconds"] * CONTAINER["startupProbe"]["failureThreshold"] >= 120
    options = {one.name: one.default for one in get_command(app).commands["serve"].params}  # type: ignore[attr-defined]
    pause = int(CONTAINER["lifecycle"]["preStop"]["exec"]["command"][1])
    assert POD["spec"]["terminationGracePeriodSeconds"] > options["timeout"] + pause + 10


def test_a_pod_may_do_next_to_nothing() -> None:
    assert POD["spec"]["securityContext"]["runAsNonRoot"]
    assert not POD["spec"]["automountServiceAccountToken"]
    context = CONTAINER["securityContext"]
    assert context["readOnlyRootFilesystem"]
    assert not context["allowPrivilegeEscalation"]
    assert context["capabilities"] == {"drop": ["ALL"]}
    mounts = {one["mountPath"]: one for one in CONTAINER["volumeMounts"]}
    assert mounts["/workspace"]["readOnly"]
    assert {"cpu", "memory"} <= set(CONTAINER["resources"]["requests"])
    assert "memory" in CONTAINER["resources"]["limits"]


def test_every_secret_is_a_reference() -> None:
    for one in CONTAINER["env"]:
        if re.search(r"KEY|URL|PASSWORD", one["name"]):
            assert set(one) == {"name", "valueFrom"}, one["name"]
            assert "secretKeyRef" in one["valueFrom"]
