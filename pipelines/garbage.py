"""When a command's process looks for unreachable objects: seldom while it loads libraries, not at all when it ends.

Importing makes a million objects of which none is garbage, and Python searches them again and again. At its end the
interpreter searches all of them several times more, which took longer than many a command. The system takes a process's
memory back without either.
"""

from __future__ import annotations

import gc

ALLOCATIONS = 20_000
"""Objects that may come to be before the young ones are searched; Python's own 700 is for small programs."""


def search_seldom() -> None:
    """At the start of a process: search only after :data:`ALLOCATIONS` new objects."""
    gc.set_threshold(ALLOCATIONS, *gc.get_threshold()[1:])


def end_without_search() -> None:
    """As the last thing that a process does: what lives now is no longer searched. What runs at exit still runs."""
    gc.freeze()
