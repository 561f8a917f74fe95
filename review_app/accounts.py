"""How people sign in with accounts of the organisation (OpenID Connect): ``.streamlit/secrets.toml`` of the workspace.

The file decides whether names may be typed at all, so nothing about it is guessed: a file that is there but not
complete stops the app, instead of opening it to everybody. Its values are secrets; no message names one.
"""

from __future__ import annotations

import difflib
import importlib.util
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_contracts.errors import BadInput
from data_contracts.workspace import Workspace

EMAIL = "email"
"""The claim that names an account unless another is chosen; unlike a display name it is checked by the provider."""

_OF_STREAMLIT = ("redirect_uri", "cookie_secret")
_OF_PROVIDER = ("client_id", "client_secret", "server_metadata_url")
_OURS = ("account_claim", "first_lead")
_SHORTEST_SECRET = 32
_CALLBACK = "/oauth2callback"


@dataclass(frozen=True)
class Accounts:
    """Sign-in with accounts, as a workspace has set it up.

    Attributes:
        provider: name of the ``[auth.NAME]`` table, ``None`` where the provider stands in ``[auth]`` itself.
        account_claim: which claim of the ID token names the account in the ledger.
        first_lead: the account that leads until the ledger says otherwise of it.
    """

    provider: str | None = None
    account_claim: str = EMAIL
    first_lead: str | None = None


class NoAccount(BadInput):
    """The provider vouched for somebody, but not for what names an account here.

    Args:
        what: what happened.
        claim: the claim in question.
        given: whether the claim was there at all.
    """

    def __init__(self, what: str, *, claim: str, given: bool) -> None:
        super().__init__(
            what, remedy="Ask whoever runs Tailsight; `account_claim` can name another claim, such as `sub`."
        )
        self.claim = claim
        self.given = given


def secrets_path(workspace: Workspace) -> Path:
    """Where the secrets of the sign-in are."""
    return workspace.folder / ".streamlit" / "secrets.toml"


def read_accounts(workspace: Workspace) -> Accounts | None:
    """The workspace's sign-in with accounts; ``None`` where there is no secrets file, or none with ``[auth]``.

    Raises:
        BadInput: the file cannot be read, is not complete, may be read by others, or Authlib is not installed.
    """
    path = secrets_path(workspace)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read.", remedy="See that its owner runs the app.") from error
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"line \d+", str(error))
        said = f"{path} is not TOML" + (f" ({place.group()})." if place else ".")
        raise BadInput(said, remedy="Put text between quotation marks.") from None
    auth, ours = content.get("auth"), content.get("tailsight", {})
    if auth is None:
        return None
    _require_private(path)
    if not isinstance(auth, dict) or not isinstance(ours, dict):
        raise BadInput(
            f"[auth] or [tailsight] of {path} is not a table.", remedy="Write `[auth]` on a line of its own."
        )
    provider = _provider_of(auth, path)
    for name in ours:
        if name not in _OURS:
            near = difflib.get_close_matches(name, _OURS, n=1)
            raise BadInput(
                f"[tailsight] of {path} has an unknown key {name!r}.",
                remedy=f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(_OURS)}.",
            )
        if not isinstance(ours[name], str) or not ours[name].strip():
            raise BadInput(f"{name} of {path} is not a text.", remedy="Put it between quotation marks.")
    if importlib.util.find_spec("authlib") is None:
        raise BadInput(
            "Sign-in with accounts needs Authlib, which is not installed.",
            remedy="Install it with: pip install 'tailsight[accounts]'",
        )
    lead = ours.get("first_lead")
    return Accounts(provider, ours.get("account_claim", EMAIL), None if lead is None else account_name(lead))


def account_name(text: str) -> str:
    """An account as the ledger keeps it: addresses in small letters, because people write them both ways."""
    trimmed = text.strip()
    return trimmed.lower() if "@" in trimmed else trimmed


def account_of(claims: Mapping[str, Any], accounts: Accounts) -> str:
    """The account that the claims of an ID token name.

    Args:
        claims: what the provider vouches for.
        accounts: which claim names the account.

    Raises:
        NoAccount: the claim is not there, or it is an address that the provider has not verified.
    """
    claim = accounts.account_claim
    value = claims.get(claim)
    if not isinstance(value, str) or not value.strip():
        raise NoAccount(f"The account came without {claim!r}.", claim=claim, given=False)
    if claim == EMAIL and claims.get("email_verified") not in (None, True, "true"):
        raise NoAccount("The provider has not verified the account's e-mail address.", claim=claim, given=True)
    return account_name(value)


def login_of(claims: Mapping[str, Any]) -> str:
    """Names one sign-in: the same in all tabs of a browser, another one after signing in again."""
    return "/".join(str(claims.get(name, "")) for name in ("iss", "sub", "nonce", "iat"))


def _provider_of(auth: Mapping[str, Any], path: Path) -> str | None:
    tables = {name: table for name, table in auth.items() if isinstance(table, dict) and name != "client_kwargs"}
    named = None if "client_id" in auth or not tables else next(iter(tables))
    if len(tables) > (named is not None):
        raise BadInput(
            f"{path} names more than one provider.",
            cause="The same account name could then belong to two people.",
            remedy="Keep one of them.",
        )
    own = auth if named is None else tables[named]
    for name, table in [*((n, auth) for n in _OF_STREAMLIT), *((n, own) for n in _OF_PROVIDER)]:
        if not isinstance(table.get(name), str) or not table[name].strip():
            raise BadInput(f"{path} lacks {name!r}.", remedy="deploy/OPERATING.md has a whole example.")
    if not auth["redirect_uri"].endswith(_CALLBACK):
        raise BadInput(
            f"'redirect_uri' of {path} does not end with {_CALLBACK}.",
            remedy=f"Give the app's own address and {_CALLBACK}, as the provider knows it.",
        )
    if len(auth["cookie_secret"]) < _SHORTEST_SECRET:
        raise BadInput(
            f"'cookie_secret' of {path} has fewer than {_SHORTEST_SECRET} characters; it could be guessed.",
            remedy="Make one with: python3 -c 'import secrets; print(secrets.token_hex(32))'",
        )
    return named


def _require_private(path: Path) -> None:
    """Others of this machine could otherwise sign cookies of anybody."""
    if os.name != "posix":
        return
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise BadInput(f"{path} may be read by others (mode {mode:o}).", remedy=f"Run: chmod 600 {path}")
