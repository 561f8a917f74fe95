"""Everything that competes under a target.

Another way of making a model smaller is one more entry of :data:`FAMILIES`: a function from the subject to candidates,
whose ``make`` may look at everything that was made before it.
"""

from __future__ import annotations

from collections.abc import Callable

from pipelines.steps.compress_candidates import Asked, Candidate, pruned_champions, students, the_champion
from pipelines.steps.compress_cascades import cascades
from pipelines.steps.compress_subject import Subject

FAMILIES: dict[str, Callable[[Subject, Asked], list[Candidate]]] = {
    "champion": the_champion,
    "student": students,
    "pruned": pruned_champions,
    "cascade": cascades,
}
"""In the order in which they are made."""
