"""The profile: everything that differs from one line or clinic to the next, in one YAML file.

Unknown keys are refused with the nearest valid one, so a typing error never silently changes nothing.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from importlib import resources
from pathlib import Path
from typing import Any, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from data_contracts.errors import ProfileError
from data_contracts.input_settings import AugmentationSettings, InputSettings, Section
from data_contracts.taxonomy import Taxonomy, TaxonomyClass
from data_contracts.vocabulary import DecideBy, Domain, Promotion

SHIPPED_PROFILES = ("generic", "solar-el", "dermoscopy", "radiograph", "steel-strip", "circuit-board")


class ConfusionCost(Section):
    """What it costs to call ``actual`` images ``predicted`` (1 is an ordinary mistake)."""

    actual: str
    predicted: str
    cost: float = Field(ge=0, le=1e6)


class Limits(Section):
    """How wrong automatic decisions may be, and how sure we must be of it."""

    automatic_error: float = Field(default=0.05, gt=0, lt=1, description="largest share of wrong automatic decisions")
    escape_rate: float | None = Field(
        default=None, gt=0, lt=1, description="largest share of bad parts that pass without a person; null: no limit"
    )
    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="how sure each limit must hold")


class ReviewSettings(Section):
    """How many images people look at, and how."""

    budget_per_round: int = Field(default=200, ge=0)
    seconds_per_image: float = Field(default=8.0, gt=0, description="used for reader hours until measured")
    reader_hours_per_week: float = Field(default=10.0, ge=0)
    random_audit_share: float = Field(default=0.1, ge=0, le=1)
    by_group: bool = False
    read_first: bool = False
    readings_required: int = Field(default=1, ge=1, le=2)


class RetrainSettings(Section):
    """When a new candidate is trained."""

    monthly: str = Field(default="0 2 1 * *", description="cron of the full retraining, in the profile's time zone")
    new_labels: int = Field(default=50, ge=1, description="new or corrected labels that trigger incremental training")
    new_labels_per_class: int = Field(default=10, ge=1)
    debounce_seconds: int = Field(default=600, ge=0)


class GateSettings(Section):
    """What a candidate must show before it may become champion."""

    macro_f1_margin: float = Field(
        default=-0.02, ge=-1, le=1, description="lower bound of the difference must be above"
    )
    cost_margin: float = Field(
        default=0.02,
        ge=-1,
        le=1,
        description="with decide_by: cost, upper bound of the difference, of the cost without a model, must be below",
    )
    recall_tolerance: float = Field(default=0.05, ge=0, le=1, description="largest loss of recall of one class")
    minimum_test_images: int = Field(default=30, ge=1, description="classes with fewer are named as not gated")
    maximum_ece: float = Field(default=0.05, gt=0, le=1)
    first_minimum_macro_f1: float = Field(default=0.0, ge=0, le=1)
    first_minimum_balanced_accuracy_over_chance: float = Field(default=0.05, ge=0, le=1)


class DecisionSink(Section):
    """A receiver of every final decision for as long as ``up`` runs: a CSV file or a web address.

    ``name`` is what it is called, for ever: what has left is kept by it. A web address often holds a secret; with
    ``env:NAME`` it stays out of the profile and is read from that environment variable.
    """

    name: str = Field(min_length=1, max_length=80)
    csv: str | None = Field(default=None, min_length=1, description="a file, relative to the workspace")
    webhook: str | None = Field(default=None, min_length=1, description="https://host/path, or env:NAME")

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.csv is None) == (self.webhook is None):
            raise ValueError("a sink has either csv or webhook")
        return self


class Profile(Section):
    """One line's or clinic's settings; see the shipped profiles for a sentence on each."""

    name: str = Field(min_length=1, max_length=80)
    domain: Domain = Domain.GENERIC
    description: str = ""
    time_zone: str = "UTC"
    taxonomy: tuple[TaxonomyClass, ...] = ()
    group_column: str | None = None
    pass_class: str | None = Field(
        default=None, description="the class that means 'good'; null: no escape or overkill rate"
    )
    input: InputSettings = InputSettings()
    augmentation: AugmentationSettings = AugmentationSettings()
    costs: tuple[ConfusionCost, ...] = ()
    decide_by: DecideBy = Field(default=DecideBy.BALANCE, description="cost: predict what `costs` make cheapest")
    limits: Limits = Limits()
    review: ReviewSettings = ReviewSettings()
    retrain: RetrainSettings = RetrainSettings()
    gate: GateSettings = GateSettings()
    promotion: Promotion = Promotion.BY_HAND
    sinks: tuple[DecisionSink, ...] = Field(default=(), description="who gets every final decision while `up` runs")

    @field_validator("sinks")
    @classmethod
    def _sinks_have_names_of_their_own(cls, value: tuple[DecisionSink, ...]) -> tuple[DecisionSink, ...]:
        if len({sink.name for sink in value}) < len(value):
            raise ValueError("two sinks have the same name; what has left is kept by it")
        return value

    @model_validator(mode="after")
    def _escapes_need_a_class_to_pass_as(self) -> Self:
        if self.limits.escape_rate is not None and self.pass_class is None:
            raise ValueError(
                "limits.escape_rate bounds what wrongly passes; name the class that means 'good' in pass_class"
            )
        return self

    @model_validator(mode="after")
    def _cost_needs_costs(self) -> Self:
        if self.decide_by is DecideBy.COST and not self.costs:
            raise ValueError(
                "decide_by: cost predicts what is expected to cost least; say under costs what mistakes cost"
            )
        return self

    @field_validator("time_zone")
    @classmethod
    def _time_zone_exists(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"{value!r} is not an IANA time zone such as Europe/Berlin") from error
        return value

    def under(self, taxonomy: Taxonomy) -> Profile:
        """The profile with its pass class and costs in the names that a taxonomy uses now.

        What was renamed or merged is read under its new name; what was split counts for nothing, because nobody can
        say which part is meant.
        """
        costs: dict[tuple[str, str], ConfusionCost] = {}
        for cost in sorted(self.costs, key=lambda item: item.cost):  # of several that became one, the dearest holds
            pair = taxonomy.resolve(cost.actual), taxonomy.resolve(cost.predicted)
            if pair[0] is not None and pair[1] is not None and pair[0] != pair[1]:
                costs[pair[0], pair[1]] = ConfusionCost(actual=pair[0], predicted=pair[1], cost=cost.cost)
        passing = None if self.pass_class is None else taxonomy.resolve(self.pass_class)
        return self.model_copy(update={"pass_class": passing, "costs": tuple(costs.values())})

    @property
    def content_hash(self) -> str:
        """sha256 of the profile's meaning (not of its comments or key order, nor of where decisions go)."""
        meaning = self.model_dump(mode="json", exclude={"sinks"})
        if self.decide_by is DecideBy.BALANCE:  # profiles from before there was a choice mean what they meant
            del meaning["decide_by"], meaning["gate"]["cost_margin"]
        return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()


def shipped_profile_text(name: str) -> str:
    """The commented YAML of a shipped profile.

    Raises:
        ProfileError: ``name`` is not shipped.
    """
    if name not in SHIPPED_PROFILES:
        near = difflib.get_close_matches(name, SHIPPED_PROFILES, n=1)
        raise ProfileError(
            f"There is no profile {name!r}.",
            remedy=f"Did you mean {near[0]!r}?"
            if near
            else f"Shipped profiles: {', '.join(SHIPPED_PROFILES)}; or give a YAML file.",
        )
    return resources.files("data_contracts").joinpath("profiles", f"{name}.yaml").read_text(encoding="utf-8")


def read_profile(path: Path) -> Profile:
    """Read and check a profile file.

    Raises:
        ProfileError: the file is missing, is not YAML, or has unknown or invalid values (all of them are listed).
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ProfileError(
            f"There is no profile file {path}.", remedy="Run `tailsight init --profile generic` first."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ProfileError(f"The profile {path} cannot be read: {error}.") from None
    return parse_profile(text, origin=str(path))


def parse_profile(text: str, *, origin: str) -> Profile:
    """Check the text of a profile; ``origin`` names it in errors.

    Raises:
        ProfileError: see :func:`read_profile`.
    """
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ProfileError(f"{origin} is not valid YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(content, dict):
        raise ProfileError(f"{origin} must be a YAML mapping with at least 'name'.")
    try:
        return Profile.model_validate(content)
    except ValidationError as error:
        raise ProfileError(f"{origin}: " + sentence_of(describe_validation(error, Profile))) from None


def describe_validation(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """One plain sentence for each problem of a pydantic error, unknown keys with the nearest valid one."""
    sentences = []
    for item in error.errors():
        place = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            valid = _keys_at(model, item["loc"][:-1])
            near = difflib.get_close_matches(str(item["loc"][-1]), valid, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"valid keys: {', '.join(sorted(valid))}"
            sentences.append(f"unknown key {place!r}; {hint}")
        else:
            # the address of a sink may hold a secret
            given = "" if item["loc"][:1] == ("sinks",) else f" (given: {item.get('input')!r})"
            sentences.append(f"{place}: {item['msg']}{given}")
    return sentences


def sentence_of(problems: list[str]) -> str:
    """All problems as one sentence; a question keeps its question mark."""
    text = "; ".join(problems)
    return text if text.endswith("?") else f"{text}."


def _keys_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    current: Any = model
    for part in location:
        if isinstance(part, int):
            continue
        annotation = (
            current.model_fields[part].annotation
            if isinstance(current, type) and issubclass(current, BaseModel)
            else None
        )
        inner = [a for a in getattr(annotation, "__args__", ()) if isinstance(a, type) and issubclass(a, BaseModel)]
        current = (
            annotation
            if isinstance(annotation, type) and issubclass(annotation, BaseModel)
            else (inner[0] if inner else None)
        )
        if current is None:
            return []
    return list(current.model_fields) if isinstance(current, type) and issubclass(current, BaseModel) else []
