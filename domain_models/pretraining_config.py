"""How a backbone learns from images alone, before anybody's labels."""

from __future__ import annotations

import hashlib
import json
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from domain_models.training_config import TrainingConfig


class PretrainingKind(StrEnum):
    """What images are asked about themselves."""

    SIMCLR = "simclr"


class PretrainingConfig(BaseModel):
    """Every knob of a self-supervised pretraining.

    ``training`` gives network, input, augmentation, epochs, batch size, rates and number format; what it says of losses
    and labels does not matter here.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: PretrainingKind = PretrainingKind.SIMCLR
    training: TrainingConfig = TrainingConfig()
    temperature: float = Field(default=0.2, gt=0, le=10, description="divides cosines; small ones look at the nearest")
    projection: int = Field(default=128, ge=2, le=4096, description="numbers in which two views are compared")
    strength: float = Field(default=2.0, ge=1, le=10, description="of the changes that the profile allows")

    @property
    def key(self) -> str:
        """16 hex digits that change with any value."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]
