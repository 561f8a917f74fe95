"""Review: one image after another, large, with everything that helps to decide."""

from __future__ import annotations

from review_app.review_desk import ReviewDesk
from review_app.screens.desks import canvas, desk_of
from review_app.service import ReviewService
from review_app.texts import Texts


def show(service: ReviewService, who: str, texts: Texts) -> None:
    """Draw the screen."""
    desk = desk_of(lambda: ReviewDesk(service, who, texts), place="review", who=who, language=texts.language)
    canvas(desk)
