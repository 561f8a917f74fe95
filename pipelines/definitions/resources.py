"""What every asset may ask for: the workspace, and where to report progress."""

from __future__ import annotations

from dataclasses import dataclass, field

from data_contracts.progress import SILENT, Progress
from data_contracts.workspace import Workspace


@dataclass(frozen=True)
class Site:
    """One line or clinic as an asset sees it.

    Attributes:
        workspace: the folder everything lives in.
        progress: the terminal's bars when the command line runs the job, silence in a daemon.
    """

    workspace: Workspace
    progress: Progress = field(default=SILENT)
