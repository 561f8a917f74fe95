"""A PostgreSQL server of the tests' own: made in a temporary folder, gone with the test session."""

from __future__ import annotations

import contextlib
import ctypes
import getpass
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL

USER = "tailsight"
PASSWORD = "p@ss/w:rd%"  # what has to be percent-encoded in an address
START_SECONDS = 60.0

_numbers = itertools.count(1)


def programs() -> Path | None:
    """The folder of ``initdb`` and ``postgres``; Debian keeps them off the path, one folder a version."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    versions = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(versions, key=lambda path: int(path.parts[-3]), default=None)
    return None if newest is None else newest.parent


@dataclass
class DatabaseServer:
    """A running server with one user, who needs the password. Nothing is synced to disk: speed, not safety."""

    programs: Path
    folder: Path
    account: str
    port: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def prepare(self) -> None:
        """Make the server's files, and choose a port."""
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        shutil.chown(self.folder, self.account)
        shutil.chown(secret, self.account)
        self._make_files(secret)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    def start(self) -> None:
        """Start, and wait until it answers."""
        settings = ("fsync=off", "full_page_writes=off", "max_connections=60", "listen_addresses=127.0.0.1")
        flags = [part for setting in settings for part in ("-c", setting)]
        command = [str(self.programs / "postgres"), "-D", str(self.folder / "data"), "-p", str(self.port)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "-k", str(self.folder), *flags],
                stdout=log,
                stderr=log,
                preexec_fn=_end_with_the_tests,
                **self._as_account(),
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            if self._answers():
                return
            time.sleep(0.05)
        raise RuntimeError(f"PostgreSQL did not start:\n{(self.folder / 'log').read_text()}")

    def stop(self) -> None:
        """Stop at once, whoever is connected."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(60)
            self.process = None

    def address(self, database: str, *, driver: str = "postgresql", password: str = PASSWORD) -> str:
        """The URL of a database."""
        url = URL.create(driver, USER, password, "127.0.0.1", self.port, database)
        return url.render_as_string(hide_password=False)

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run a statement with the rights of the server's owner; gives its rows."""
        import psycopg

        with psycopg.connect(self.address(database), autocommit=True) as connection:
            answer = connection.execute(statement.encode())
            return answer.fetchall() if answer.description is not None else []

    @contextlib.contextmanager
    def database(self, template: str = "template0") -> Iterator[str]:
        """A database for as long as the block runs; yields its name."""
        name = f"test_{next(_numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield name
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _answers(self) -> bool:
        command = [str(self.programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command, check=False).returncode == 0

    def _make_files(self, secret: Path) -> None:
        command = [str(self.programs / "initdb"), "-D", str(self.folder / "data"), "-U", USER, "--no-sync"]
        command += ["--pwfile", str(secret), "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]
        # As most servers are: text is ordered as people read it, not by its bytes. Not every build can.
        for locale in (["--locale-provider=icu", "--icu-locale=en"], []):
            made = subprocess.run(
                [*command, *locale], capture_output=True, text=True, check=False, **self._as_account()
            )
            if made.returncode == 0:
                return
        raise RuntimeError(f"initdb failed:\n{made.stdout}{made.stderr}")

    def _as_account(self) -> dict[str, Any]:
        if self.account == getpass.getuser():
            return {"cwd": self.folder}
        entry = pwd.getpwnam(self.account)
        return {"cwd": self.folder, "user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _end_with_the_tests() -> None:
    """Ask the system to stop the server when the tests are killed and can clean up nothing (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGINT)  # PR_SET_PDEATHSIG


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[DatabaseServer]:
    """A server for the whole session; skips by name where PostgreSQL is not installed."""
    found = programs()
    if found is None:
        pytest.skip("PostgreSQL's server programs are not installed")
    pytest.importorskip("psycopg", reason="PostgreSQL's driver is not installed: pip install 'tailsight[postgresql]'")
    account = _account()
    folder = Path(tempfile.mkdtemp(prefix="tailsight-postgresql-"))
    server = DatabaseServer(found, folder, account)
    try:
        server.prepare()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _account() -> str:
    """Who runs the server: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return getpass.getuser()
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"
