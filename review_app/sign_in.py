"""Who is at the screen: an account of the organisation (OpenID Connect) where that is set up, otherwise a name.

Names are not checked, and the screen says so. What a person may do is decided in :mod:`data_contracts.review` whatever
this module believes.
"""

from __future__ import annotations

from urllib.parse import unquote

import streamlit as st
from streamlit.errors import StreamlitSecretNotFoundError

from data_contracts.errors import TailsightError
from data_contracts.review import roles
from review_app.service import ReviewService, error_sentence
from review_app.texts import LANGUAGE_NAMES, Language, Texts, language_of

PERSON_COOKIE = "tailsight_person"
LANGUAGE_COOKIE = "tailsight_language"

_WHO, _LEFT, _LANGUAGE = "who", "left", "language"


def accounts_are_used() -> bool:
    """Whether ``.streamlit/secrets.toml`` of the workspace configures OpenID Connect."""
    try:
        return "auth" in st.secrets
    except StreamlitSecretNotFoundError:
        return False


def language() -> Language:
    """The language that the person chose, else the browser's."""
    chosen = st.session_state.get(_LANGUAGE) or _cookie(LANGUAGE_COOKIE)
    return Language(chosen) if chosen in set(Language) else language_of(st.context.locale)


def person(service: ReviewService) -> str | None:
    """Who is signed in, or ``None``; somebody whom a restarted server does not know yet is known by their browser."""
    if accounts_are_used():
        if not st.user.is_logged_in:
            return None
        name = roles.name_of(str(st.user.get("email") or st.user.get("name") or st.user.get("sub")))
        return _admitted(service, name)
    known = st.session_state.get(_WHO)
    if known is None and not st.session_state.get(_LEFT):
        remembered = _cookie(PERSON_COOKIE)
        known = _admitted(service, remembered) if remembered else None
    return known


def cookies() -> dict[str, str | None]:
    """What the browser should remember until it is closed."""
    return {PERSON_COOKIE: st.session_state.get(_WHO), LANGUAGE_COOKIE: st.session_state.get(_LANGUAGE)}


def show(service: ReviewService, texts: Texts) -> None:
    """The page of somebody who is not signed in."""
    with st.container(key="sign-in"):
        if accounts_are_used():
            st.title(texts("sign_in.oidc_heading"))
            st.write(texts("sign_in.oidc_text"))
            st.button(texts("sign_in.oidc_button"), type="primary", on_click=st.login, width="stretch")
        else:
            _ask_for_a_name(service, texts)
        choose_language(texts)


def leave() -> None:
    """Sign out; the browser forgets the name with the next message."""
    if accounts_are_used():
        st.session_state.clear()
        st.logout()
        return
    chosen = st.session_state.get(_LANGUAGE)
    st.session_state.clear()
    st.session_state.update({_LEFT: True, _LANGUAGE: chosen})


def choose_language(texts: Texts) -> None:
    """Two buttons, one per language."""
    names = {LANGUAGE_NAMES[item]: item for item in Language}
    current = LANGUAGE_NAMES[texts.language]
    chosen = st.segmented_control(
        texts("app.language"), list(names), default=current, key=f"choose-language-{texts.language}"
    )
    if chosen is not None and chosen != current:
        st.session_state[_LANGUAGE] = names[chosen].value
        st.rerun()


def _ask_for_a_name(service: ReviewService, texts: Texts) -> None:
    st.title(texts("sign_in.heading"))
    known = [item.who for item in roles.people(service.ledger)]
    if known:
        picked = st.pills(texts("sign_in.known"), known, key="known-people")
        if picked is not None:
            _come_in(service, picked, texts)
    with st.form("name", border=False):
        typed = st.text_input(texts("sign_in.name"), max_chars=80, autocomplete="off")
        if st.form_submit_button(texts("sign_in.button"), type="primary", width="stretch") and typed.strip():
            _come_in(service, typed, texts)
    st.info(texts("sign_in.local"))
    st.caption(texts("sign_in.promise"))


def _come_in(service: ReviewService, typed: str, texts: Texts) -> None:
    try:
        name = roles.name_of(typed)
        roles.sign_in(service.ledger, name)
    except TailsightError as error:
        st.error(error_sentence(error, texts))
        return
    st.session_state[_WHO] = name
    st.session_state.pop(_LEFT, None)
    st.rerun()


def _admitted(service: ReviewService, name: str) -> str | None:
    if st.session_state.get(_WHO) == name:
        return name
    try:
        roles.sign_in(service.ledger, name)
    except TailsightError:
        return None
    st.session_state[_WHO] = name
    return name


def _cookie(name: str) -> str | None:
    value = st.context.cookies.get(name)
    return unquote(value) if value else None
