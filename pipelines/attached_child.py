"""``python -m pipelines.attached_child PARENT COMMAND…``: become COMMAND, and end when PARENT does, however it ends.

A service must not outlive the command that started it, even if that one is killed and can clean up nothing. Linux tells
a process of its parent's death once it has asked for it; elsewhere the parent's own clean-up has to do.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask to be told of the parent's death, then become the command."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it died before we could ask
            sys.exit(1)
    os.execv(command[0], command)  # noqa: S606  # our own command, without a shell


if __name__ == "__main__":
    main()
