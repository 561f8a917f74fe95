"""Start the app's server: ``python -m review_app.launch --port 8501``, the workspace from ``TAILSIGHT_WORKSPACE``.

Nothing is sent anywhere: telemetry is off, no browser is opened, no folder is served. The server takes over this
process, so whoever started it stops it with one signal.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from data_contracts.errors import TailsightError
from data_contracts.settings import read_settings
from data_contracts.workspace import Workspace
from review_app.accounts import read_accounts, secrets_path

DEFAULT_PORT = 8501
DEFAULT_ADDRESS = "127.0.0.1"

_ROOT = Path(__file__).resolve().parents[1]

_OPTIONS: dict[str, str] = {
    "server.headless": "true",
    "server.fileWatcherType": "none",
    "server.runOnSave": "false",
    "server.enableStaticServing": "false",
    "server.showEmailPrompt": "false",
    "server.disconnectedSessionTTL": "60",
    "browser.gatherUsageStats": "false",
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "none",
    "client.showErrorLinks": "false",
    "client.disableDataExport": "true",
    "global.minCachedMessageSize": "1e15",  # a message with images is kept in no cache
    "runner.magicEnabled": "false",
    "logger.level": "warning",
    "logger.hideWelcomeMessage": "true",
    "theme.baseRadius": "0.6rem",
    "theme.baseFontSize": "17",
    "theme.light.primaryColor": "#0b6e8f",
    "theme.light.backgroundColor": "#ffffff",
    "theme.light.secondaryBackgroundColor": "#eef2f5",
    "theme.light.textColor": "#14202b",
    "theme.light.borderColor": "#c9d3db",
    "theme.dark.primaryColor": "#1c7a9d",
    "theme.dark.backgroundColor": "#11161b",
    "theme.dark.secondaryBackgroundColor": "#1d252d",
    "theme.dark.textColor": "#eef3f6",
    "theme.dark.borderColor": "#36424d",
}


def server_command(workspace: Path, port: int, address: str = DEFAULT_ADDRESS) -> list[str]:
    """The command that serves the app; no other secrets than the workspace's own decide who may come in."""
    secrets = str(secrets_path(Workspace(workspace)))
    options = {**_OPTIONS, "server.port": str(port), "server.address": address, "secrets.files": secrets}
    flags = [part for name, value in options.items() for part in (f"--{name}", value)]
    return [sys.executable, "-m", "streamlit", "run", str(_ROOT / "review_app" / "main.py"), *flags]


def server_environment(workspace: Path) -> dict[str, str]:
    """The environment of the server: the workspace by its absolute path, and our rooms importable."""
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "TAILSIGHT_WORKSPACE": str(workspace), "PYTHONPATH": os.pathsep.join(paths)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Become the server of the workspace in the environment; its ``.streamlit/secrets.toml`` is held to be whole."""
    parser = argparse.ArgumentParser(prog="python -m review_app.launch", description="Start Tailsight's review app.")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT)
    parser.add_argument("--address", default=DEFAULT_ADDRESS, help="0.0.0.0 lets other machines in")
    given = parser.parse_args(arguments)
    workspace = read_settings().workspace.expanduser().resolve()
    try:
        read_accounts(Workspace(workspace))
    except TailsightError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    if workspace.is_dir():
        os.chdir(workspace)
    command = server_command(workspace, given.port, given.address)
    os.execve(command[0], command, server_environment(workspace))  # noqa: S606  # our own command, without a shell


if __name__ == "__main__":
    main()
