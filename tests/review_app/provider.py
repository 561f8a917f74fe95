"""A small OpenID Connect provider on this machine: it checks what real ones check, and signs with a real key.

Authorisation code flow with PKCE: discovery, a form to sign in, single-use codes, ID tokens signed with RS256, the key
set, user information, and the end of a session.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import secrets
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT = "tailsight-tests"
ALGORITHM = "RS256"


@dataclass
class Login:
    """What an authorisation code stands for until it is exchanged."""

    person: dict[str, Any]
    redirect_uri: str
    nonce: str
    challenge: str


@dataclass
class Provider:
    """Vouches for the people in ``people``: claims by the name that they type at the provider."""

    people: dict[str, dict[str, Any]]
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one", "use": "sig"}))
    client_secret: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    ended: list[str] = field(default_factory=list)
    """Subjects of the sessions that were ended here."""

    def __post_init__(self) -> None:
        self.codes: dict[str, Login] = {}
        self.tokens: dict[str, dict[str, Any]] = {}
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.get(self)

            def do_POST(self) -> None:
                provider.post(self)

            def log_message(self, format: str, *args: object) -> None:
                """Tests read what the app says, not this."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    @property
    def discovery(self) -> str:
        return f"{self.issuer}/.well-known/openid-configuration"

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def get(self, request: BaseHTTPRequestHandler) -> None:
        address = urlsplit(request.path)
        given = _flat(address.query)
        if address.path == "/.well-known/openid-configuration":
            _json(request, self._metadata())
        elif address.path == "/keys":
            _json(request, {"keys": [{**self.key.as_dict(private=False), "alg": ALGORITHM}]})
        elif address.path == "/authorize":
            problem = _wrong_request(given)
            _page(request, 400, problem) if problem else _page(request, 200, _form(given))
        elif address.path == "/me":
            claims = self.tokens.get(request.headers.get("Authorization", "").removeprefix("Bearer "))
            _json(request, claims or {"error": "invalid_token"}, 200 if claims else 401)
        elif address.path == "/end":
            hint = jwt.decode(given["id_token_hint"], self.key, algorithms=[ALGORITHM]).claims
            self.ended.append(hint["sub"])
            _redirect(request, given["post_logout_redirect_uri"])
        else:
            _page(request, 404, "not here")

    def post(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length", 0))).decode()
        given = _flat(body)
        if urlsplit(request.path).path == "/authorize":
            self._sign_in(request, given)
        else:
            self._exchange(request, given)

    def _sign_in(self, request: BaseHTTPRequestHandler, given: dict[str, str]) -> None:
        back = {"state": given["state"]}
        person = self.people.get(given.get("person", ""))
        if person is None:
            _redirect(request, f"{given['redirect_uri']}?{urlencode({**back, 'error': 'access_denied'})}")
            return
        code = secrets.token_urlsafe(24)
        self.codes[code] = Login(person, given["redirect_uri"], given["nonce"], given["code_challenge"])
        _redirect(request, f"{given['redirect_uri']}?{urlencode({**back, 'code': code})}")

    def _exchange(self, request: BaseHTTPRequestHandler, given: dict[str, str]) -> None:
        login = self.codes.pop(given.get("code", ""), None)  # a code serves once
        digest = hashlib.sha256(given.get("code_verifier", "").encode()).digest()
        proof = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        known = self._client_of(request, given) == (CLIENT, self.client_secret)
        if login is None or not known or given.get("redirect_uri") != login.redirect_uri or proof != login.challenge:
            _json(request, {"error": "invalid_grant"}, 400)
            return
        now = int(time.time())
        times = {"iat": now, "exp": now + 300}
        claims = {**login.person, "iss": self.issuer, "aud": CLIENT, "nonce": login.nonce, **times}
        access = secrets.token_urlsafe(24)
        self.tokens[access] = login.person
        id_token = jwt.encode({"alg": ALGORITHM, "kid": "one"}, claims, self.key)
        answer = {"access_token": access, "token_type": "Bearer", "expires_in": 300, "id_token": id_token}
        _json(request, answer)

    def _client_of(self, request: BaseHTTPRequestHandler, given: dict[str, str]) -> tuple[str, str]:
        scheme, _, value = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "basic":
            name, _, secret = base64.b64decode(value).decode().partition(":")
            return name, secret
        return given.get("client_id", ""), given.get("client_secret", "")

    def _metadata(self) -> dict[str, Any]:
        places = {"authorization": "authorize", "token": "token", "userinfo": "me", "end_session": "end"}
        return {
            "issuer": self.issuer,
            **{f"{name}_endpoint": f"{self.issuer}/{path}" for name, path in places.items()},
            "jwks_uri": f"{self.issuer}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [ALGORITHM],
            "code_challenge_methods_supported": ["S256"],
            "scopes_supported": ["openid", "email", "profile"],
        }


def _wrong_request(given: dict[str, str]) -> str | None:
    wanted = {"client_id": CLIENT, "response_type": "code", "code_challenge_method": "S256"}
    wrong = [name for name, value in wanted.items() if given.get(name) != value]
    wrong += [name for name in ("redirect_uri", "state", "nonce", "code_challenge") if not given.get(name)]
    return f"wrong: {', '.join(wrong)}" if wrong or "openid" not in given.get("scope", "").split() else None


def _form(given: dict[str, str]) -> str:
    names = ("redirect_uri", "state", "nonce", "code_challenge")
    fields = "".join(f"<input type=hidden name={name} value='{html.escape(given[name])}'>" for name in names)
    return f"<form method=post action=/authorize>{fields}<input name=person aria-label=Person autofocus></form>"


def _flat(query: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(query).items()}


def _json(request: BaseHTTPRequestHandler, content: object, status: int = 200) -> None:
    _send(request, status, "application/json", json.dumps(content))


def _page(request: BaseHTTPRequestHandler, status: int, content: str) -> None:
    _send(request, status, "text/html", f"<!doctype html><title>Provider</title>{content}")


def _redirect(request: BaseHTTPRequestHandler, address: str) -> None:
    request.send_response(302)
    request.send_header("Location", address)
    request.send_header("Content-Length", "0")
    request.end_headers()


def _send(request: BaseHTTPRequestHandler, status: int, kind: str, text: str) -> None:
    body = text.encode()
    request.send_response(status)
    request.send_header("Content-Type", kind)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)
