"""Which shipped profile is made for images like these? Told by class names and column names, never by pixels alone."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_CLASS_WORDS: dict[str, str] = {
    "solar-el": """
        functional possibly_defective probably_defective defective finger_failure inactive_area disconnected
        dark_cell black_core finger_interruption thick_line""",
    "dermoscopy": """
        akiec bcc bkl df mel nv vasc scc melanoma nevus naevus melanocytic_nevus melanocytic_nevi
        basal_cell_carcinoma dermatofibroma seborrheic_keratosis benign_keratosis actinic_keratosis
        squamous_cell_carcinoma vascular_lesion pigmented_benign_keratosis""",
    "radiograph": """
        pneumonia bacterial_pneumonia viral_pneumonia covid covid_19 covid19 tuberculosis effusion pleural_effusion
        cardiomegaly atelectasis pneumothorax consolidation edema emphysema fibrosis infiltration lung_opacity
        no_finding fracture not_fractured fractured""",
    "steel-strip": """
        crazing inclusion inclusions patches pitted_surface rolled_in_scale scratches finishing_roll_printing
        iron_sheet_ash oxide_scale_of_plate_system oxide_scale_of_temperature_system red_iron red_iron_sheet
        slag_inclusion surface_scratch roll_mark scab edge_crack punching_hole welding_line crescent_gap water_spot
        oil_spot silk_spot rolled_pit crease waist_folding""",
    "circuit-board": """
        missing_hole mouse_bite open_circuit short short_circuit spur spurious_copper solder_bridge bridging
        cold_solder insufficient_solder excess_solder tombstone tombstoning lifted_lead missing_component
        misaligned_component wrong_polarity pin_hole no_solder solder_ball""",
}
"""Names of classes in each field, folded as :func:`folded` does."""

_GROUP_COLUMNS = {"lesion_id": "dermoscopy", "lesion": "dermoscopy"}

_LEAST_SHARE = 0.5
_LEAST_CLASSES = 2

PASS_WORDS = (
    *("ok", "good", "pass", "passed", "normal", "functional", "healthy", "intact", "no_defect", "defect_free"),
    *("no_anomaly", "no_finding", "nondefective", "non_defective", "conforming", "accept", "accepted", "gut", "io"),
    *("合格", "良品", "正常", "未见异常"),
)
"""Class names that mean 'nothing wrong', folded as :func:`folded` does."""


@dataclass(frozen=True)
class Nearest:
    """A shipped profile and why it fits."""

    profile: str
    why: str


def nearest_profile(classes: Iterable[str], columns: Iterable[str] = ()) -> Nearest | None:
    """The shipped profile whose domain the class names speak of; ``None`` where none is clearly meant."""
    names = {folded(name): name for name in classes}
    best: tuple[float, str, list[str]] | None = None
    for profile, words in _CLASS_WORDS.items():
        known = [name for key, name in names.items() if key in words.split()]
        share = len(known) / max(1, len(names))
        if len(known) >= _LEAST_CLASSES and share >= _LEAST_SHARE and (best is None or share > best[0]):
            best = (share, profile, known)
    if best is not None:
        _, profile, known = best
        shown = ", ".join(repr(name) for name in sorted(known)[:4])
        return Nearest(profile, f"{len(known)} of {len(names)} class names are of its field ({shown})")
    for column in columns:
        if folded(column) in _GROUP_COLUMNS:
            return Nearest(_GROUP_COLUMNS[folded(column)], f"the labels have a column {column!r}")
    return None


def pass_class_of(classes: Iterable[str]) -> str | None:
    """The one class whose name says that nothing is wrong; ``None`` where there is none, or more than one."""
    found = [name for name in classes if folded(name) in PASS_WORDS]
    return found[0] if len(found) == 1 else None


def folded(name: str) -> str:
    """Lower case, with underscores for spaces, hyphens and dots."""
    return re.sub(r"[\s\-_.]+", "_", name.strip().casefold()).strip("_")
