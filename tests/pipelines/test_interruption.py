"""A Ctrl-C that was lost in a callback is said again; signals of others are not taken for one."""

from __future__ import annotations

import subprocess
import sys

_LOSES_THE_FIRST = """
import os, signal, time
from pipelines.definitions.interruption import said_until_heard

class Finalised:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)

began = time.monotonic()
try:
    with said_until_heard(again_after=0.3):
        Finalised()
        print("went on", flush=True)
        time.sleep(30)
except KeyboardInterrupt:
    print("heard", 0.3 <= time.monotonic() - began < 20, flush=True)
time.sleep(0.7)
print("nothing more", signal.set_wakeup_fd(-1) == -1)
"""

_A_CHILD_IS_TOLD_TO_END = """
import os, signal, sys, time
from pipelines.definitions.interruption import said_until_heard

with said_until_heard(again_after=0.1):
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(7))
    child = os.fork()
    if not child:
        time.sleep(30)
    signal.signal(signal.SIGTERM, lambda number, frame: print("the parent was told"))
    time.sleep(0.3)
    os.kill(child, signal.SIGTERM)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    time.sleep(0.5)
"""

_IN_A_THREAD = """
import threading
from pipelines.definitions.interruption import said_until_heard

def work():
    with said_until_heard():
        print("done")

thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


def _said(program: str) -> tuple[list[str], str]:
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines(), run.stderr


def test_an_interrupt_that_a_finaliser_swallowed_comes_again_and_no_more_after_the_block() -> None:
    stdout, stderr = _said(_LOSES_THE_FIRST)
    assert "Exception ignored" in stderr  # the first one was lost, or this test shows nothing
    assert stdout == ["went on", "heard True", "nothing more True"]


def test_a_forked_process_that_is_told_to_end_does_not_stop_its_parent() -> None:
    stdout, _ = _said(_A_CHILD_IS_TOLD_TO_END)
    assert stdout == ["7"]


def test_outside_the_main_thread_the_block_is_run() -> None:
    stdout, _ = _said(_IN_A_THREAD)
    assert stdout == ["done"]
