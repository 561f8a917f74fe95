"""Which groups are set aside for the test edition before anything is selected: a tenth, by the hash of their name.

Chance decides before anybody (and any model) has looked, the decision needs no memory, and it never changes. Selection
for learning never touches what is set aside; random audits are drawn from it, and their answers may grow the test.
"""

from __future__ import annotations

import hashlib

SHARE = 0.1
_RANGE = 2**64


def lot(unit: str) -> float:
    """The lot that a group (or an image without one) has drawn: 0 to 1, uniform, for ever the same."""
    digest = hashlib.sha256(b"tailsight set aside\0" + unit.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / _RANGE


def is_set_aside(unit: str, share: float = SHARE) -> bool:
    """Whether a group (or an image without one) is set aside for the test edition."""
    return lot(unit) < share
