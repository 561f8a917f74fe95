"""Who is at the screen: an account of the organisation (OpenID Connect) where that is set up, otherwise a name.

Names are not checked, and the screen says so. What a person may do is decided in :mod:`data_contracts.review` whatever
this module believes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from urllib.parse import unquote

import streamlit as st

from data_contracts.errors import BadInput, Refused, TailsightError
from data_contracts.review import roles
from data_contracts.settings import read_settings
from data_contracts.workspace import Workspace
from review_app.accounts import Accounts, NoAccount, account_of, login_of, read_accounts
from review_app.service import ReviewService, error_sentence
from review_app.texts import LANGUAGE_NAMES, Language, Texts, language_of

PERSON_COOKIE = "tailsight_person"
LANGUAGE_COOKIE = "tailsight_language"

_WHO, _LEFT, _LANGUAGE = "who", "left", "language"


_ENDED: set[str] = set()
"""Sign-ins that were ended in some tab; the browser's other tabs learn it here, because their session goes on."""


@dataclass(frozen=True)
class Visitor:
    """Whoever is at the screen.

    Attributes:
        who: the person who may work here, as the ledger knows them; ``None`` for everybody else.
        account: the account that is signed in, whether or not it may work here; empty if it has no name.
        refusal: key of the text that says why the account may not come in, ``None`` where nobody was refused.
    """

    who: str | None = None
    account: str | None = None
    refusal: str | None = None


@cache
def accounts() -> Accounts | None:
    """How people sign in with accounts, ``None`` where they type names; as it was when the server started.

    Raises:
        BadInput: the secrets file is not complete.
    """
    return read_accounts(Workspace(read_settings().workspace.expanduser().absolute()))


def language() -> Language:
    """The language that the person chose, else the browser's."""
    chosen = st.session_state.get(_LANGUAGE) or _cookie(LANGUAGE_COOKIE)
    return Language(chosen) if chosen in set(Language) else language_of(st.context.locale)


def visitor(service: ReviewService) -> Visitor:
    """Who is at the screen; somebody whom a restarted server does not know yet is known by their browser."""
    used = accounts()
    if used is not None:
        return _account_visitor(service, used)
    known = st.session_state.get(_WHO)
    if known is None and not st.session_state.get(_LEFT):
        remembered = _cookie(PERSON_COOKIE)
        known = _admitted(service, remembered) if remembered else None
    return Visitor(who=known)


def is_still_here() -> bool:
    """Whether the sign-in of this session holds; it ends in all tabs of a browser at once."""
    return accounts() is None or (bool(st.user.is_logged_in) and login_of(st.user) not in _ENDED)


def cookies() -> dict[str, str | None]:
    """What the browser should remember until it is closed; an account is remembered by the sign-in's own cookie."""
    who: str | None = st.session_state.get(_WHO)
    kept: dict[str, str | None] = {LANGUAGE_COOKIE: st.session_state.get(_LANGUAGE)}
    if accounts() is None or who is None:  # without a person the browser drops what it has, its pictures too
        kept[PERSON_COOKIE] = who
    return kept


def show(service: ReviewService, visitor: Visitor, texts: Texts) -> None:
    """The page of somebody who may not work here, or not yet."""
    used = accounts()
    with st.container(key="sign-in"):
        if used is None:
            _ask_for_a_name(service, texts)
        elif visitor.refusal is not None:
            _say_no(used, visitor, texts)
        else:
            st.title(texts("sign_in.oidc_heading"))
            st.write(texts("sign_in.oidc_text"))
            args = () if used.provider is None else (used.provider,)
            st.button(texts("sign_in.oidc_button"), type="primary", on_click=st.login, args=args, width="stretch")
        choose_language(texts)


def leave() -> None:
    """Sign out; the browser forgets the name with the next message."""
    if accounts() is not None:
        if st.user.is_logged_in:
            _ENDED.add(login_of(st.user))
        st.session_state.clear()
        st.logout()
        st.stop()  # a rerun could overtake the way to the provider, and the browser would keep its sign-in
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


def _account_visitor(service: ReviewService, used: Accounts) -> Visitor:
    if not is_still_here():
        st.session_state.pop(_WHO, None)
        return Visitor()
    try:
        account = account_of(st.user, used)
    except NoAccount as error:
        return Visitor(account="", refusal="sign_in.not_verified" if error.given else "sign_in.no_claim")
    if st.session_state.get(_WHO) != account:
        try:
            roles.sign_in_account(service.ledger, account, first_lead=used.first_lead)
        except Refused:
            return Visitor(account=account, refusal="sign_in.no_role")
        except BadInput:
            return Visitor(account="", refusal="sign_in.no_claim")
        except TailsightError:  # somebody else holds the ledger, or its server is gone for a moment
            return Visitor(account=account, refusal="sign_in.again")
        st.session_state[_WHO] = account
    return Visitor(who=account, account=account)


def _say_no(used: Accounts, visitor: Visitor, texts: Texts) -> None:
    st.title(texts("sign_in.refused_heading"))
    st.error(texts(str(visitor.refusal), account=visitor.account, claim=used.account_claim))
    if visitor.refusal == "sign_in.no_role":
        st.write(texts("sign_in.no_role_help"))
    if st.button(texts("app.sign_out"), icon=":material/logout:", width="stretch", key="sign-out"):
        leave()
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
