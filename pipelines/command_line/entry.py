"""``tailsight``: exit codes, and that nobody ever sees a traceback.

0 done, 1 failed or refused, 2 bad input, 130 stopped by Ctrl-C. A defect of ours ends with one line and a log file.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import tempfile
import threading
import traceback
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from data_contracts.disk_space import space_error
from data_contracts.errors import TailsightError
from pipelines.command_line.output import emit_error, emit_tailsight_error
from pipelines.garbage import end_without_search, search_seldom

INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> None:
    """Run one command and exit with its code."""
    given = sys.argv[1:] if arguments is None else arguments
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # third-party deprecations are ours to read in the test suite, not the user's
    search_seldom()
    try:
        code = _run(given)
    except KeyboardInterrupt:  # before the command began, or once more while it came to its end
        code = _stopped(as_json="--json" in given)
    end_without_search()
    if code == INTERRUPTED:
        end_as_it_stands(code)
    sys.exit(code)


def end_as_it_stands(code: int) -> NoReturn:
    """End as the interpreter does, but for taking its modules apart.

    Threads that nobody waited for may still compute with them, and have crashed an interrupted process at its end.
    """
    try:
        threading._shutdown()  # type: ignore[attr-defined]  # waits for threads that are no daemons, as at any end
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
    finally:
        os._exit(code)


def _run(arguments: list[str]) -> int:
    from typer import Abort
    from typer import main as typer_main
    from typer.exceptions import TyperException

    from pipelines.command_line.app import app

    as_json = "--json" in arguments
    try:
        result = typer_main.get_command(app).main(arguments, prog_name="tailsight", standalone_mode=False)
        if result == INTERRUPTED:  # typer turns Ctrl-C into this result by itself
            raise KeyboardInterrupt
        return result if isinstance(result, int) else 0
    except TyperException as error:
        return _usage_error(error, as_json=as_json)
    except TailsightError as error:
        emit_tailsight_error(error, as_json=as_json)
        return error.exit_code
    except (KeyboardInterrupt, Abort):
        return _stopped(as_json=as_json)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter complains at exit
        return 1
    except Exception as error:
        if full := space_error(error, _workspace_folder()):
            emit_tailsight_error(full, as_json=as_json)
            return full.exit_code
        path = _write_log(arguments, error)
        emit_error(
            f"An unexpected error stopped this command ({type(error).__name__}: {_first_line(error)}).",
            cause="This is a defect in Tailsight, not something you did.",
            remedy=f"Please report it with the file {path}.",
            as_json=as_json,
        )
        return 1


def _stopped(*, as_json: bool) -> int:
    emit_error("Stopped.", remedy="The same command goes on where it stopped; nothing done is lost.", as_json=as_json)
    return INTERRUPTED


def _usage_error(error: object, *, as_json: bool) -> int:
    context = getattr(error, "ctx", None)
    message = str(getattr(error, "format_message", lambda: error)()).rstrip()
    command = context.command_path if context is not None else "tailsight"
    if type(error).__name__ == "NoArgsIsHelpError":
        print(message, file=sys.stderr)
        return 2
    emit_error(message, remedy=f"See `{command} --help`.", as_json=as_json)
    return 2


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else "no message"


def _without_secrets(argument: str) -> str:
    """A web address may hold a secret: only its host is written down."""
    address = urlsplit(argument)
    return f"{address.scheme}://{address.hostname}/…" if address.scheme in ("http", "https") else argument


def _workspace_folder() -> Path:
    from pipelines.command_line.app import current_workspace

    return current_workspace().folder


def _write_log(arguments: list[str], error: BaseException) -> Path:
    """The traceback in a file of the workspace, or of the system's temporary folder where there is none."""
    from pipelines.command_line.app import current_workspace

    workspace = current_workspace()
    folder = workspace.folder / "logs" if workspace.profile_path.is_file() else Path(tempfile.gettempdir())
    path = folder / f"tailsight-{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}.log"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(
            f"tailsight {' '.join(map(_without_secrets, arguments))}\n\n{''.join(traceback.format_exception(error))}",
            encoding="utf-8",
        )
    except OSError:
        return Path("(the log could not be written)")
    return path


if __name__ == "__main__":
    main()
