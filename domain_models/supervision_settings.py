"""What teaches a network besides labels: a trained model, and images that have no label."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, field_validator


class TeacherSettings(BaseModel):
    """Knowledge distillation (:mod:`domain_models.distillation`): who teaches, and how much it counts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(
        default="", description="a model version, champion, candidate or a package's folder; empty: nobody teaches"
    )
    content: str = Field(default="", description="sha256 of the teacher's package; found by training")
    temperature: float = Field(default=2.0, gt=0, le=100, description="softens the answers of both")
    share: float = Field(default=1.0, gt=0, le=100, description="weight of the teacher against that of the label")

    @field_validator("model", mode="before")
    @classmethod
    def _versions_are_text(cls, value: object) -> object:
        """``--set teacher.model=3`` is read as a number."""
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class PoolSettings(BaseModel):
    """FixMatch with distribution alignment (:mod:`domain_models.pool_learning`): images without a label teach too."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ratio: int = Field(default=0, ge=0, le=16, description="unlabelled images to each labelled one; 0: none are used")
    content: str = Field(default="", description="sha256 of the ids of the images; found by training")
    threshold: float = Field(default=0.95, gt=0, le=1, description="an image teaches where a class is this probable")
    weight: float = Field(default=1.0, gt=0, le=100, description="of an unlabelled image against a labelled one")
    alignment: bool = Field(default=True, description="classes are believed as often as labels say they occur")
    prior_power: float = Field(
        default=1.0, ge=0, le=1, description="1: as often as among the labels; 0: all equally often"
    )
    strength: float = Field(
        default=2.0, ge=1, le=10, description="of the changes that the profile allows, for the image that learns"
    )


def what_came_of_it(teacher: TeacherSettings, pool: PoolSettings, *, kept: bool, folds: int) -> list[str]:
    """What a person should know, after fine-tuning, of what taught it besides labels.

    Args:
        teacher: who taught.
        pool: whether images without a label did.
        kept: whether the model is the fine-tuned one.
        folds: how many models are cross-fitted.
    """
    taught = ["the teacher"] if teacher.model else []
    taught += ["images without a label"] if pool.ratio else []
    if not taught:
        return []
    if not kept:
        return [f"Nothing that {' and '.join(taught)} taught is in this model, because its backbone stays untouched."]
    said = []
    if folds and teacher.model:
        said += ["The fold models behind the triage thresholds have no teacher: it has seen what they are asked about."]
    if folds and pool.ratio:
        said += ["Each fold model learns from images without a label too, but of no group that it is asked about."]
    return said
