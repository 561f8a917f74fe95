"""Model versions of one workspace: registered once per run, named by aliases, loaded from plain files."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from filelock import Timeout

from data_contracts.errors import IntegrityError, NotFound
from data_contracts.vocabulary import Alias
from domain_models.tracking import artifacts as files
from domain_models.tracking import attachments
from domain_models.tracking.entries import (
    MODEL_NAME,
    OWN_TAGS,
    PACKAGE,
    PACKAGE_SHA256,
    RUN_KEY,
    ModelVersionInfo,
    describe,
    log_figures,
)
from domain_models.tracking.quiet_mlflow import load_mlflow
from domain_models.tracking.store import ARTIFACTS_FOLDER, busy, ensure_store, lock

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT_NAME = "tailsight"
_VALID_RUN_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")


class Registry:
    """The model versions of one workspace. Use :meth:`open`; a context manager.

    A version is registered once per ``run_key`` however often the call is repeated or killed. A version's package is
    a folder of plain files (safetensors, JSON, ONNX) whose content hash is kept and checked when it is handed out.
    Paths are kept relative to the registry, so a workspace may be moved.
    """

    def __init__(self, folder: Path, client: MlflowClient) -> None:
        self._folder = folder
        self._client = client

    @classmethod
    def open(cls, workspace_mlflow: Path, server_address: str | None = None) -> Registry:
        """Open the registry of a workspace (``workspace.mlflow``), making it on first use.

        Args:
            workspace_mlflow: the folder of artefacts, and of the database unless that is on a server.
            server_address: see :func:`domain_models.tracking.store.ensure_store`.

        Raises:
            BadInput: the path cannot be a database address.
            Busy: another process has been making the registry for two minutes.
        """
        folder = workspace_mlflow.resolve()
        address = ensure_store(folder, server_address)
        load_mlflow()
        from mlflow import MlflowClient

        return cls(folder, MlflowClient(tracking_uri=address, registry_uri=address))

    def close(self) -> None:
        """Close the database connections."""
        for store in (self._client._tracking_client.store, self._client._get_registry_client().store):
            store.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def register(
        self,
        package_folder: Path,
        *,
        run_key: str,
        params: Mapping[str, object] | None = None,
        metrics: Mapping[str, float | None] | None = None,
        tags: Mapping[str, str] | None = None,
        artifacts: Iterable[Path] = (),
    ) -> str:
        """Register the package of a finished training run; the same ``run_key`` always gives the same version.

        Safe to kill at any moment and repeat: the run is found by its tag, files are moved into place whole, metrics
        keep the run's own time stamp, and the version is created last, in one transaction.

        Args:
            package_folder: folder of the model package; copied.
            run_key: content key of the training run (letters, digits, ``. _ -``).
            params: configuration, kept as text.
            metrics: figures; ``None`` and non-finite ones are left out.
            tags: lineage and anything else, kept with the version.
            artifacts: further files or folders (report, pictures) to keep beside the package.

        Returns:
            The version, as text.

        Raises:
            NotFound: the package folder is missing or empty.
            ValueError: ``run_key`` is malformed or a tag name is reserved.
            Busy: another process has been registering for two minutes.
        """
        if not _VALID_RUN_KEY.fullmatch(run_key):
            raise ValueError(f"run_key {run_key!r} must be 1 to 120 letters, digits, '.', '_' or '-'")
        if reserved := OWN_TAGS & set(tags or {}):
            raise ValueError(f"tag names are reserved: {sorted(reserved)}")
        if not package_folder.is_dir() or not any(package_folder.iterdir()):
            raise NotFound(f"There is no model package in {package_folder}.")
        with self._locked():
            if (known := self._version_of(run_key)) is not None:
                return known
            run = self._run(run_key)
            target = self._folder / ARTIFACTS_FOLDER / run.info.run_id / "artifacts"
            digest = files.copy_whole(package_folder, target / "package")
            for item in artifacts:
                files.copy_whole(item, target / item.name)
            log_figures(self._client, run.info.run_id, run.info.start_time, params or {}, metrics or {}, tags or {})
            self._client.set_terminated(run.info.run_id, "FINISHED")
            self._ensure_model()
            created = self._client.create_model_version(
                MODEL_NAME,
                source=(target / "package").as_uri(),
                run_id=run.info.run_id,
                tags={
                    **(tags or {}),
                    RUN_KEY: run_key,
                    PACKAGE: (target / "package").relative_to(self._folder).as_posix(),
                    PACKAGE_SHA256: digest,
                },
            )
            return str(created.version)

    def set_alias(self, alias: Alias | str, version: str) -> None:
        """Make ``alias`` name ``version``, and no other.

        Raises:
            NotFound: there is no such version.
        """
        self._entity(version)
        self._client.set_registered_model_alias(MODEL_NAME, Alias(alias).value, version)

    def remove_alias(self, alias: Alias | str) -> None:
        """Make ``alias`` name nothing; harmless where it named nothing already."""
        if self.alias(alias) is not None:
            self._client.delete_registered_model_alias(MODEL_NAME, Alias(alias).value)

    def alias(self, alias: Alias | str) -> str | None:
        """The version that ``alias`` names, or ``None``."""
        for model in self._client.search_registered_models(filter_string=f"name = '{MODEL_NAME}'"):
            found = model.aliases.get(Alias(alias).value)
            return None if found is None else str(found)
        return None

    def resolve(self, name: str) -> str:
        """The version that a person means by an alias (``champion``) or a number (``3``).

        Raises:
            NotFound: it names nothing; the error lists what there is.
        """
        if name in set(Alias):
            version = self.alias(name)
            if version is not None:
                return version
            raise NotFound(
                f"There is no {name} yet.",
                remedy=f"Versions: {self._known()}. "
                + ("Run `tailsight promote`." if name == Alias.CHAMPION else "Run `tailsight train`."),
            )
        self._entity(name)
        return name

    def package(self, version: str) -> Path:
        """The local folder of a version's package, its files checked against the hash taken at registration.

        Raises:
            NotFound: there is no such version, or its files are gone.
            IntegrityError: its files changed since they were registered.
        """
        tags = self._entity(version).tags
        folder: Path = self._folder / tags[PACKAGE]
        if not folder.is_dir():
            raise NotFound(f"The files of model version {version} are gone ({folder}).", remedy="Restore a backup.")
        if files.digest(folder) != tags[PACKAGE_SHA256]:
            raise IntegrityError(
                f"The files of model version {version} changed since it was registered ({folder}).",
                remedy="Restore a backup, or train again.",
            )
        return folder

    def info(self, version: str) -> ModelVersionInfo:
        """What is known of one version.

        Raises:
            NotFound: there is no such version.
        """
        entity = self._entity(version)
        return describe(entity, self._client.get_run(entity.run_id), self._aliases())

    def versions(self) -> list[ModelVersionInfo]:
        """All versions, the newest first."""
        entities = sorted(self._entities(), key=lambda entity: int(entity.version), reverse=True)
        runs = {entity.run_id: self._client.get_run(entity.run_id) for entity in entities}
        aliases = self._aliases()
        return [describe(entity, runs[entity.run_id], aliases) for entity in entities]

    def log_metrics(self, version: str, metrics: Mapping[str, float | None]) -> None:
        """Add figures measured later (a test edition, a batch) to a version's run.

        Raises:
            NotFound: there is no such version.
        """
        now = int(datetime.now(UTC).timestamp() * 1000)
        log_figures(self._client, self._entity(version).run_id, now, {}, metrics, {})

    def attach(self, version: str, item: Path) -> None:
        """Keep a further file or folder (a report, an exported graph) beside a version's package.

        One of the same name is replaced. Its content hash is kept with the version, for :meth:`attached`.

        Raises:
            NotFound: there is no such version or file.
        """
        package = self._folder / self._entity(version).tags[PACKAGE]
        with self._locked():
            attachments.attach(self._client, version, package, item)

    def attached(self, version: str, prefix: str) -> dict[str, Path]:
        """What was attached to a version under names that begin so; errors as of :meth:`package`."""
        tags = self._entity(version).tags
        return attachments.attached(version, tags, self._folder / tags[PACKAGE], prefix)

    def _run(self, run_key: str) -> Any:
        experiment = self._client.get_experiment_by_name(EXPERIMENT_NAME)
        experiment_id = (
            self._client.create_experiment(
                EXPERIMENT_NAME, artifact_location=(self._folder / ARTIFACTS_FOLDER).as_uri()
            )
            if experiment is None
            else experiment.experiment_id
        )
        found = self._client.search_runs([experiment_id], f"tags.`{RUN_KEY}` = '{run_key}'", max_results=1)
        if found:
            return found[0]
        return self._client.create_run(experiment_id, tags={RUN_KEY: run_key}, run_name=run_key[:100])

    def _ensure_model(self) -> None:
        if not self._client.search_registered_models(filter_string=f"name = '{MODEL_NAME}'"):
            self._client.create_registered_model(MODEL_NAME)

    def _version_of(self, run_key: str) -> str | None:
        return next((str(item.version) for item in self._entities() if item.tags.get(RUN_KEY) == run_key), None)

    def _entities(self) -> Iterator[Any]:
        token: str | None = None
        while True:
            page = self._client.search_model_versions(f"name = '{MODEL_NAME}'", max_results=1000, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def _entity(self, version: str) -> Any:
        if version.isascii() and version.isdigit():
            for entity in self._entities():
                if str(entity.version) == version:
                    return entity
        raise NotFound(
            f"There is no model version {version!r}.",
            remedy=f"Versions: {self._known()}; aliases: {', '.join(Alias)}.",
        )

    def _known(self) -> str:
        return ", ".join(sorted((str(item.version) for item in self._entities()), key=int)) or "none"

    def _aliases(self) -> dict[str, list[str]]:
        named: dict[str, list[str]] = {}
        for model in self._client.search_registered_models(filter_string=f"name = '{MODEL_NAME}'"):
            for alias, version in model.aliases.items():
                named.setdefault(str(version), []).append(alias)
        return named

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            with lock(self._folder):
                yield
        except Timeout:
            raise busy(self._folder) from None
