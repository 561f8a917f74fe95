"""The app's router: who is there, which screen they want. Everything else is elsewhere."""

from __future__ import annotations

from functools import partial

import streamlit as st

from data_contracts.errors import TailsightError
from data_contracts.review import roles
from data_contracts.settings import read_settings
from data_contracts.vocabulary import Role
from data_contracts.workspace import Workspace
from review_app import look, sign_in
from review_app.canvas.component import remember
from review_app.review_desk import give_back
from review_app.screens import audit, batch, disagreements, progress, review
from review_app.service import ReviewService
from review_app.texts import Texts

SCREENS = {
    "review": (review.show, ":material/visibility:"),
    "batch": (batch.show, ":material/grid_view:"),
    "disagreements": (disagreements.show, ":material/balance:"),
    "progress": (progress.show, ":material/monitoring:"),
    "audit": (audit.show, ":material/manage_search:"),
}
"""Every screen by the last part of its address, in the order of the menu."""


@st.cache_resource(show_spinner=False)
def open_service() -> ReviewService:
    """The workspace of this server, opened once."""
    settings = read_settings()
    return ReviewService(Workspace(settings.workspace.expanduser().absolute()), settings)


def main() -> None:
    """Draw the page."""
    texts = Texts(sign_in.language())
    st.set_page_config(page_title=texts("app.title"), page_icon=look.icon(), layout="wide")
    look.apply()
    try:
        sign_in.accounts()
        service = open_service()
    except TailsightError as error:
        st.error(f"{texts('app.no_workspace')} {error}")
        return
    visitor = sign_in.visitor(service)
    remember(sign_in.cookies())
    if visitor.who is None:
        pages = [st.Page(partial(sign_in.show, service, visitor, texts), title=texts("app.title"), url_path="sign-in")]
        st.navigation(pages, position="hidden").run()
        return
    who = visitor.who
    _account(service, who, texts)
    pages = [
        st.Page(
            partial(screen, service, who, texts),
            title=texts(f"app.{name}"),
            icon=icon,
            url_path=name,
            default=name == "review",
        )
        for name, (screen, icon) in SCREENS.items()
    ]
    st.navigation(pages, position="top").run()


def _account(service: ReviewService, who: str, texts: Texts) -> None:
    """Who is signed in, how sure that is, their language, and the way out."""
    local = sign_in.accounts() is None
    role = roles.role_of(service.ledger, who) or Role.READER
    with st.container(key="account"):
        label = f"{who} · {texts('app.local_mode')}" if local else who
        with st.popover(label, icon=":material/person:", width="content"):
            st.markdown(f"**{who}** · {texts(f'app.role_{role.value}')}")
            if local:
                st.caption(texts("app.local_mode_help"))
            sign_in.choose_language(texts)
            if st.button(texts("app.sign_out"), icon=":material/logout:", width="stretch", key="sign-out"):
                give_back(service, who)
                sign_in.leave()
                st.rerun()


main()
