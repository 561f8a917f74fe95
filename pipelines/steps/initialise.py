"""Making a workspace: a folder with a checked profile and an empty ledger."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from data_contracts.errors import BadInput
from data_contracts.profile import SHIPPED_PROFILES, parse_profile, shipped_profile_text
from data_contracts.workspace import PROFILE_FILE, Workspace, write_atomically


class InitialiseReport(BaseModel):
    """What ``init`` made. ``created`` is false where the same workspace was there already."""

    model_config = ConfigDict(frozen=True)

    workspace: str
    profile: str
    profile_file: str
    classes: list[str]
    created: bool


def initialise(workspace: Workspace, profile: str) -> InitialiseReport:
    """Make ``workspace`` with a shipped profile or a copy of a YAML file; doing it again changes nothing.

    Args:
        workspace: its folder is created where it does not exist.
        profile: the name of a shipped profile, or the path of a YAML file.

    Raises:
        ProfileError: the profile is unknown or not valid.
        BadInput: the folder is a file, cannot be written, or holds a workspace with another profile.
    """
    text, origin = _profile_text(profile)
    return make_workspace(workspace, text, origin=origin)


def make_workspace(workspace: Workspace, text: str, *, origin: str) -> InitialiseReport:
    """Make ``workspace`` with the text of a profile; doing it again changes nothing.

    Args:
        workspace: its folder is created where it does not exist.
        text: the profile's YAML.
        origin: names the text in errors.

    Raises:
        ProfileError: the text is no valid profile.
        BadInput: the folder is a file, cannot be written, or holds a workspace with another profile.
    """
    parsed = parse_profile(text, origin=origin)
    folder = workspace.folder
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"{folder} is a file; a workspace is a folder.", remedy="Name another with --workspace.")
    created = not workspace.profile_path.is_file()
    if not created and workspace.profile.content_hash != parsed.content_hash:
        raise BadInput(
            f"{folder} is already a workspace, with the profile {workspace.profile.name!r}.",
            cause=f"Its {PROFILE_FILE} differs from {origin}, and init never overwrites it.",
            remedy=f"Edit {workspace.profile_path}, or name another folder with --workspace.",
        )
    if created:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(workspace.profile_path, text)
        except OSError as error:
            raise BadInput(f"The workspace {folder} cannot be written ({error.strerror}).") from None
    _open_ledger(workspace)
    return InitialiseReport(
        workspace=str(folder.resolve()),
        profile=parsed.name,
        profile_file=str(workspace.profile_path.resolve()),
        classes=[item.name for item in parsed.taxonomy],
        created=created,
    )


def _profile_text(profile: str) -> tuple[str, str]:
    path = Path(profile)
    if profile in SHIPPED_PROFILES or not (path.suffix in {".yaml", ".yml"} or path.exists()):
        return shipped_profile_text(profile), f"The shipped profile {profile!r}"
    try:
        return path.read_text(encoding="utf-8"), str(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise BadInput(
            f"The profile {path} cannot be read ({reason}).",
            remedy=f"Name a YAML file, or one of the shipped profiles: {', '.join(SHIPPED_PROFILES)}.",
        ) from None


def _open_ledger(workspace: Workspace) -> None:
    """Create or migrate the ledger now, so that a disk or rights problem shows here and not in the first ingest."""
    from pipelines.steps.ledger import open_ledger

    open_ledger(workspace).close()
