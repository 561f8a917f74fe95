"""Disagreements: two blind readings differ; an adjudicator sees both and settles it."""

from __future__ import annotations

import streamlit as st

from data_contracts.errors import Refused
from data_contracts.review import roles
from data_contracts.vocabulary import Role
from review_app.dispute_desk import DisputeDesk
from review_app.screens.desks import canvas, desk_of
from review_app.service import ReviewService
from review_app.texts import Texts


def show(service: ReviewService, who: str, texts: Texts) -> None:
    """Draw the screen; readers are told why they see nothing."""
    try:
        roles.require(service.ledger, who, Role.ADJUDICATOR)
    except Refused:
        role = roles.role_of(service.ledger, who) or Role.READER
        st.info(texts("disagreements.not_allowed", role=texts(f"app.role_{role.value}")))
        return
    st.caption(texts("disagreements.hint"))
    desk = desk_of(lambda: DisputeDesk(service, who, texts), place="disputes", who=who, language=texts.language)
    canvas(desk)
