"""Being written."""
from __future__ import annotations
import streamlit as st
from review_app.service import ReviewService
from review_app.texts import Texts
def show(service: ReviewService, who: str, texts: Texts) -> None:
    """Draw the screen."""
    st.write("…")
