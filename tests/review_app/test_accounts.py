"""Sign-in with accounts, through a real provider: who comes in, under which name, and what is left after sign-out."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from data_contracts.errors import BadInput, Refused
from data_contracts.ledger.connect import Ledger
from data_contracts.review import choices, roles, tasks
from data_contracts.vocabulary import Action, Role, TaskState
from data_contracts.workspace import Workspace
from review_app.accounts import Accounts, NoAccount, account_of, read_accounts
from tests.review_app.conftest import Serve, Sit
from tests.review_app.inspector import PATIENCE_MS, Inspector, events_of
from tests.review_app.provider import Provider
from tests.review_app.server import AppServer
from tests.review_app.signing_in import ANN, BEN, COOKIE_SECRET, EXAMPLE, LEA, set_up, sign_in, sign_out, write_secrets

expect.set_options(timeout=PATIENCE_MS)  # signing in is several pages, and test machines are slow at times


def test_an_account_labels_under_its_own_name_and_not_after_sign_out_in_any_tab(
    site: Workspace, serve: Serve, sit: Sit, provider: Provider
) -> None:
    set_up(site, provider)
    server = serve(site)
    ann = sit(server, None)
    expect(ann.page.get_by_role("textbox")).to_have_count(0)  # no name can be typed where accounts are used
    sign_in(ann, "ann")
    ann.wait_for_image()
    expect(ann.page.locator(".st-key-account button")).to_contain_text(ANN)
    ann.answer("2")
    ann.wait_until_saved()
    (event,) = events_of(site)
    assert (event.who, event.action, event.label) == (ANN, Action.LABEL, "scratch")

    other = ann.page.context.new_page()
    other.goto(server.address)
    first, ann.page = ann.page, other
    ann.wait_for_image()
    ann.page = first
    with ann.page.expect_response(lambda answer: answer.url.startswith(f"{provider.issuer}/end")):
        sign_out(ann)
    expect(ann.page.get_by_text("Sign in to review images")).to_be_visible()
    expect(ann.canvas).to_have_count(0)
    assert provider.ended == ["s-2"]
    ann.page = other  # the other tab still shows an image
    ann.page.keyboard.press("3")
    expect(ann.page.get_by_text("Sign in to review images")).to_be_visible()
    ann.page.reload()
    expect(ann.page.get_by_text("Sign in to review images")).to_be_visible()
    assert len(events_of(site)) == 1
    with Ledger.open(site) as ledger:
        assert len(tasks.tasks_frame(ledger, [TaskState.LEASED])) == 0
    assert not ann.errors
    _keeps_its_secrets(site, provider, server, ann)


def _keeps_its_secrets(site: Workspace, provider: Provider, server: AppServer, reader: Inspector) -> None:
    hidden = [COOKIE_SECRET.encode(), provider.client_secret.encode()]
    for path in site.folder.rglob("*"):
        if path.is_file() and path.name != "secrets.toml":
            content = path.read_bytes()
            assert not any(secret in content for secret in hidden), path
    sent = b"".join(reader.received)
    assert not any(secret in sent for secret in hidden)
    for address in reader.requests:
        assert ANN not in address
        assert urlsplit(address).netloc in (urlsplit(server.address).netloc, urlsplit(provider.issuer).netloc, ""), (
            address
        )


@pytest.mark.slow
def test_an_account_without_a_role_is_told_so_and_works_once_a_lead_has_given_it_one(
    site: Workspace, serve: Serve, sit: Sit, provider: Provider
) -> None:
    set_up(site, provider)
    server = serve(site)
    ben = sit(server, None)
    sign_in(ben, "ben")
    expect(ben.page.get_by_text(f"{BEN} has no role here yet.")).to_be_visible()
    expect(ben.page.get_by_text("Ask a lead to give you one")).to_be_visible()
    expect(ben.canvas).to_have_count(0)
    assert events_of(site) == []

    lea = sit(server, None)
    sign_in(lea, "lea")
    lea.wait_for_image()
    lea.go_to("Progress")
    lea.page.get_by_label("Account, as its owner sees it").fill("Ben@plant.example")
    lea.page.get_by_role("button", name="Add").click()
    expect(lea.page.get_by_label(BEN)).to_be_visible()
    with Ledger.open(site) as ledger:
        added = next(person for person in roles.people(ledger) if person.who == BEN)
    assert (added.role, added.by) == (Role.READER, LEA)

    ben.page.reload()
    ben.wait_for_image()
    ben.answer("1")
    ben.wait_until_saved()
    assert [event.who for event in events_of(site)] == [BEN]


@pytest.mark.slow
def test_an_address_that_the_provider_has_not_verified_opens_nobodys_desk(
    site: Workspace, serve: Serve, sit: Sit, provider: Provider
) -> None:
    set_up(site, provider)
    eve = sit(serve(site), None, locale="zh-CN")
    eve.page.get_by_role("button", name="登录").click()
    eve.page.get_by_label("Person").fill("eve")
    eve.page.keyboard.press("Enter")
    expect(eve.page.get_by_text("您账号的电子邮箱未经验证")).to_be_visible()
    eve.page.get_by_text("退出登录").click()
    expect(eve.page.get_by_text("登录后判读图像")).to_be_visible()
    assert events_of(site) == []


@pytest.mark.slow
def test_somebody_whom_the_provider_turns_away_is_back_at_the_sign_in(
    site: Workspace, serve: Serve, sit: Sit, provider: Provider
) -> None:
    set_up(site, provider)
    nobody = sit(serve(site), None)
    sign_in(nobody, "nobody")
    expect(nobody.page.get_by_text("Sign in to review images")).to_be_visible()
    expect(nobody.canvas).to_have_count(0)


@pytest.mark.slow
def test_local_mode_says_on_every_screen_that_names_are_not_checked(site: Workspace, serve: Serve, sit: Sit) -> None:
    ann = sit(serve(site), None)
    expect(ann.page.get_by_text("Local mode: names only, nobody checks them.")).to_be_visible()
    ann.sign_in("Ann")
    for screen in ("Batch", "Disagreements", "Progress", "Audit", "Review"):
        ann.go_to(screen)
        expect(ann.page.locator(".st-key-account button")).to_contain_text("Ann · names only")


def test_an_account_needs_a_role_that_somebody_gave_and_the_first_lead_is_named(site: Workspace) -> None:
    with Ledger.open(site) as ledger:
        roles.sign_in(ledger, ANN)  # in local mode: typed first, so lead
        assert roles.role_of(ledger, ANN) == Role.LEAD
        for account in (ANN, BEN):
            with pytest.raises(Refused, match="has no role here"):
                roles.sign_in_account(ledger, account, first_lead=LEA)
        assert choices.choice(ledger, choices.UNKNOWN_PEOPLE) == "refused"
        assert roles.sign_in_account(ledger, LEA, first_lead=LEA) == Role.LEAD
        roles.set_role(ledger, ANN, Role.LEAD, by=LEA)
        assert roles.sign_in_account(ledger, ANN) == Role.LEAD
        roles.set_role(ledger, LEA, Role.READER, by=ANN)
        assert roles.sign_in_account(ledger, LEA, first_lead=LEA) == Role.READER, "the ledger's word, not the file's"


def test_an_account_with_a_role_comes_in_while_somebody_else_writes(site: Workspace) -> None:
    with Ledger.open(site) as ledger, Ledger.open(site) as other:
        roles.sign_in_account(ledger, LEA, first_lead=LEA)
        with other.writing():
            assert roles.sign_in_account(ledger, LEA) == Role.LEAD


def test_an_account_is_known_by_a_claim_that_is_checked_and_never_by_a_display_name() -> None:
    claims = {"sub": "s-1", "name": "Ann", "email": " Ann@Plant.example", "email_verified": True}
    assert account_of(claims, Accounts()) == ANN
    assert account_of(claims, Accounts(account_claim="sub")) == "s-1"
    assert account_of({"email": ANN}, Accounts()) == ANN, "some providers do not say whether they verified it"
    for wrong in ({"sub": "s-1", "name": "Ann"}, {"email": ""}, {"email": ANN, "email_verified": False}):
        with pytest.raises(NoAccount):
            account_of(wrong, Accounts())


def test_no_secrets_file_means_names_and_a_broken_one_stops_the_app(site: Workspace) -> None:
    assert read_accounts(site) is None
    write_secrets(site, 'other = "x"\n')
    assert read_accounts(site) is None
    whole = EXAMPLE.replace("COOKIE", COOKIE_SECRET)
    write_secrets(site, whole)
    assert read_accounts(site) == Accounts(provider=None, first_lead=LEA)
    named = whole.replace("client_id", "[auth.works]\nclient_id")
    write_secrets(site, named)
    assert read_accounts(site) == Accounts(provider="works", first_lead=LEA)
    for text, said in (
        (whole.replace('"CLIENT"', "CLIENT"), "is not TOML"),
        (whole.replace('client_secret = "SECRET"\n', ""), "lacks 'client_secret'"),
        (whole.replace(COOKIE_SECRET, "short"), "could be guessed"),
        (whole.replace("/oauth2callback", "/"), "does not end with"),
        (whole.replace("first_lead", "first_leed"), "Did you mean 'first_lead'"),
        (named + '[auth.other]\nclient_id = "b"\n', "more than one provider"),
    ):
        path = write_secrets(site, text)
        with pytest.raises(BadInput, match=said) as refused:
            read_accounts(site)
        assert str(path) in str(refused.value)
        assert COOKIE_SECRET not in str(refused.value)
    path = write_secrets(site, whole, mode=0o644)
    with pytest.raises(BadInput, match=f"may be read by others.*chmod 600 {path}"):
        read_accounts(site)


def test_the_server_does_not_start_with_broken_secrets(site: Workspace) -> None:
    write_secrets(site, EXAMPLE.replace('"CLIENT"', "CLIENT"))
    server = AppServer(site)
    with pytest.raises(AssertionError, match="is not TOML"):
        server.start()
    assert server.process is not None
    assert server.process.returncode == 2
    assert "Traceback" not in server.log.read_text(encoding="utf-8")
