"""A real S3 server of our own (moto, in a process of its own), and folders copied into its buckets."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import boto3

from tests.pipelines.ray_cluster import free_port

MOTO = str(Path(sys.executable).with_name("moto_server"))
_PATIENCE = 60.0


class StorageServer:
    """Use it as a context manager. ``environment`` is what a program needs to reach it, as for the AWS tools."""

    def __init__(self, folder: Path, requests_without_check: int | None = None) -> None:
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.environment = {
            "AWS_ENDPOINT_URL": self.address,
            "AWS_ACCESS_KEY_ID": "AKIATESTTESTTESTTEST",
            "AWS_SECRET_ACCESS_KEY": "not-a-real-secret-of-anybody",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": str(folder / "no-config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(folder / "no-credentials"),
        }
        environment = {**os.environ, **self.environment}
        if requests_without_check is not None:
            environment["INITIAL_NO_AUTH_ACTION_COUNT"] = str(requests_without_check)
        with (folder / f"storage-{self.port}.log").open("wb") as log:
            command = [MOTO, "-H", "127.0.0.1", "-p", str(self.port)]
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        self._wait()
        self._client: Any = boto3.client(
            "s3",
            endpoint_url=self.address,
            region_name="us-east-1",
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
        )

    def make_bucket(self, name: str) -> None:
        self._client.create_bucket(Bucket=name)

    def put(self, bucket: str, key: str, data: bytes) -> None:
        self._client.put_object(Bucket=bucket, Key=key, Body=data)

    def put_folder(self, bucket: str, prefix: str, folder: Path) -> None:
        """Copy every file below a folder to the keys below a prefix."""
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            self.put(bucket, f"{prefix}/{file.relative_to(folder).as_posix()}", file.read_bytes())

    def remove(self, bucket: str, key: str) -> None:
        self._client.delete_object(Bucket=bucket, Key=key)

    def stop(self) -> None:
        self._client.close()
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> StorageServer:
        return self

    def __exit__(self, *what: object) -> None:
        self.stop()

    def _wait(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        while True:
            assert self._process.poll() is None
            assert time.monotonic() < deadline
            try:
                urllib.request.urlopen(f"{self.address}/moto-api/", timeout=2).close()
                return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.1)
