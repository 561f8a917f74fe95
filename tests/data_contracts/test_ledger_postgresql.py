"""The ledger on a PostgreSQL server: what differs from a file. (What does not runs on both, see ``conftest``.)"""

from __future__ import annotations

import dataclasses
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.exc import DatabaseError
from sqlalchemy.exc import IntegrityError as DatabaseRefused

from data_contracts.errors import BadInput, Busy, IntegrityError, TailsightError, Unreachable
from data_contracts.ledger import transactions
from data_contracts.ledger.append_only import APPEND_ONLY
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.events import append_events, events_frame
from data_contracts.ledger.images import images_frame
from data_contracts.ledger.tables import METADATA
from data_contracts.ledger.taxonomies import save_taxonomy
from data_contracts.ledger.verify import verify_chain
from data_contracts.records import NewLabelEvent
from data_contracts.review.decide import decide
from data_contracts.review.serving import serve
from data_contracts.review.undo import undo
from data_contracts.settings import Settings, read_settings
from data_contracts.taxonomy import Taxonomy
from data_contracts.workspace import Workspace
from tests.database_server import PASSWORD, DatabaseServer

Answer = Callable[..., NewLabelEvent]

pytestmark = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


@pytest.fixture
def settings(database: str) -> Settings:
    return dataclasses.replace(read_settings(), database_url=database)


def _name_of(ledger: Ledger) -> str:
    return str(ledger.engine.url.database)


def test_what_people_say_is_kept_chained_and_nothing_lies_in_the_workspace(
    ledger: Ledger, queue: Any, say: Any, answer: Answer
) -> None:
    tasks = queue(ledger, ["a", "b", "c"])
    assert [task.task_id for task in serve(ledger, "ann", count=2)] == tasks[:2]
    assert [task.task_id for task in serve(ledger, "bob", count=2)] == tasks[2:], "no task is served twice"
    first = decide(ledger, "ann", say(tasks[0], "crack"))
    undo(ledger, "ann", first.event_id, request_id="back")
    decide(ledger, "bob", say(tasks[2], "überhitzt"))
    append_events(ledger, [answer("x" * 200, "y" * 255, seconds_spent=0.1 + 0.2, note="n" * 5000)])
    found = verify_chain(ledger)
    assert (found.ok, found.events) == (True, 4)
    assert events_frame(ledger)["seconds_spent"].iloc[-1] == 0.1 + 0.2
    assert not ledger.workspace.ledger_path.exists()


def test_a_workspace_has_one_ledger_in_a_file_or_on_a_server(
    site: Workspace, settings: Settings, ledger: Ledger, workspace: Workspace
) -> None:
    on_file = dataclasses.replace(settings, database_url=None)
    with pytest.raises(
        BadInput, match=r"is on a server \(postgresql.*, but TAILSIGHT_DATABASE_URL is not set"
    ) as error:
        Ledger.open(site, on_file)
    assert "***" in str(error.value)
    assert not site.ledger_path.exists()
    Ledger.open(workspace, on_file).close()
    with pytest.raises(BadInput, match=r"is its file ledger\.sqlite, but TAILSIGHT_DATABASE_URL names a server"):
        Ledger.open(workspace, settings)


def test_every_append_only_table_refuses_change_deletion_replacement_and_truncation(
    ledger: Ledger, answer: Answer
) -> None:
    append_events(ledger, [answer("a", "x", request_id="r1")])
    attempts = [(table, f"TRUNCATE {table} CASCADE") for table in APPEND_ONLY]
    attempts += [
        ("label_event", "UPDATE label_event SET label = 'y'"),
        ("label_event", "DELETE FROM label_event"),
        (
            "label_event",
            "INSERT INTO label_event SELECT * FROM label_event ON CONFLICT (sequence) DO UPDATE SET label = 'y'",
        ),
    ]
    for table, attempt in attempts:
        with ledger.writing() as connection, pytest.raises(DatabaseRefused, match="is append-only") as refused:
            connection.exec_driver_sql(attempt)
        assert table in str(refused.value) or "CASCADE" in attempt
        connection.rollback()
    assert verify_chain(ledger).ok


@pytest.mark.slow
@pytest.mark.parametrize(
    "weakening",
    [
        "ALTER TABLE label_event DISABLE TRIGGER label_event_no_change",
        "DROP TRIGGER label_event_no_truncate ON label_event",
        "CREATE OR REPLACE FUNCTION label_event_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RETURN NULL; END $$",
        "CREATE OR REPLACE TRIGGER label_event_no_change BEFORE UPDATE OR DELETE ON label_event FOR EACH ROW "
        "WHEN (OLD.sequence > 5) EXECUTE FUNCTION label_event_refuse()",
        "CREATE OR REPLACE TRIGGER label_event_no_change BEFORE UPDATE OF note OR DELETE ON label_event FOR EACH ROW "
        "EXECUTE FUNCTION label_event_refuse()",
    ],
)
def test_a_weakened_trigger_is_found(ledger: Ledger, postgresql_server: DatabaseServer, weakening: str) -> None:
    assert verify_chain(ledger).ok
    postgresql_server.execute(weakening, _name_of(ledger))
    assert verify_chain(ledger).problems == ("label event: its triggers were removed.",)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("UPDATE label_event SET label = 'y' WHERE sequence = 2", "label event 2: was changed"),
        ("UPDATE label_event SET blind = NOT blind WHERE sequence = 1", "label event 1: was changed"),
        ("DELETE FROM label_event WHERE sequence = 2", "label event 2: missing"),
        ("DELETE FROM label_event WHERE sequence = 3", "its end was cut off"),
    ],
)
def test_what_the_servers_owner_changes_with_the_triggers_off_is_found(
    ledger: Ledger, postgresql_server: DatabaseServer, answer: Answer, change: str, says: str
) -> None:
    append_events(ledger, [answer(name, "x") for name in "abc"])
    name = _name_of(ledger)
    postgresql_server.execute("ALTER TABLE label_event DISABLE TRIGGER USER", name)
    postgresql_server.execute(change, name)
    postgresql_server.execute("ALTER TABLE label_event ENABLE TRIGGER USER", name)
    assert says in " ".join(verify_chain(ledger).problems)


def test_a_forged_answer_and_a_trigger_that_is_off_are_found(
    ledger: Ledger, postgresql_server: DatabaseServer, answer: Answer
) -> None:
    append_events(ledger, [answer("a", "x")])
    postgresql_server.execute("ALTER TABLE label_event DISABLE TRIGGER USER", _name_of(ledger))
    postgresql_server.execute("UPDATE label_event SET label = 'y'", _name_of(ledger))
    problems = " ".join(verify_chain(ledger).problems)
    assert "label event 1: was changed" in problems
    assert "label event: its triggers were removed." in problems


def test_the_migrations_build_what_the_tables_say(ledger: Ledger) -> None:
    with ledger.reading() as connection:
        # Types aside: every text is of one kind on a server, see the next test.
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        assert compare_metadata(context, METADATA) == []


def test_text_has_no_limit_and_is_ordered_by_its_bytes_as_in_a_file(
    ledger: Ledger, postgresql_server: DatabaseServer, add_pictures: Any
) -> None:
    kinds = postgresql_server.execute(
        "SELECT DISTINCT data_type, collation_name FROM information_schema.columns "
        "WHERE table_schema = 'public' AND table_name <> 'alembic_version' AND collation_name IS NOT NULL "
        "OR data_type = 'character varying' AND table_schema = 'public' AND table_name <> 'alembic_version'",
        _name_of(ledger),
    )
    assert kinds == [("text", "C")]
    save_taxonomy(ledger, Taxonomy().extended(["x"]), "w" * 4000, "longer than any column in a file says")
    names = ["a", "B", "ä", "Z", "_"]
    add_pictures(ledger, names, groups={name: name for name in names})
    with ledger.reading() as connection:
        groups = connection.exec_driver_sql("SELECT group_id FROM image ORDER BY group_id").scalars().all()
    assert groups == sorted(names)
    assert images_frame(ledger)["image_id"].is_monotonic_increasing


def test_a_writer_waits_for_the_writer_before_it_and_then_says_so(
    ledger: Ledger, settings: Settings, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "BUSY_SECONDS", 0.2)
    with Ledger.open(ledger.workspace, settings) as other, ledger.writing():
        with pytest.raises(Busy, match=r"held by another process, for longer than 0\.2 seconds") as busy:
            append_events(other, [answer("a", "x")])
        assert events_frame(other).empty, "readers do not wait"
    assert PASSWORD not in str(busy.value)
    append_events(ledger, [answer("a", "x")])


def test_a_server_that_was_started_anew_is_no_error_and_one_that_is_gone_is_a_plain_one(
    ledger: Ledger, postgresql_server: DatabaseServer, answer: Answer
) -> None:
    append_events(ledger, [answer("a", "x")])
    postgresql_server.stop()
    try:
        for _ in range(2):
            with pytest.raises(Unreachable, match=r"cannot be reached: .*refused") as gone:
                append_events(ledger, [answer("a", "y")])
    finally:
        postgresql_server.start()
    assert "TAILSIGHT_DATABASE_URL" in str(gone.value)
    append_events(ledger, [answer("a", "y")])
    assert verify_chain(ledger).events == 2


def _addresses(server: DatabaseServer) -> Iterator[tuple[str, type[TailsightError], str]]:
    yield server.address("absent"), TailsightError, 'cannot be reached: .*database "absent" does not exist'
    wrong = server.address("postgres", password="not-this@one")
    yield wrong, TailsightError, "cannot be reached: .*password authentication failed"
    unreadable = server.address("postgres", password="not-this@one").replace(f":{server.port}/", ":port/")
    yield unreadable, BadInput, "TAILSIGHT_DATABASE_URL cannot be read as an address"
    yield f"{server.address('postgres')}?sslmoode=off", TailsightError, "cannot be reached: .*sslmoode"
    yield server.address("postgres", driver="postgresql+asyncpg"), BadInput, "does not know databases of the kind"


def test_a_database_that_cannot_be_used_is_said_plainly_and_no_password_is_shown(
    site: Workspace, settings: Settings, postgresql_server: DatabaseServer
) -> None:
    for address, kind, says in _addresses(postgresql_server):
        with pytest.raises(kind, match=says) as error:
            Ledger.open(site, dataclasses.replace(settings, database_url=address))
        assert not isinstance(error.value, Busy), "to try again would not help"
        shown = f"{error.value!r} {error.value}"
        assert PASSWORD not in shown
        assert "not-this" not in shown


def test_a_ledger_shows_where_it_is_without_the_password(ledger: Ledger, postgresql_server: DatabaseServer) -> None:
    place = f"127.0.0.1:{postgresql_server.port}/{_name_of(ledger)}"
    assert repr(ledger) == f"Ledger(postgresql+psycopg://tailsight:***@{place})"


@pytest.mark.slow
def test_a_password_given_as_an_option_is_not_shown_either(site: Workspace, settings: Settings) -> None:
    assert settings.database_url is not None
    address = settings.database_url.replace(":p%40ss%2Fw%3Ard%25@", "@") + "?password=p%40ss%2Fw%3Ard%25"
    with Ledger.open(site, dataclasses.replace(settings, database_url=address)) as ledger:
        assert "ss" not in repr(ledger).partition("?")[2]


def test_an_error_of_ours_shows_no_answers(ledger: Ledger) -> None:
    def ask() -> None:
        with ledger.writing() as connection:
            connection.exec_driver_sql("SELECT * FROM absent WHERE name = %s", ("a patient's name",))

    with pytest.raises(DatabaseError, match="absent") as error:
        ask()
    assert "patient" not in str(error.value)


@pytest.mark.slow
def test_a_user_who_may_not_write_is_told_so(
    site: Workspace, settings: Settings, ledger: Ledger, postgresql_server: DatabaseServer, answer: Answer
) -> None:
    name = _name_of(ledger)
    postgresql_server.execute("DROP ROLE IF EXISTS guest")
    postgresql_server.execute("CREATE ROLE guest LOGIN PASSWORD 'guest'")
    postgresql_server.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO guest", name)
    address = postgresql_server.address(name).replace("tailsight:p%40ss%2Fw%3Ard%25", "guest:guest")
    with Ledger.open(site, dataclasses.replace(settings, database_url=address)) as guest:
        assert events_frame(guest).empty
        with pytest.raises(TailsightError, match="cannot be written: permission denied"):
            append_events(guest, [answer("a", "x")])


@pytest.mark.slow
def test_a_database_of_another_program_or_encoding_is_refused(
    site: Workspace, settings: Settings, postgresql_server: DatabaseServer
) -> None:
    server = postgresql_server
    with server.database() as name:
        server.execute("CREATE TABLE alembic_version (version_num varchar(32))", name)
        server.execute("INSERT INTO alembic_version VALUES ('cafe')", name)
        with pytest.raises(IntegrityError, match="schema cafe, which this version of Tailsight does not know"):
            Ledger.open(site, dataclasses.replace(settings, database_url=server.address(name)))
    server.execute(
        "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    )
    try:
        with pytest.raises(BadInput, match="database latin has the encoding LATIN1"):
            Ledger.open(site, dataclasses.replace(settings, database_url=server.address("latin")))
    finally:
        server.execute("DROP DATABASE latin WITH (FORCE)")


@pytest.mark.slow
def test_a_restored_dump_verifies_guards_and_all(
    ledger: Ledger, settings: Settings, postgresql_server: DatabaseServer, answer: Answer, tmp_path: Path
) -> None:
    append_events(ledger, [answer(name, "x") for name in "abc"])
    dump = tmp_path / "ledger.dump"
    tools, secret = postgresql_server.programs, {**os.environ, "PGPASSWORD": PASSWORD}
    place = ["--username=tailsight", "--host=127.0.0.1", f"--port={postgresql_server.port}"]
    taken = [str(tools / "pg_dump"), *place, "--format=custom", f"--file={dump}", _name_of(ledger)]
    subprocess.run(taken, check=True, env=secret)
    with postgresql_server.database() as name:
        given = [str(tools / "pg_restore"), *place, "--clean", "--if-exists", f"--dbname={name}", str(dump)]
        subprocess.run(given, check=True, env=secret)
        restored = dataclasses.replace(settings, database_url=postgresql_server.address(name))
        with Ledger.open(ledger.workspace, restored) as copy:
            append_events(copy, [answer("d", "x")])
            found = verify_chain(copy)
        assert (found.ok, found.events) == (True, 4)
