"""Every setting of a proposed profile but the classes, with the reason for its value."""

from __future__ import annotations

import numpy as np

from data_contracts.label_rules import printable
from data_contracts.profile import Profile, parse_profile, shipped_profile_text
from data_contracts.vocabulary import Domain
from pipelines.steps.folder_look import Seen
from pipelines.steps.nearest_profile import pass_class_of
from pipelines.steps.proposed_augmentation import propose_augmentation
from pipelines.steps.proposed_lines import ProposedLine

_MOSTLY_COLOURED = 0.05


def propose_settings(seen: Seen) -> list[ProposedLine]:
    """Every setting but the classes, with its reason."""
    base = _base(seen)
    return [
        *_general(seen, base),
        *_input(seen, base),
        *propose_augmentation(seen, base),
        *_decisions(seen, base),
    ]


def _base(seen: Seen) -> Profile:
    name = seen.nearest.profile if seen.nearest else "generic"
    return parse_profile(shipped_profile_text(name), origin=f"The shipped profile {name!r}")


def _general(seen: Seen, base: Profile) -> list[ProposedLine]:
    folder = seen.folder.name if seen.folder.name not in ("images", "data") else seen.folder.parent.name
    name = printable(folder)[:80] or "line"
    group = seen.labels.group
    if group is not None:
        reason = (
            f"The column {group[0]!r} looks like a group: {group[1]:,} rows share {group[2]:,} values. Images with one "
            "value never fall on both sides of a split. Set null if they show different things."
        )
    else:
        reason = (
            "No column looks like a group. If several images show one part, patient or lot, give a labels CSV with a "
            "column for it: otherwise test figures are too good."
        )
    passing = pass_class_of(seen.classes)
    return [
        ProposedLine(key="name", value=name, reason="The folder's name."),
        ProposedLine(key="domain", value=base.domain.value, reason=_domain_reason(seen)),
        ProposedLine(
            key="description",
            value=f"{seen.images.files:,} images, {len(seen.classes)} classes.",
            reason="For people; write what the camera sees and what the decision is for.",
        ),
        ProposedLine(key="time_zone", value="UTC", reason="Schedules run in it; write yours, such as Europe/Berlin."),
        ProposedLine(key="group_column", value=group[0] if group else None, reason=reason),
        ProposedLine(
            key="pass_class",
            value=passing,
            reason=f"The name {passing!r} says that nothing is wrong; with it, escape and overkill rates are reported."
            if passing
            else "No class name says for certain that nothing is wrong; name the class that means 'good', and escape "
            "and overkill rates are reported.",
        ),
    ]


def _domain_reason(seen: Seen) -> str:
    if seen.nearest is None:
        return "No shipped profile is clearly made for these class names."
    return f"The shipped profile {seen.nearest.profile!r} fits: {seen.nearest.why}."


def _input(seen: Seen, base: Profile) -> list[ProposedLine]:
    images = seen.images
    longer = np.maximum(images.widths, images.heights)
    megapixels = images.widths * images.heights / 1e6
    coloured = images.coloured >= _MOSTLY_COLOURED
    if images.decoded == 0:
        channels, why = base.input.channels, "The images are too large to be looked at here; taken as images come."
    elif coloured:
        channels, why = 3, f"{images.coloured:.0%} of the images looked at have visible colour."
    elif images.stored_in_colour > 0.5:
        channels = 1
        why = "They are stored in colour, but their three channels agree to the eye: grey says the same and costs less."
    else:
        channels, why = 1, "The images are grey."
    median_w, median_h = int(np.median(images.widths)), int(np.median(images.heights))
    spread = "all of one size" if len(set(zip(images.widths, images.heights, strict=True))) == 1 else (
        f"from {int(longer.min()):,} to {int(longer.max()):,} px on the longer side"
    )  # fmt: skip
    largest = (int(images.widths[megapixels.argmax()]), int(images.heights[megapixels.argmax()]))
    limit = 120.0
    limit_why = (
        f"The largest image looked at has {largest[0]:,} x {largest[1]:,} px; what exceeds the limit is set aside."
    )
    if float(np.median(megapixels)) > 60:
        limit = min(2000.0, float(np.ceil(1.5 * np.quantile(megapixels, 0.9))))
        limit_why = f"Half of the images looked at have more than {np.median(megapixels):.0f} megapixels."
    deep = images.depths.get(16, 0)
    window = (
        f"{deep} of {images.readable} images looked at have 16 bits. Null shows each from its own 0.1 to its 99.9 "
        "percentile; set centre and width where brightness has a fixed meaning."
        if deep
        else "The images have 8 bits; there is nothing to window."
    )
    return [
        ProposedLine(key="input.channels", value=channels, reason=why),
        ProposedLine(
            key="input.size",
            value=None,
            reason=f"Null lets the preset choose; the images are {median_w} x {median_h} px in the median, {spread}.",
        ),
        ProposedLine(key="input.max_megapixels", value=limit, reason=limit_why),
        ProposedLine(key="input.window_centre", value=None, reason=window),
        ProposedLine(key="input.window_width", value=None, reason="With window_centre, or null with it."),
    ]


def _decisions(seen: Seen, base: Profile) -> list[ProposedLine]:
    medical = base.domain in (Domain.DERMOSCOPY, Domain.RADIOGRAPH)
    few = [name for name, n in seen.classes.items() if n < 10 * base.gate.minimum_test_images]
    shown = ", ".join(repr(name) for name in few[:6]) + (f" and {len(few) - 6} more" if len(few) > 6 else "")
    source = f"of the shipped profile {seen.nearest.profile!r}" if seen.nearest else "that every profile begins with"
    return [
        ProposedLine(
            key="limits.automatic_error",
            value=base.limits.automatic_error,
            reason=f"The largest share of wrong automatic decisions, {source}. What may it be here?",
        ),
        ProposedLine(key="limits.confidence", value=base.limits.confidence, reason="How sure that limit must hold."),
        ProposedLine(
            key="review.budget_per_round", value=base.review.budget_per_round, reason="Images per round of review."
        ),
        ProposedLine(
            key="review.seconds_per_image",
            value=base.review.seconds_per_image,
            reason="For hours of work, until they are measured.",
        ),
        ProposedLine(
            key="review.reader_hours_per_week",
            value=base.review.reader_hours_per_week,
            reason="How much time people have; write yours.",
        ),
        ProposedLine(
            key="review.by_group",
            value=base.review.by_group and seen.labels.group is not None,
            reason="One decision for all images of a group, only where the group is one case (a lesion, a part).",
        ),
        ProposedLine(
            key="review.read_first",
            value=base.review.read_first,
            reason="The model stays hidden until a person has decided, as in medicine it must."
            if medical
            else "People see the prediction while they decide, which is faster; true hides it until they have.",
        ),
        ProposedLine(
            key="review.readings_required",
            value=base.review.readings_required,
            reason="Readers per image; 2 where one opinion is not enough.",
        ),
        ProposedLine(
            key="gate.minimum_test_images",
            value=base.gate.minimum_test_images,
            reason=f"Too few images (a tenth of them are test images) for the gate to judge: {shown}."
            if few
            else "Every class has enough images for the gate to judge it.",
        ),
        ProposedLine(
            key="gate.maximum_ece", value=base.gate.maximum_ece, reason="How far probabilities may be off on average."
        ),
        ProposedLine(
            key="promotion", value=base.promotion.value, reason="A person moves the champion until you trust the gate."
        ),
    ]
