"""Where everything of one line or clinic lives: the folder and its fixed places."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from data_contracts.errors import BadInput, Busy, NotFound
from data_contracts.profile import Profile, read_profile

PROFILE_FILE = "tailsight.yaml"


@dataclass(frozen=True)
class Workspace:
    """The folder of one line or clinic. Properties only name places; nothing is created until it is needed."""

    folder: Path

    @property
    def profile_path(self) -> Path:
        """The profile, edited by people."""
        return self.folder / PROFILE_FILE

    @property
    def profile(self) -> Profile:
        """The profile as it stands now, read and checked."""
        return read_profile(self.profile_path)

    @property
    def ledger_path(self) -> Path:
        """SQLite file of the ledger (unless a database URL is set)."""
        return self.folder / "ledger.sqlite"

    @property
    def ledger_place_path(self) -> Path:
        """Says on which server the ledger is, without a password; absent where it is a SQLite file."""
        return self.folder / "ledger.place"

    @property
    def ledger_key_path(self) -> Path:
        """The secret that keys the hash chain; readable by its owner only, kept outside the database."""
        return self.folder / "ledger.key"

    @property
    def custody(self) -> Path:
        """Copies of images taken into custody by ``ingest --copy``."""
        return self.folder / "custody"

    @property
    def datasets(self) -> Path:
        """One folder per dataset version."""
        return self.folder / "datasets"

    def dataset(self, version: str) -> Path:
        """Folder of one dataset version: ``manifest.parquet`` and ``dataset.json``."""
        return self.datasets / version

    @property
    def cache(self) -> Path:
        """Decoded images; may be deleted at any time."""
        return self.folder / "cache"

    @property
    def runs(self) -> Path:
        """Training runs: checkpoints and history, one folder per run key."""
        return self.folder / "runs"

    @property
    def pretrained(self) -> Path:
        """Weights of backbones that were pretrained on the images of this workspace."""
        return self.folder / "pretrained"

    @property
    def mlflow(self) -> Path:
        """MLflow's database and artefacts."""
        return self.folder / "mlflow"

    @property
    def dagster(self) -> Path:
        """Dagster's home."""
        return self.folder / "dagster"

    @property
    def scores(self) -> Path:
        """Parts of batch scoring under way and finished scores by batch."""
        return self.folder / "scores"

    @property
    def served(self) -> Path:
        """Images that `serve --log-predictions` keeps, so that people can be asked about them."""
        return self.folder / "served"

    @property
    def inbox(self) -> Path:
        """Folders that arrive here are production batches: scored and queued by themselves while `up` runs."""
        return self.folder / "inbox"

    @property
    def reports(self) -> Path:
        """HTML reports and their pictures."""
        return self.folder / "reports"

    @property
    def display(self) -> Path:
        """Display copies of images for the review app; made again where they are missing."""
        return self.folder / "display"

    @property
    def deliveries(self) -> Path:
        """What each receiver of decisions was offered last."""
        return self.folder / "deliveries"

    @property
    def locks(self) -> Path:
        """Lock files of work under way."""
        return self.folder / "locks"

    def require(self) -> Workspace:
        """Return itself if it is a workspace.

        Raises:
            NotFound: the folder has no ``tailsight.yaml``.
        """
        if not self.profile_path.is_file():
            raise NotFound(
                f"{self.folder} is not a Tailsight workspace (no {PROFILE_FILE}).",
                remedy="Make one with `tailsight --workspace DIR init --profile generic`, or give its --workspace.",
            )
        return self

    def inside(self, path: Path) -> Path:
        """``path`` resolved, if it lies in the workspace.

        Raises:
            BadInput: it does not (a link or ``..`` leads outside).
        """
        resolved = (self.folder / path).resolve()
        if not resolved.is_relative_to(self.folder.resolve()):
            raise BadInput(f"{path} leads outside the workspace.", cause="A link or '..' points elsewhere.")
        return resolved

    @contextmanager
    def lock(self, name: str, *, wait_seconds: float = 0.0) -> Iterator[None]:
        """Hold a named lock for as long as the block runs; the system frees it when the process dies.

        Raises:
            Busy: another process holds it for longer than ``wait_seconds``.
        """
        from filelock import FileLock, Timeout

        self.locks.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.locks / f"{name}.lock", timeout=wait_seconds)
        try:
            lock.acquire()
        except Timeout:
            raise Busy(
                f"Another process is already at work on {name!r} in {self.folder}.",
                remedy="Wait for it to end, or stop it; its work is not lost.",
            ) from None
        try:
            yield
        finally:
            lock.release()


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a whole file or nothing: a killed process never leaves half a file under its final name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode("utf-8") if isinstance(content, str) else content
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
