"""Pictures of what a model does. Each is drawn as a figure without global state and encoded as PNG bytes."""

from __future__ import annotations

from domain_models.pictures.canvas import png
from domain_models.pictures.confusion import confusion_figure
from domain_models.pictures.coverage import coverage_figure
from domain_models.pictures.curves import curves_figure
from domain_models.pictures.montage import MontageItem, montage_figure, worst_errors
from domain_models.pictures.recall import recall_figure
from domain_models.pictures.reliability import reliability_figure

__all__ = [
    "MontageItem",
    "confusion_figure",
    "coverage_figure",
    "curves_figure",
    "montage_figure",
    "png",
    "recall_figure",
    "reliability_figure",
    "worst_errors",
]
