"""The desk of a session: made when a screen first needs it, kept in the session, seen again by every run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import streamlit as st

from review_app import sign_in
from review_app.canvas.component import mount
from review_app.desk import Desk

DeskKind = TypeVar("DeskKind", bound=Desk)


def desk_of(make: Callable[[], DeskKind], *, place: str, who: str, language: str) -> DeskKind:
    """The desk at ``place`` of this session; a new one where another person or language sits down."""
    key = f"desk/{place}"
    owner = (who, language)
    kept = st.session_state.get(key)
    if kept is None or kept[0] != owner:
        kept = (owner, make())
        st.session_state[key] = kept
    desk: DeskKind = kept[1]
    return desk


@st.fragment
def canvas(desk: Desk) -> None:
    """The canvas with its desk; only this part of the page runs when the canvas says something."""
    if not sign_in.is_still_here():
        st.rerun()  # signed out in another tab: the whole page, which asks who is there

    def received(message: Mapping[str, Any]) -> None:
        if sign_in.is_still_here():
            desk.receive(message)

    mount(desk.frame(), key=f"canvas-{desk.mode}", on_message=received)
