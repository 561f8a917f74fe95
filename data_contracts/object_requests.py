"""Requests to S3-compatible storage through fsspec, and what their failures mean in words.

Used by :mod:`data_contracts.object_storage` alone.
"""

from __future__ import annotations

import errno
import os
import re
import threading
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from data_contracts.errors import BadInput, NotFound, TailsightError, Unreachable

_CONNECTIONS = 32
_CONNECT_SECONDS = 10
_READ_SECONDS = 60
_ATTEMPTS = 2
_UNKNOWN_CALLER = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "RequestTimeTooSkewed",
    "TokenRefreshRequired",
    "AuthorizationHeaderMalformed",
}
_AWAY = ("Endpoint", "Connect", "Timeout", "HTTPClient", "ConnectionClosed", "Proxy", "SSL")
_LOGIN = re.compile(r"//[^/@\s]*@")

_opened: dict[int, Any] = {}
_lock = threading.Lock()


def ask(operation: str, bucket: str, key: str, **parameters: Any) -> dict[str, Any]:
    """One request, by its name in the S3 API.

    Raises:
        FileNotFoundError, PermissionError: of this one object.
        BadInput: the extra is missing, the storage does not know who asks, or there is no such bucket.
        Unreachable: it does not answer, or answers that it cannot.
    """
    storage = _storage()
    try:
        answer: dict[str, Any] = storage.call_s3(operation, Bucket=bucket, **parameters)
    except Exception as error:
        raise _in_words(error, bucket, key) from None
    return answer


def bytes_of(bucket: str, key: str) -> bytes:
    """The bytes of an object; raises as :func:`ask` does."""
    storage = _storage()
    try:
        data: bytes = storage.cat_file(f"{bucket}/{key}", max_concurrency=1)  # one request: no question for the size
    except Exception as error:
        raise _in_words(error, bucket, key) from None
    return data


def require_storage_client() -> None:
    """See that fsspec's S3 client is installed.

    Raises:
        BadInput: it is not.
    """
    if find_spec("s3fs") is None:
        raise BadInput(
            "Addresses that begin with s3:// need s3fs, which is not installed.",
            remedy="Install it with: pip install 'tailsight[s3]'",
        )


def _storage() -> Any:
    """One client per process. fsspec would make one per thread; after a fork none of the parent's can be used."""
    with _lock:
        if os.getpid() not in _opened:
            require_storage_client()
            from s3fs import S3FileSystem

            client = S3FileSystem(
                skip_instance_cache=True,
                use_listings_cache=False,
                config_kwargs={
                    "max_pool_connections": _CONNECTIONS,
                    "connect_timeout": _CONNECT_SECONDS,
                    "read_timeout": _READ_SECONDS,
                    "retries": {"max_attempts": _ATTEMPTS, "mode": "standard"},
                },
            )
            client.retries = _ATTEMPTS  # of what botocore has given up
            _opened[os.getpid()] = client
        return _opened[os.getpid()]


def _in_words(error: Exception, bucket: str, key: str) -> Exception:
    address = f"s3://{bucket}/{key}"
    code = _code_of(error)
    kind = type(error).__name__
    if code == "NoSuchBucket":
        return NotFound(
            f"There is no bucket {bucket!r} on this storage.",
            remedy="Check its name, and AWS_ENDPOINT_URL where the storage is not Amazon's.",
        )
    if code in _UNKNOWN_CALLER or kind in ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound"):
        return BadInput(
            f"The storage of s3://{bucket} does not know who asks ({code or kind}).",
            cause="There are no credentials in the environment, or they are wrong or have expired.",
            remedy="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, as for the AWS tools.",
        )
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(errno.ENOENT, "No such object", address)
    if isinstance(error, PermissionError):
        return PermissionError(errno.EACCES, "The storage does not allow it", address)
    if isinstance(error, ConnectionError | TimeoutError) or kind.startswith(_AWAY):
        server = getattr(error, "kwargs", {}).get("endpoint_url")
        found = urlsplit(server) if isinstance(server, str) else None
        where = f" at {found.scheme}://{found.netloc.rpartition('@')[2]}" if found is not None else ""
        return Unreachable(
            f"The storage of s3://{bucket} does not answer{where}.",
            cause="It is down, the network is, or AWS_ENDPOINT_URL names another server.",
            remedy="Run the same command again once it answers; what is done is kept.",
        )
    said = _LOGIN.sub("//", str(error)).partition("\n")[0]
    return TailsightError(
        f"The storage refused {address}: {code or kind}: {said}",
        remedy="Check the bucket, its region (AWS_REGION) and AWS_ENDPOINT_URL.",
    )


def _code_of(error: BaseException) -> str | None:
    """The storage's own word for what happened, wherever in the chain it stands."""
    seen: BaseException | None = error
    while seen is not None:
        response = getattr(seen, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code"))
        seen = seen.__cause__
    return None
