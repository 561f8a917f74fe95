"""Which groups are set aside for the test edition before anything is selected: a tenth, by the hash of their name.

Chance decides before anybody (and any model) has looked, the decision needs no memory, and it never changes. Selection
for learning never touches what is set aside; random audits are drawn from it. The test grows by the answers to audits
and by what is set aside and nobody selected, and by nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

SHARE = 0.1
_RANGE = 2**64


def lot(unit: str) -> float:
    """The lot that a group (or an image without one) has drawn: 0 to 1, uniform, for ever the same."""
    digest = hashlib.sha256(b"tailsight set aside\0" + unit.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / _RANGE


def is_set_aside(unit: str, share: float = SHARE) -> bool:
    """Whether a group (or an image without one) is set aside for the test edition."""
    return lot(unit) < share


def components_set_aside(component_of: Mapping[str, str], groups: Mapping[str, str | None]) -> frozenset[str]:
    """The components in which a group, or an image without one, is set aside: what belongs together stays together.

    Args:
        component_of: component of every image id, see :func:`~data_contracts.splitting.components`.
        groups: group of every image id, ``None`` where it has none.
    """
    return frozenset(
        component
        for image, component in component_of.items()
        if is_set_aside(image if groups.get(image) is None else str(groups[image]))
    )
