"""A lead lets somebody in who has not been here before: their account, or their name, and what they may do."""

from __future__ import annotations

import streamlit as st

from data_contracts.errors import TailsightError
from data_contracts.review import roles
from data_contracts.vocabulary import Role
from review_app import sign_in
from review_app.accounts import account_name
from review_app.service import ReviewService, error_sentence
from review_app.texts import Texts


def add_person(service: ReviewService, lead: str, texts: Texts) -> None:
    """Draw the line that gives somebody new a role."""
    with_accounts = sign_in.accounts() is not None
    names = {texts(f"app.role_{role.value}"): role for role in Role}
    with st.form("add-person", clear_on_submit=True, border=False):
        left, middle, right = st.columns([3, 2, 1], vertical_alignment="bottom")
        typed = left.text_input(texts("progress.add_account" if with_accounts else "progress.add_name"), max_chars=255)
        chosen = middle.selectbox(texts("progress.role"), list(names), key="role-of-new")
        added = right.form_submit_button(texts("progress.add_person"), width="stretch")
    if not added or not typed.strip():
        return
    try:
        roles.set_role(service.ledger, account_name(typed) if with_accounts else typed, names[chosen], by=lead)
    except TailsightError as error:
        st.error(error_sentence(error, texts))
    else:
        st.rerun()
