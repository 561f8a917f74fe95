"""Batch: many images that the model would give one class, labelled together."""

from __future__ import annotations

import streamlit as st

from data_contracts.review import serving
from review_app.batch_desk import BatchDesk, release_cells
from review_app.screens.desks import canvas, desk_of
from review_app.service import ReviewService
from review_app.texts import Texts


def show(service: ReviewService, who: str, texts: Texts) -> None:
    """Draw the screen."""
    counts = serving.waiting_by_prediction(service.ledger, who)
    chosen_before = st.session_state.get("batch-class")
    names = list(counts) if chosen_before is None or chosen_before in counts else [*counts, chosen_before]
    if not names:
        st.info(texts("batch.empty"))
        return
    left, right = st.columns([1, 2], vertical_alignment="bottom")
    predicted = left.selectbox(
        texts("batch.choose"),
        names,
        format_func=lambda name: texts("batch.option", name=name, n=counts.get(name, 0)),
        key="batch-class",
    )
    right.caption(texts("batch.hint"))
    before = st.session_state.get("desk/batch")
    if before is not None and before[1].predicted != predicted:
        release_cells(service, who, before[1])
        del st.session_state["desk/batch"]
    desk = desk_of(lambda: BatchDesk(service, who, texts, predicted), place="batch", who=who, language=texts.language)
    canvas(desk)
