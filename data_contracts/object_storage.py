"""Objects on S3-compatible storage: addresses that behave like paths, and every failure in one sentence.

Credentials and the server come from where the AWS tools have them (``AWS_ACCESS_KEY_ID``, ``AWS_PROFILE``, a role;
``AWS_ENDPOINT_URL`` for other servers than Amazon's). An address never holds them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from data_contracts.errors import BadInput, NotFound
from data_contracts.object_requests import ask, bytes_of

READS_AT_ONCE = 16
"""Objects that one process reads at the same time: each read waits for the network most of its time."""

_SCHEME = "s3://"
_ANY_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
_SIGNED = re.compile(r"[?&](X-Amz-|AWSAccessKeyId|Signature=|versionId=)", re.IGNORECASE)
_NANOSECONDS = 1_000_000_000


@dataclass(frozen=True)
class ObjectFacts:
    """What the storage says of an object without reading it.

    ``modified_ns`` has the time of change in whole seconds, as the storage gives it; its nanoseconds are taken from the
    ETag, so that an object that was overwritten within the same second is noticed.
    """

    key: str
    size_bytes: int
    modified_ns: int


@dataclass(frozen=True, order=True)
class ObjectAddress:
    """An object, or all objects below a prefix, as far as code that knows paths asks.

    Attributes:
        bucket: its name.
        key: without slashes at its ends; empty for the whole bucket.
    """

    bucket: str
    key: str = ""

    @classmethod
    def parse(cls, text: str) -> ObjectAddress:
        """Read ``s3://bucket/prefix``.

        Raises:
            BadInput: it is no such address, or it holds credentials (which the message does not repeat).
        """
        bucket, _, key = text.removeprefix(_SCHEME).partition("/")
        if "@" in bucket or ":" in bucket or _SIGNED.search(key):
            raise BadInput(
                "The address holds credentials or a server; it is not used and not written down.",
                remedy="Give s3://bucket/prefix alone, and put keys and the server where the AWS tools look for them: "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; AWS_ENDPOINT_URL.",
            )
        if not text.startswith(_SCHEME) or not _BUCKET.fullmatch(bucket):
            raise BadInput(f"{text!r} is not the address of a bucket.", remedy="Write s3://bucket/prefix.")
        key = key.strip("/")
        if key:
            require_plain(key)
        return cls(bucket, key)

    def __str__(self) -> str:
        return f"{_SCHEME}{self.bucket}/{self.key}" if self.key else f"{_SCHEME}{self.bucket}"

    def __truediv__(self, relative: str) -> ObjectAddress:
        return ObjectAddress(self.bucket, f"{self.key}/{relative}" if self.key else relative)

    @property
    def name(self) -> str:
        """The last part of the key, or the bucket."""
        return self.key.rpartition("/")[2] or self.bucket

    @property
    def parent(self) -> ObjectAddress:
        """The prefix that the object lies under."""
        return ObjectAddress(self.bucket, self.key.rpartition("/")[0])

    def below(self, root: ObjectAddress) -> str | None:
        """The key relative to a prefix, or None where it lies elsewhere."""
        if self.bucket != root.bucket:
            return None
        start = f"{root.key}/" if root.key else ""
        return self.key[len(start) :] if self.key.startswith(start) and len(self.key) > len(start) else None

    def read_bytes(self) -> bytes:
        """The object's bytes.

        Raises:
            FileNotFoundError, PermissionError: of this one object, as a path would raise them.
            BadInput: the storage does not know who asks, or there is no such bucket.
            Unreachable: it does not answer.
        """
        return bytes_of(self.bucket, self.key)

    def facts(self) -> ObjectFacts:
        """Size and time of change; raises as :meth:`read_bytes` does."""
        answer = ask("head_object", self.bucket, self.key, Key=self.key)
        return _facts(self.key, answer["ContentLength"], answer["LastModified"].timestamp(), answer["ETag"])

    def is_file(self) -> bool:
        """Whether there is such an object that can be read."""
        try:
            self.facts()
        except (FileNotFoundError, PermissionError):
            return False
        return True

    exists = is_file

    def objects(self) -> Iterator[ObjectFacts]:
        """Every object below this prefix, by key, a thousand for each request.

        Raises:
            NotFound: there is no such bucket.
            BadInput, Unreachable: see :meth:`read_bytes`.
        """
        start = f"{self.key}/" if self.key else ""
        token: dict[str, str] = {}
        while True:
            try:
                page = ask("list_objects_v2", self.bucket, start, Prefix=start, **token)
            except PermissionError:
                raise BadInput(
                    f"The storage does not allow listing {self}.",
                    remedy="Ask for the rights s3:ListBucket and s3:GetObject, or check AWS_PROFILE and the keys.",
                ) from None
            for item in page.get("Contents", ()):
                yield _facts(item["Key"], item["Size"], item["LastModified"].timestamp(), item["ETag"])
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}


Place = Path | ObjectAddress
"""Where files lie: a folder or a file on disk, or a prefix or an object."""


def place_of(text: str | Path) -> Place:
    """The path or address that a person, a table row or the ledger names.

    Raises:
        BadInput: an address of another kind of storage, or one that is not whole; see :meth:`ObjectAddress.parse`.
    """
    if isinstance(text, Path):
        return text
    if text.startswith(_SCHEME):
        return ObjectAddress.parse(text)
    if scheme := _ANY_SCHEME.match(text):
        raise BadInput(
            f"Addresses that begin with {scheme.group()} are not read.",
            remedy="Give a folder, a glob or s3://bucket/prefix (Amazon S3 and servers that speak its protocol).",
        )
    return Path(text)


def require_plain(relative: str) -> None:
    """See that a key below a prefix cannot be mistaken for one outside: no empty part, no ``.`` or ``..``.

    Raises:
        NotFound: it can.
    """
    if any(part in ("", ".", "..") for part in relative.split("/")):
        raise NotFound(f"The key {relative!r} has an empty or dotted part; such objects are not read.")


def _facts(key: str, size: int, modified: float, etag: str) -> ObjectFacts:
    fraction = int.from_bytes(hashlib.sha256(etag.encode()).digest()[:8], "big") % _NANOSECONDS
    return ObjectFacts(key, int(size), int(modified) * _NANOSECONDS + fraction)
