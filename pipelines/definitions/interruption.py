"""A Ctrl-C that a run did not hear is said to it again.

Python turns a signal into an exception wherever the main thread happens to be. In a finaliser, in a library's callback
or under an ``except`` that swallows everything it is lost there, and the run goes on as if nobody had asked it to stop.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

AGAIN_SECONDS = 5.0
"""Longer than a run takes to come to its end once it has heard."""

_ASKS_TO_STOP = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def said_until_heard(again_after: float = AGAIN_SECONDS) -> Iterator[None]:
    """Whoever asks what runs in this block to stop need ask only once.

    SIGINT and SIGTERM are sent to the main thread again, every ``again_after`` seconds after they came, until the block
    is left. It does not matter who handles them, nor that handlers are replaced in the block: the system's own note of
    a signal is what is watched. In a thread other than the main one, which gets no signal, the block is only run.

    Args:
        again_after: seconds.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    hearing, told = socket.socketpair()
    told.setblocking(False)
    left = threading.Event()
    watch = threading.Thread(
        target=_repeat, args=(hearing, left, again_after, threading.get_ident()), name="said-until-heard", daemon=True
    )
    before = signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
    try:
        watch.start()
        yield
    finally:
        left.set()
        signal.set_wakeup_fd(before)
        told.close()  # ends the watch, if nothing came
        watch.join()
        hearing.close()


def _repeat(hearing: socket.socket, left: threading.Event, again_after: float, main: int) -> None:
    while notes := hearing.recv(64):
        for number in _ASKS_TO_STOP:
            if number in notes:
                while not left.wait(again_after):
                    signal.pthread_kill(main, number)
                return


def _forget() -> None:
    """A forked process has its parent's socket: what it is told to do would be taken for a wish to stop the parent."""
    signal.set_wakeup_fd(-1)


os.register_at_fork(after_in_child=_forget)
