"""``python -m pipelines.attached_child PARENT COMMAND…``: run COMMAND, and leave nothing of it when PARENT has ended.

A service must not outlive the command that started it, even if that one is killed and can clean up nothing; nor must
what the service started in its turn, such as a training that Dagster's daemon has under way. So this process stays
between the two: it is asked to be the leader of a process group, and ends the whole group when the parent or the
service has ended.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time

GRACE_SECONDS = 10.0
"""How long what was asked to end may take before it is made to."""

_LOOK_SECONDS = 0.25
_PR_SET_CHILD_SUBREAPER = 36


def main() -> None:
    """Start the command, wait until it or the parent has ended, then end all that is left of the group."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    signal.signal(signal.SIGTERM, _told)
    if sys.platform == "linux":  # whose parent died becomes our child, so that we know when nobody is left
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    service = os.posix_spawn(command[0], command, os.environ)
    code, deadline = 0, float("inf")
    while True:
        for process, status in _ended():
            if process == service:
                code = os.waitstatus_to_exitcode(status)
                service = 0
        if not _has_children():
            sys.exit(code if code >= 0 else 128 - code)
        alone = service == 0 or os.getppid() != parent
        if alone and deadline == float("inf"):
            deadline = time.monotonic() + GRACE_SECONDS
            os.killpg(0, signal.SIGTERM)
        if time.monotonic() > deadline:
            os.killpg(0, signal.SIGKILL)  # ourselves as well: there is nothing left to wait for
        time.sleep(_LOOK_SECONDS)


def _told(_number: int, _frame: object) -> None:
    """Whoever signals the group means the service; we end after it."""


def _ended() -> list[tuple[int, int]]:
    """Process id and wait status of every child that has ended since."""
    found: list[tuple[int, int]] = []
    while True:
        try:
            process, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if process == 0:
            return found
        found.append((process, status))


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


if __name__ == "__main__":
    main()
