"""The canvas as Streamlit mounts it: our own script and style from files beside this one, nothing fetched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from typing import Any, cast

import streamlit as st

from review_app.canvas.frame import encode_frame

PARTS = (
    "elements.js",
    "png16.js",
    "window_level.js",
    "pictures.js",
    "outbox.js",
    "keys.js",
    "stage.js",
    "bar.js",
    "side.js",
    "decisions.js",
    "cheat_sheet.js",
    "review.js",
    "grid.js",
    "viewer.js",
    "shell.js",
    "empty_page.js",
    "entry.js",
)
"""The script's parts in order. The browser gets them as one module, because a module of text cannot import others."""


@cache
def script() -> str:
    """The whole script."""
    folder = resources.files("review_app.canvas").joinpath("parts")
    return "\n".join(folder.joinpath(name).read_text(encoding="utf-8") for name in PARTS)


@cache
def style() -> str:
    """The style sheet."""
    return resources.files("review_app.canvas").joinpath("canvas.css").read_text(encoding="utf-8")


@cache
def _component() -> Any:
    return st.components.v2.component("tailsight_canvas", js=script(), css=style())


def mount(frame: bytes, *, key: str, on_message: Callable[[Mapping[str, Any]], None] | None = None) -> None:
    """Put a canvas on the page and hand it one message.

    Args:
        frame: what :func:`~review_app.canvas.frame.encode_frame` made.
        key: the same on every run, so that the canvas stays and only learns the news.
        on_message: called with what the canvas says, before the page is drawn again.
    """

    def received() -> None:
        kept = cast("Mapping[str, Any] | None", st.session_state.get(key))  # none: it left the page meanwhile
        message = None if kept is None else kept.get("message")
        if on_message is not None and isinstance(message, Mapping):
            on_message(message)

    _component()(key=key, data=frame, on_message_change=received)


def remember(cookies: Mapping[str, str | None]) -> None:
    """Set cookies that end with the browser (``None`` deletes), so that a restarted server knows its people again.

    This part of the page is on every page; it also asks for the page anew where the browser has cleared it.
    """
    with st.container(key="memory"):
        _component()(key="memory-canvas", data=encode_frame({"mode": "memory", "cookies": dict(cookies)}))
