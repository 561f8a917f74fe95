"""What the server says, as typed models: the columns of a score file, a card, and errors with cause and remedy."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from pipelines.steps.decisions import Decided


class Said(BaseModel):
    """Base of all answers."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Prediction(Said):
    """What a model says of one image: what `tailsight score` would write into its row."""

    image_id: str = Field(description="sha256 of the file's bytes, and #n for the first of several images in it")
    predicted: str
    confidence: float = Field(ge=0, le=1.000001, description="probability of the predicted class")
    margin: float = Field(ge=0, le=1.000001, description="lead of the most probable class over the second")
    entropy: float = Field(ge=-1e-6, description="nats")
    probabilities: dict[str, float] = Field(description="calibrated, by class")
    conformal_set: list[str] = Field(description="classes among which the right one is with stated probability")
    decision: Literal["auto", "review"]
    reason: str | None = Field(description="why a person should look; null where the decision is automatic")
    model_version: str

    @classmethod
    def of(cls, image_id: str, decided: Decided, classes: tuple[str, ...], version: str) -> Prediction:
        """Of one decided image; ``classes`` in the order of its probabilities."""
        return cls(
            image_id=image_id,
            predicted=decided.predicted,
            confidence=decided.confidence,
            margin=decided.margin,
            entropy=decided.entropy,
            probabilities=dict(zip(classes, decided.probabilities.tolist(), strict=True)),
            conformal_set=decided.conformal_set,
            decision="auto" if decided.decision == "auto" else "review",
            reason=decided.reason,
            model_version=version,
        )


class Problem(Said):
    """What went wrong, the likely cause, and what to do."""

    what: str
    cause: str | None = None
    remedy: str | None = None


class ProblemAnswer(Said):
    """The body of every answer that is no success."""

    error: Problem


class ImageOutcome(Said):
    """One of several images: its prediction, or why there is none."""

    name: str | None = Field(description="the file name that was sent with it")
    prediction: Prediction | None
    error: Problem | None


class Predictions(Said):
    """Several images, in the order in which they were sent, all by one model version."""

    model_version: str
    outcomes: list[ImageOutcome]


class InputSize(Said):
    """The pixels that the network sees."""

    height: int
    width: int
    channels: int
    max_megapixels: float = Field(description="larger images are refused")


class ModelDescription(Said):
    """The model that answers now."""

    model_version: str
    runtime: str
    classes: list[str] = Field(description="as they are called today, in the order of the probabilities")
    taxonomy_version: int
    dataset_version: str | None
    backbone: str
    preset: str | None
    created_at: datetime
    serving_since: datetime
    input: InputSize
    error_limit: float = Field(description="of automatic decisions")
    expected_error: float | None = Field(description="of automatic decisions, from calibration images")
    expected_error_ci: tuple[float, float] | None
    remarks: list[str] = Field(description="where classes have changed since the model was trained")


class Health(Said):
    """The server is there."""

    status: Literal["ok"] = "ok"


class Readiness(Said):
    """Whether an image would be answered now."""

    ready: bool
    model_version: str
    workers: int
    workers_ready: int
    restarts: int
