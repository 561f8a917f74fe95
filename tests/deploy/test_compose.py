"""The compose file and its image are complete and sound, as far as can be said without a container engine."""

from __future__ import annotations

import http.server
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from data_contracts.workspace import Workspace
from deploy.answers import answers
from pipelines.command_line.app import app
from pipelines.definitions.instance import RUNS_URL
from tests.deploy.compose_file import COMPOSE, FOLDER, ONE_SHOT, ROOT, SERVED, WITHOUT_CHECK, services, with_defaults
from tests.pipelines.commands import tailsight

SERVICES = services()
DOCKERFILE = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
TEXT = COMPOSE.read_text(encoding="utf-8")
EXAMPLE = (FOLDER / ".env.example").read_text(encoding="utf-8")
SECRET = re.compile(r"(PASSWORD|SECRET|TOKEN|KEY)\w*\s*[:=]\s*\S", re.IGNORECASE)


def _instructions(name: str) -> list[str]:
    joined = DOCKERFILE.replace("\\\n", " ")
    return [line.split(maxsplit=1)[1] for line in joined.splitlines() if line.startswith(f"{name} ")]


def test_everything_that_up_starts_is_there_with_its_database_and_a_step_that_migrates() -> None:
    assert set(SERVICES) == {"postgres", "daemon", "deliveries", "serve", *SERVED, *ONE_SHOT}


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_is_pinned(name: str) -> None:
    image = with_defaults(SERVICES[name]["image"])
    _, _, tag = image.rpartition(":")
    assert re.match(r"\d", tag), f"{image} has no version"


def test_the_image_is_built_on_a_pinned_python_that_the_project_supports() -> None:
    assert _instructions("FROM") == ["python:3.11-slim-bookworm"]


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_runs_without_rights_and_says_when_it_is_started_again(name: str) -> None:
    service = SERVICES[name]
    assert str(service["user"]).split(":")[0] not in ("", "0", "root")
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert not service.get("privileged")
    assert service["restart"] == ("no" if name in ONE_SHOT else "unless-stopped")
    assert "max-size" in service["logging"]["options"], "logs must not fill the disk"


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_that_stays_has_a_health_check(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    if name in WITHOUT_CHECK:
        assert check == {"disable": True}
        return
    assert check["test"][0] == "CMD"
    assert {"interval", "timeout", "retries", "start_period"} <= set(check)


def test_nothing_is_published_but_on_this_machine() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert set(published) == {*SERVED, "serve"}, "the database is reached by the services alone"
    for name, ports in published.items():
        for port in ports:
            address, outside, inside = with_defaults(port).split(":")
            assert address == "127.0.0.1", name
            assert outside == inside, "the documented port"
            assert f"http://127.0.0.1:{inside}/" in " ".join(SERVICES[name]["healthcheck"]["test"])


def test_the_published_ports_are_those_that_the_services_use_by_themselves() -> None:
    ports = {name: with_defaults(SERVICES[name]["ports"][0]).rpartition(":")[2] for name in SERVED}
    options = {each.name: each.default for each in _up().params}
    assert ports == {
        "dagster": str(options["dagster_port"]),
        "mlflow": str(options["mlflow_port"]),
        "app": str(options["app_port"]),
    }


def test_the_server_asks_for_keys_and_is_published_on_the_port_that_it_uses_by_itself() -> None:
    serve = get_command(app).commands["serve"]  # type: ignore[attr-defined]
    options = serve.make_context("serve", SERVICES["serve"]["command"][1:]).params
    assert not options["without_keys"]
    assert with_defaults(SERVICES["serve"]["ports"][0]).rpartition(":")[2] == str(options["port"])
    assert SERVICES["serve"]["env_file"] == [{"path": "serve.env", "required": False}]
    assert "serve.env" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()


def _up() -> Any:
    return get_command(app).commands["up"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "postgres"])
def test_every_command_is_one_of_ours(name: str) -> None:
    command: Any = get_command(app)
    verb, arguments = "", [str(word) for word in SERVICES[name]["command"]]
    while hasattr(command, "commands"):
        verb, *arguments = arguments
        command = command.commands[verb]
    assert not command.make_context(verb, arguments).args


def test_the_images_own_command_serves_the_app() -> None:
    assert _instructions("ENTRYPOINT") == ['["tailsight"]']
    (line,) = _instructions("CMD")
    assert yaml.safe_load(line) == SERVICES["app"]["command"]


def test_no_secret_stands_in_any_file() -> None:
    for path in sorted(FOLDER.iterdir()):
        for line in path.read_text(encoding="utf-8").splitlines():
            if not line.lstrip().startswith("#") and path.suffix != ".md":
                assert not SECRET.search(re.sub(r"\$\{\w+:\?[^}]*\}", "", line)), f"{path.name}: {line}"
    assert not re.search(r"://[^/\s]*:[^/\s@]*@", TEXT), "an address with a password in it"
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert ".env" in ignored


def test_every_variable_is_explained_in_the_example() -> None:
    used = set(re.findall(r"\$\{(\w+)", TEXT))
    explained = set(re.findall(r"^(\w+)=", EXAMPLE, re.MULTILINE))
    assert used | {"COMPOSE_PROFILES"} == explained
    profiles = {profile for service in SERVICES.values() for profile in service.get("profiles", [])}
    assert profiles == {"command", "deliveries", "serve"}


def test_the_defaults_of_the_example_are_those_of_the_compose_file() -> None:
    example = dict(re.findall(r"^(\w+)=(.+)$", EXAMPLE, re.MULTILINE))
    defaults = {name: value for name, value in re.findall(r"\$\{(\w+):-([^}]+)\}", TEXT) if value}
    assert defaults == example


def test_every_database_that_is_named_is_made() -> None:
    environment = SERVICES["app"]["environment"]
    addresses = [value for name, value in environment.items() if name.endswith("DATABASE_URL")]
    named = {address.rpartition("/")[2] for address in addresses}
    made = set(re.findall(r"CREATE DATABASE (\w+);", (FOLDER / "databases.sql").read_text(encoding="utf-8")))
    assert named == made | {SERVICES["postgres"]["environment"]["POSTGRES_DB"]}
    assert RUNS_URL in environment


def test_every_service_has_the_same_databases_and_the_same_workspace() -> None:
    ours = {name: service for name, service in SERVICES.items() if name != "postgres"}
    for service in ours.values():
        assert set(SERVICES["app"]["environment"]) <= set(service["environment"])
        assert "workspace:/workspace" in service["volumes"]
    assert _instructions("VOLUME") == ["/workspace"]


def test_what_the_dockerfile_copies_is_there_and_travels_to_the_builder() -> None:
    kept = (FOLDER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    sources = [source for line in _instructions("COPY") for source in line.split()[:-1]]
    assert {"data_contracts", "domain_models", "pipelines", "review_app", "deploy"} <= set(sources)
    for source in sources:
        assert (ROOT / source).exists(), source
        assert f"!{source}" in kept, source


def test_the_image_is_installed_from_the_pins_with_torchvision_beside_its_torch() -> None:
    installs = [line for line in _instructions("RUN") if "pip install" in line]
    assert len(installs) == 2
    assert all("--constraint constraints.txt" in line for line in installs)
    assert installs[0].endswith(" torch torchvision")
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    for package in ("torch", "torchvision", "psycopg", "psycopg2-binary", "dagster-postgres", "Authlib"):
        assert re.search(rf"^{package}==", constraints, re.MULTILINE), package


def test_the_image_runs_as_the_user_of_the_services() -> None:
    (user,) = _instructions("USER")
    assert user == SERVICES["app"]["user"]
    assert _instructions("HEALTHCHECK")


def test_docker_compose_accepts_the_file(tmp_path: Path) -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True).returncode != 0:
        pytest.skip("docker compose is not installed")
    env = tmp_path / "env"
    env.write_text(EXAMPLE.replace("TAILSIGHT_POSTGRES_PASSWORD=", "TAILSIGHT_POSTGRES_PASSWORD=x"), encoding="utf-8")
    command = [
        docker,
        "compose",
        "--file",
        str(COMPOSE),
        "--env-file",
        str(env),
        "--profile",
        "command",
        "config",
        "-q",
    ]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_all_services_at_once_let_no_other_machine_in(workspace: Workspace) -> None:
    refused = tailsight(workspace.folder, "up", "--host", "0.0.0.0")
    assert refused.code == 2
    assert "--host is for one service" in refused.stderr


@pytest.fixture
def page() -> Iterator[str]:
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/health" else 500)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with http.server.HTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_health_check_says_whether_a_page_answers_well(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert answers(f"{page}/health")
    assert not answers(f"{page}/broken")
    assert not answers("http://127.0.0.1:9/health")
    assert not answers("no address")
