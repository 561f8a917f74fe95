"""``init --from-images``: looks at a folder and proposes a profile, with a reason for every line."""

from __future__ import annotations

import shlex
from pathlib import Path

from data_contracts.label_rules import printable
from data_contracts.progress import SILENT, Progress
from data_contracts.workspace import Workspace
from pipelines.steps.folder_look import Seen, look
from pipelines.steps.initialise import InitialiseReport, make_workspace
from pipelines.steps.proposed_lines import ProposedClass, ProposedLine, as_yaml
from pipelines.steps.proposed_settings import propose_settings

MOST_CLASSES = 200
MIXED_SHARE = 0.05


class ProposalReport(InitialiseReport):
    """What was seen and proposed. ``next`` is the command that takes these images in; ``nearest`` may be ``None``."""

    images: int
    looked_at: int
    unreadable: list[dict[str, str]]
    labels: str | None
    nearest: str | None
    nearest_why: str | None
    class_counts: dict[str, int]
    lines: list[ProposedLine]
    remarks: list[str]
    next: str


def propose(workspace: Workspace, images: Path, *, seed: int = 0, progress: Progress = SILENT) -> ProposalReport:
    """Look at ``images`` and make ``workspace`` with the profile that they suggest.

    Raises:
        NotFound: there is no such folder.
        BadInput: it has no image, none of those looked at can be read, or the workspace has another profile.
    """
    seen = look(images, ignore=_own(workspace, images), seed=seed, progress=progress)
    lines = propose_settings(seen)
    classes = [ProposedClass(name=name, images=n) for name, n in seen.classes.items()]
    too_many = len(classes) > MOST_CLASSES
    text = as_yaml(_head(seen), lines, [] if too_many else classes, _classes_reason(seen, too_many=too_many))
    made = make_workspace(workspace, text, origin=f"The profile proposed for {images}")
    return ProposalReport(
        **made.model_dump(),
        images=seen.images.files,
        looked_at=seen.images.looked_at,
        unreadable=[{"path": path, "reason": reason} for path, reason in seen.images.unreadable],
        labels=str(seen.labels.csv) if seen.labels.csv else None,
        nearest=seen.nearest.profile if seen.nearest else None,
        nearest_why=seen.nearest.why if seen.nearest else None,
        class_counts=seen.classes,
        lines=[
            *lines,
            ProposedLine(
                key="taxonomy", value=[c.name for c in classes], reason=_classes_reason(seen, too_many=too_many)
            ),
        ],
        remarks=_remarks(seen),
        next=_next(seen),
    )


def _head(seen: Seen) -> list[str]:
    images = seen.images
    formats = ", ".join(f"{kind} {n}" for kind, n in images.formats.items())
    text = [
        f"Proposed from {printable(str(seen.folder))}: {images.files:,} files, {images.looked_at:,} of them looked at "
        f"({formats}). The comment above each line says why. Change what you know better."
    ]
    if seen.nearest is not None:
        text.append(
            f"The nearest shipped profile is {seen.nearest.profile!r} ({seen.nearest.why}); "
            f"`tailsight init --profile {seen.nearest.profile}` takes it as it is."
        )
    return text


def _classes_reason(seen: Seen, *, too_many: bool) -> str:
    held = {name: verdict for name, verdict in seen.judged.verdicts.items() if verdict.class_name is None}
    where = f"the column {seen.labels.label_column!r} of {seen.labels.csv.name}" if seen.labels.csv else "class folders"
    if too_many:
        return f"{len(seen.classes):,} different labels in {where} are too many to list; the first ingest finds them."
    if not seen.classes:
        return (
            "No labels were found: name the classes here, or ingest labels later, which makes the classes it finds. "
            "The order is the order of columns and never changes."
        )
    reason = f"The classes found in {where}. The order is the order of columns and never changes."
    if held:
        shown = "; ".join(f"{name[:60]!r}: {verdict.reason}" for name, verdict in list(held.items())[:5])
        reason += f" Left out: {shown}"
    return reason


def _remarks(seen: Seen) -> list[str]:
    images, remarks = seen.images, []
    if images.unreadable:
        path, reason = images.unreadable[0]
        remarks.append(
            f"{len(images.unreadable)} of {images.looked_at} files looked at cannot be read, such as {path}: {reason}"
        )
    if seen.found.set_aside:
        first = next(iter(seen.found.set_aside.values()))
        remarks.append(
            f"{len(seen.found.set_aside):,} files were set aside unread, such as {printable(first.path)}: "
            f"{first.reason}"
        )
    if len(images.depths) > 1:
        remarks.append("Images of 8 and of 16 bits are mixed; if that goes with the class, the model will learn it.")
    if len(images.formats) > 1:
        listed = ", ".join(f"{kind} {n}" for kind, n in images.formats.items())
        remarks.append(f"Formats are mixed ({listed}); if that goes with the class, the model will learn it.")
    if 0 < images.coloured < 1 and min(images.coloured, 1 - images.coloured) >= MIXED_SHARE:
        remarks.append("Grey and colour images are mixed; if that goes with the class, the model will learn it.")
    return [*seen.labels.remarks, *seen.judged.warnings, *remarks]


def _next(seen: Seen) -> str:
    words = ["tailsight", "ingest", str(seen.folder)]
    labels = seen.labels
    if labels.csv is not None:
        words += ["--labels", str(labels.csv)]
        for option, column, default in (
            ("--image-column", labels.image_column, "image"),
            ("--label-column", labels.label_column, "label"),
            ("--group-column", labels.group[0] if labels.group else None, None),
            ("--split-column", labels.split_column, None),
        ):
            if column is not None and column != default:
                words += [option, column]
    return shlex.join(words)


def _own(workspace: Workspace, images: Path) -> list[Path]:
    """What a workspace keeps in its own folder, where that is the folder of images or lies in it."""
    if not workspace.folder.is_dir():
        return []
    if workspace.folder.resolve() != images.resolve():
        return [workspace.folder]
    places = (workspace.custody, workspace.datasets, workspace.cache, workspace.runs, workspace.mlflow)
    return [*places, workspace.dagster, workspace.scores, workspace.reports, workspace.locks]
