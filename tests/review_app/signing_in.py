"""Signing in and out with accounts of a real provider."""

from __future__ import annotations

import secrets
from pathlib import Path

from playwright.sync_api import expect

from data_contracts.ledger.connect import Ledger
from data_contracts.review import roles
from data_contracts.vocabulary import Role
from data_contracts.workspace import Workspace
from tests.review_app.inspector import Inspector
from tests.review_app.provider import CLIENT, Provider

LEA = "lea@plant.example"
ANN = "ann@plant.example"
BEN = "ben@plant.example"
COOKIE_SECRET = secrets.token_hex(32)
EXAMPLE = """\
[auth]
redirect_uri = "http://127.0.0.1:{port}/oauth2callback"
cookie_secret = "COOKIE"
client_id = "CLIENT"
client_secret = "SECRET"
server_metadata_url = "DISCOVERY"

[tailsight]
first_lead = "Lea@plant.example"
"""
PEOPLE = {
    "lea": {"sub": "s-1", "email": LEA, "email_verified": True, "name": "Lea"},
    "ann": {"sub": "s-2", "email": "Ann@Plant.example", "email_verified": True, "name": "Ann"},
    "ben": {"sub": "s-3", "email": BEN, "email_verified": True, "name": "Ann"},
    "eve": {"sub": "s-4", "email": ANN, "email_verified": False, "name": "Ann"},
}


def write_secrets(site: Workspace, text: str, mode: int = 0o600) -> Path:
    folder = site.folder / ".streamlit"
    folder.mkdir(exist_ok=True)
    path = folder / "secrets.toml"
    path.touch(mode=mode)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def set_up(site: Workspace, provider: Provider) -> None:
    text = EXAMPLE.replace("COOKIE", COOKIE_SECRET).replace("CLIENT", CLIENT)
    write_secrets(site, text.replace("SECRET", provider.client_secret).replace("DISCOVERY", provider.discovery))
    with Ledger.open(site) as ledger:
        roles.sign_in_account(ledger, LEA, first_lead=LEA)
        roles.set_role(ledger, ANN, Role.READER, by=LEA)


def sign_in(inspector: Inspector, person: str) -> None:
    expect(inspector.page.get_by_text("Sign in to review images")).to_be_visible()
    inspector.page.get_by_role("button", name="Sign in").click()
    inspector.page.get_by_label("Person").fill(person)
    inspector.page.keyboard.press("Enter")
    inspector.page.wait_for_url(f"{inspector.server.address}/**")


def sign_out(inspector: Inspector) -> None:
    inspector.page.locator(".st-key-account button").click()
    inspector.page.get_by_text("Sign out").click()
