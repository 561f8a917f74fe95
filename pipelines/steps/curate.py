"""``curate``: from the ledger's images and labels to an immutable dataset version without leaks."""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from data_contracts.errors import BadInput, IntegrityError, NotFound
from data_contracts.ledger.conflicts import conflicts_frame
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.datasets import latest_dataset, record_dataset
from data_contracts.ledger.events import head
from data_contracts.ledger.fold import current_labels, image_answers
from data_contracts.ledger.images import images_frame, occurrences_frame
from data_contracts.ledger.near_duplicates import near_duplicates_frame
from data_contracts.ledger.splits import assign_splits, split_assignments
from data_contracts.ledger.taxonomies import follow_profile
from data_contracts.progress import SILENT, Progress
from data_contracts.records import DatasetVersion
from data_contracts.review.tasks import asked_about, drawn_by_audit, tasks_frame
from data_contracts.set_aside import components_set_aside
from data_contracts.settings import read_settings
from data_contracts.splitting import DEFAULT_FRACTIONS, Candidate, SplitResult, components, split_images, thirds
from data_contracts.taxonomy import Taxonomy
from data_contracts.vocabulary import LABELLED_SPLITS, ConflictKind, Purpose, Split, SubjectKind
from data_contracts.workspace import Workspace
from pipelines.steps.curate_sentences import imbalance_of, sentences_of, split_counts
from pipelines.steps.curate_shortcuts import FILE_ATTRIBUTES, ShortcutReport, file_shortcuts, sentence_of_shortcut
from pipelines.steps.dataset import manifest_hash, read_dataset, version_name, write_dataset


class CurateRequest(BaseModel):
    """How to split. ``fractions`` are train, val, test; ``minimum_count`` is the advised number of images a class."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 0
    fractions: tuple[float, float, float] = DEFAULT_FRACTIONS
    minimum_count: int = Field(default=500, ge=1)


class CurateReport(BaseModel):
    """The dataset version, and what a person should know of it.

    ``splits`` counts images of each class in train, val and test; ``imbalance_factor`` is the largest class over the
    smallest; ``leaks_found`` counts components (patients, duplicates) that were given, or already hold, two splits;
    ``shortcuts`` are attributes of the files that give the class away.
    """

    dataset_version: str
    splits: dict[str, dict[str, int]]
    leaks_found: int
    imbalance_factor: float | None
    classes_under_minimum: list[str]
    thirds: dict[str, list[str]]
    images: int
    pool: int
    duplicates: int
    near_duplicates: int
    conflicts: int
    components: int
    test_edition: int
    shortcuts: list[ShortcutReport] = []
    sentences: list[str]


def curate(workspace: Workspace, request: CurateRequest | None = None, progress: Progress = SILENT) -> CurateReport:
    """Bind duplicates and groups, check for leaks, split, and record an immutable dataset version.

    The same labels, images and seed give the same version. What arrives after the first data set joins the test only if
    chance has drawn it: answers to a random audit, and the groups that were set aside before anybody selected anything.
    Images that people were asked about because of what a model said of them only train. Images without a label, marked
    as bad, in dispute, or with exact duplicates that disagree on the class wait in the pool until a person decides.

    Raises:
        BadInput: no image has a label, or the fractions are not positive and do not sum to 1.
        Busy: another ingest or curate is at work in this workspace.
    """
    request = request or CurateRequest()
    profile = workspace.require().profile
    with workspace.lock("ingest"), Ledger.open(workspace, read_settings()) as ledger:
        progress.say("Reading the ledger.")
        taxonomy, remarks = follow_profile(ledger, profile.taxonomy, "profile")
        anchor = head(ledger)
        items = _items(ledger, taxonomy)
        if items["label"].isna().all():
            raise BadInput(
                "No image has a label, so there is nothing to learn from.",
                cause="Either no labels were ingested, or all of them are in conflict or were held for mistakes.",
                remedy="Ingest class folders, or a folder with --labels.",
            )
        progress.say("Splitting.")
        result = split_images(
            _candidates(items),
            seed=request.seed,
            fractions=request.fractions,
            test_is_drawn=bool(items["assigned"].notna().any()),
        )
        manifest = _manifest(items, result, taxonomy)
        sha256 = manifest_hash(manifest, taxonomy)
        previous = latest_dataset(ledger)
        counts = split_counts(manifest)
        imbalance = imbalance_of(manifest)
        under = tuple(name for name, n in _totals(manifest, taxonomy).items() if n < request.minimum_count)
        record = DatasetVersion(
            dataset_version=version_name(sha256),
            created_at=datetime.now(UTC),
            manifest_sha256=sha256,
            taxonomy=taxonomy,
            profile_hash=profile.content_hash,
            ledger_head=anchor,
            test_edition=_test_edition(workspace, previous, manifest, sha256),
            parent=previous.dataset_version if previous and previous.manifest_sha256 != sha256 else None,
            counts=counts,
            imbalance_factor=imbalance,
            classes_under_minimum=under,
            seed=request.seed,
        )
        # files before rows: a version that the ledger knows can always be read
        write_dataset(workspace.dataset(record.dataset_version), record, manifest)
        kept = manifest[manifest["split"] != Split.POOL.value]
        assign_splits(
            ledger,
            {i: Split(s) for i, s in zip(kept["image_id"], kept["split"], strict=True)},
            record.dataset_version,
        )
        record = record_dataset(ledger, record)
        return _report(ledger, request, record, items, manifest, result, remarks)


def _items(ledger: Ledger, taxonomy: Taxonomy) -> pd.DataFrame:
    """One row per image: ``image_id, uri, group, component, label`` (None if unusable), splits and ``why_not``."""
    images = images_frame(ledger)[["image_id", "uri", "group", "given_split", *FILE_ATTRIBUTES.values()]]
    answers = image_answers(ledger)[["image_id", "label", "bad_image", "split_label"]]
    items = images.merge(answers, on="image_id", how="left", validate="one_to_one")
    pairs = near_duplicates_frame(ledger)
    bound = pairs[pairs["binding"]]
    groups = {i: (g if isinstance(g, str) else None) for i, g in zip(items["image_id"], items["group"], strict=True)}
    component_of = components(groups, zip(bound["image_a"], bound["image_b"], strict=True))
    held = split_assignments(ledger)
    assigned = dict(zip(held["image_id"], held["split"], strict=True))
    undecided = _undecided(ledger)
    taught, audited = _asked_about(ledger, items)
    why_not = pd.Series("", index=items.index)
    why_not[items["label"].isna()] = "unlabelled"
    why_not[items["split_label"].notna()] = "split_class"
    why_not[items["label"].notna() & ~items["label"].isin(taxonomy.names)] = "unknown_class"
    why_not[items["image_id"].isin(undecided)] = "conflict"
    why_not[items["bad_image"]] = "bad_image"
    return items.assign(
        component=items["image_id"].map(component_of),
        assigned=items["image_id"].map(assigned),
        taught=taught,
        audited=audited,
        set_aside=items["image_id"].map(component_of).isin(components_set_aside(component_of, groups)),
        why_not=why_not,
        label=items["label"].where(why_not == "", None),
    )


def _undecided(ledger: Ledger) -> set[str]:
    """Images whose exact duplicates disagree and about which nobody said anything since."""
    conflicts = conflicts_frame(ledger)
    open_ones = conflicts[conflicts["kind"] == ConflictKind.DUPLICATE_LABELS.value]
    if open_ones.empty:
        return set()
    labels = current_labels(ledger)
    labels = labels[labels["subject_kind"] == SubjectKind.IMAGE.value]
    since = open_ones["subject_id"].map(dict(zip(labels["subject_id"], labels["at"], strict=True)))
    return set(open_ones.loc[~(since > open_ones["at"]), "subject_id"])


def _asked_about(ledger: Ledger, items: pd.DataFrame) -> tuple[pd.Series[bool], pd.Series[bool]]:
    """Images that people were shown because of what a model said of them, and those that a random audit drew.

    What was selected only trains: a validation or test set that grew by it would not be a fair sample of what comes
    along. What chance has drawn is one, whatever else was asked about it.
    """
    tasks = tasks_frame(ledger)
    audit = drawn_by_audit(tasks)
    selected = ~audit & (tasks["purpose"] == Purpose.REVIEW.value)
    audited, studied = (
        asked_about(items, tasks[audit]),
        asked_about(items, tasks[tasks["purpose"] == Purpose.STUDY.value]),
    )
    return asked_about(items, tasks[selected]) & ~audited & ~studied, audited


def _candidates(items: pd.DataFrame) -> list[Candidate]:
    labelled = items["label"].notna()
    first = not items["assigned"].notna().any()
    # A component that has a split already, or is given one, keeps it.
    placed = items["assigned"].notna() | items["given_split"].notna()
    elsewhere = _share_a_component(items, placed)
    # The first data set of a cold start has nothing but chosen images, and needs all three parts nevertheless.
    selected = _share_a_component(items, items["taught"] & labelled)
    drawn = _share_a_component(items, items["audited"] & labelled)
    if not first:
        drawn |= items["set_aside"] & ~selected
    trains = items["taught"] & (not first)
    given = items["given_split"].astype(object)
    given = given.where(elsewhere | ~trains, Split.TRAIN.value).where(elsewhere | ~drawn, Split.TEST.value)
    items = items.assign(given_split=given)

    def split(value: object) -> Split | None:
        return Split(value) if isinstance(value, str) else None

    columns = (items[name].to_list() for name in ("image_id", "component", "label", "assigned", "given_split"))
    return [
        Candidate(image, component, label, split(assigned), split(given))
        for image, component, label, assigned, given in zip(*columns, strict=True)
    ]


def _share_a_component(items: pd.DataFrame, chosen: pd.Series[bool]) -> pd.Series[bool]:
    """Whether an image belongs together with one of ``chosen``."""
    return items["component"].isin(items.loc[chosen, "component"])


def _manifest(items: pd.DataFrame, result: SplitResult, taxonomy: Taxonomy) -> pd.DataFrame:
    index = {name: number for number, name in enumerate(taxonomy.names)}
    split = items["image_id"].map({image: value.value for image, value in result.splits.items()})
    used = split != Split.POOL.value
    return pd.DataFrame(
        {
            "image_id": items["image_id"],
            "uri": items["uri"],
            "component": items["component"],
            "group": items["group"].astype(object).where(items["group"].notna(), None),
            "label": items["label"].astype(object).where(items["label"].notna(), None),
            "class_index": items["label"].map(index).fillna(-1).astype("int64"),
            "weight": used.astype("float64"),
            "split": split,
        }
    )


def _totals(manifest: pd.DataFrame, taxonomy: Taxonomy) -> dict[str, int]:
    """Usable images of every class of the taxonomy, in its order."""
    counts = manifest.loc[manifest["split"] != Split.POOL.value, "label"].value_counts()
    return {name: int(counts.get(name, 0)) for name in taxonomy.names}


def _test_edition(workspace: Workspace, previous: DatasetVersion | None, manifest: pd.DataFrame, sha256: str) -> int:
    """1 for the first test set; one more whenever its images change (or what they were cannot be read any more)."""
    if previous is None:
        return 1
    if previous.manifest_sha256 == sha256:
        return previous.test_edition
    try:
        before = read_dataset(workspace, previous)
    except (NotFound, IntegrityError):
        return previous.test_edition + 1
    old, new = (set(frame.loc[frame["split"] == Split.TEST.value, "image_id"]) for frame in (before, manifest))
    return previous.test_edition + (old != new)


def _report(
    ledger: Ledger,
    request: CurateRequest,
    record: DatasetVersion,
    items: pd.DataFrame,
    manifest: pd.DataFrame,
    result: SplitResult,
    remarks: tuple[str, ...],
) -> CurateReport:
    pairs = near_duplicates_frame(ledger)
    conflicts = conflicts_frame(ledger)
    mismatched = conflicts[conflicts["kind"] == ConflictKind.SPLIT_MISMATCH.value]["subject_id"].nunique()
    totals = _totals(manifest, record.taxonomy)
    train = {name: record.counts[Split.TRAIN.value].get(name, 0) for name in record.taxonomy.names}
    leaks = len(result.leaks) + int(mismatched)
    shortcuts = file_shortcuts(items[items["image_id"].isin(manifest.loc[manifest["class_index"] >= 0, "image_id"])])
    return CurateReport(
        dataset_version=record.dataset_version,
        splits={split.value: record.counts[split.value] for split in LABELLED_SPLITS},
        leaks_found=leaks,
        imbalance_factor=record.imbalance_factor,
        classes_under_minimum=[name for name, n in totals.items() if n < request.minimum_count],
        thirds={name: list(members) for name, members in thirds(train).items()},
        images=len(items),
        pool=int((manifest["split"] == Split.POOL.value).sum()),
        duplicates=max(0, len(occurrences_frame(ledger)) - len(items)),
        near_duplicates=int(pairs["binding"].sum()),
        conflicts=int((items["why_not"] == "conflict").sum()),
        components=int(items["component"].nunique()),
        test_edition=record.test_edition,
        shortcuts=shortcuts,
        sentences=[
            *remarks,
            *sentences_of(items, manifest, result, totals, request.minimum_count, int(mismatched)),
            *(sentence_of_shortcut(one) for one in shortcuts),
        ],
    )
