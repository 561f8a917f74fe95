"""Audit: the history of an image, found by any of its names or by a time."""

from __future__ import annotations

import streamlit as st

from data_contracts.review.outbox import FILE_NAME
from data_contracts.review.search import FoundImage, find_images
from review_app.audit_trail import rows_of, trail_of, viewer_frame
from review_app.canvas.component import mount
from review_app.service import SHORT_ID, ReviewService
from review_app.texts import Texts


def show(service: ReviewService, who: str, texts: Texts) -> None:
    """Draw the screen."""
    with st.container(key="page"):
        wanted = st.text_input(texts("audit.search"), placeholder=texts("audit.hint"), key="audit-search").strip()
        if not wanted:
            return
        found = find_images(service.ledger, wanted, time_zone=service.profile.time_zone)
        if not found:
            st.warning(texts("audit.nothing", text=wanted))
            return
        image = found[0]
        if len(found) > 1:
            st.caption(texts("audit.many", n=len(found)))
            image = st.selectbox(texts("canvas.images"), found, format_func=_name)
        _show_story(service, who, image.image_id, texts)


def _name(image: FoundImage) -> str:
    names = ", ".join(value for values in image.external_ids.values() for value in values)
    return f"{names} ({image.image_id[:SHORT_ID]})"


def _show_story(service: ReviewService, who: str, image_id: str, texts: Texts) -> None:
    trail = trail_of(service, who, image_id)
    left, right = st.columns([3, 2], gap="medium")
    with left:
        mount(viewer_frame(service, who, image_id, texts), key="canvas-viewer")
    with right:
        if trail.something_hidden:
            st.info(texts("audit.hidden_waiting"))
        else:
            st.subheader(texts("audit.now", label=trail.story.label or texts("audit.no_label")))
        if trail.story.group is not None:
            st.write(texts("audit.group", group=trail.story.group))
        st.caption(texts("audit.names"))
        names = [
            f"{texts('audit.file_name') if name == FILE_NAME else name}: {value}"
            for name, values in trail.story.external_ids.items()
            for value in values
        ]
        st.code("\n".join([*names, image_id]), language=None, wrap_lines=True)
    st.table(rows_of(trail, texts), hide_index=True, border="horizontal")
