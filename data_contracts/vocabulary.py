"""The closed vocabularies that every room shares."""

from __future__ import annotations

from enum import StrEnum


class Split(StrEnum):
    """Where an image is used. ``pool`` holds images without a usable label."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"
    POOL = "pool"


LABELLED_SPLITS = (Split.TRAIN, Split.VAL, Split.TEST)


class Source(StrEnum):
    """Where a label comes from; a stronger source wins over a later event of a weaker one."""

    IMPORT = "import"
    READER = "reader"
    ADJUDICATION = "adjudication"
    REFERENCE = "reference"

    @property
    def strength(self) -> int:
        """0 for the weakest source, rising."""
        return list(Source).index(self)


class Action(StrEnum):
    """What a label event does to its subject."""

    LABEL = "label"
    CONFIRM = "confirm"
    CORRECT = "correct"
    UNSURE = "unsure"
    BAD_IMAGE = "bad_image"
    SKIP = "skip"
    UNDO = "undo"
    ADJUDICATE = "adjudicate"
    IMPORT = "import"


class SubjectKind(StrEnum):
    """What a label event or a review task is about."""

    IMAGE = "image"
    GROUP = "group"


class Certainty(StrEnum):
    """How sure the reader said to be."""

    SURE = "sure"
    LIKELY = "likely"
    GUESS = "guess"


class TaskKind(StrEnum):
    """``hold``: a part or a patient waits, never dropped by a budget. ``learn``: within the budget."""

    HOLD = "hold"
    LEARN = "learn"


class TaskState(StrEnum):
    """Life of a review task."""

    OPEN = "open"
    LEASED = "leased"
    ANSWERED = "answered"
    DISPUTED = "disputed"
    CLOSED = "closed"
    WITHDRAWN = "withdrawn"


class Purpose(StrEnum):
    """What the answer to a review task is for; ``audit`` and ``study`` tasks are always blind."""

    REVIEW = "review"
    AUDIT = "audit"
    STUDY = "study"


class Role(StrEnum):
    """What a person may do: a reader answers tasks, an adjudicator settles disputes, a lead signs off and appoints."""

    READER = "reader"
    ADJUDICATOR = "adjudicator"
    LEAD = "lead"

    @property
    def rank(self) -> int:
        """0 for the narrowest role, rising; a role may do all that the ones below it may."""
        return list(Role).index(self)


class Decision(StrEnum):
    """What triage says of one prediction."""

    AUTO = "auto"
    REVIEW = "review"


class ReviewReason(StrEnum):
    """Why a person should look; ``confused_pair`` is written ``confused_pair:a|b`` with the two class names."""

    LOW_CONFIDENCE = "low_confidence"
    CONFUSED_PAIR = "confused_pair"
    RARE_CLASS = "rare_class"
    NOVELTY = "novelty"
    SUSPECT_LABEL = "suspect_label"
    CONFLICT = "conflict"
    DISAGREEMENT = "disagreement"
    RANDOM_AUDIT = "random_audit"
    COLD_START = "cold_start"


class QuarantineKind(StrEnum):
    """Why a file was set aside."""

    EMPTY = "empty"
    NOT_AN_IMAGE = "not_an_image"
    WRONG_EXTENSION = "wrong_extension"
    TRUNCATED = "truncated"
    CORRUPT = "corrupt"
    TOO_LARGE = "too_large"
    UNREADABLE = "unreadable"
    OUTSIDE_FOLDER = "outside_folder"
    NOT_A_FILE = "not_a_file"
    MISSING_FILE = "missing_file"
    UNSUPPORTED = "unsupported"


class ConflictKind(StrEnum):
    """Two statements about one subject that cannot both be true."""

    DUPLICATE_LABELS = "duplicate_labels"
    NEAR_DUPLICATE_LABELS = "near_duplicate_labels"
    IMPORT_AGAINST_HUMAN = "import_against_human"
    GROUP_MISMATCH = "group_mismatch"
    SPLIT_MISMATCH = "split_mismatch"


class Domain(StrEnum):
    """What kind of images a profile is for."""

    GENERIC = "generic"
    SOLAR_ELECTROLUMINESCENCE = "solar_electroluminescence"
    DERMOSCOPY = "dermoscopy"
    RADIOGRAPH = "radiograph"
    SURFACE = "surface"
    ELECTRONICS = "electronics"


class DecideBy(StrEnum):
    """Which class is predicted.

    ``balance``: the most probable one, where a mistake on a rare class counts more, as far as validation says that this
    helps; ``cost``: the one that is expected to cost least.
    """

    BALANCE = "balance"
    COST = "cost"


class Promotion(StrEnum):
    """Who moves the champion alias once the gate agrees."""

    BY_HAND = "by_hand"
    AUTOMATIC = "automatic"


class Alias(StrEnum):
    """Registry aliases of a model version."""

    CANDIDATE = "candidate"
    CHALLENGER = "challenger"
    CHAMPION = "champion"
