"""Where the server listens, what it computes with, and how much it takes on."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from data_contracts.errors import BadInput
from data_contracts.vocabulary import Alias

MEGABYTE = 1_000_000
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Limits(BaseModel):
    """What one request may ask for, and what all of them together may hold.

    Together they bound the server's memory: bodies that are being read or decoded hold at most ``held_bytes``, and at
    most ``waiting_images`` prepared images wait for a worker. What is beyond is refused at once, because a client that
    is told to come back in a second is better off than one that waits for a server without memory.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    image_bytes: int = Field(default=20 * MEGABYTE, ge=1)
    request_bytes: int = Field(default=64 * MEGABYTE, ge=1)
    images_per_request: int = Field(default=64, ge=1, le=1024)
    waiting_images: int = Field(default=512, ge=1)
    held_bytes: int = Field(default=512 * MEGABYTE, ge=1)
    seconds: float = Field(default=10.0, gt=0, le=600, description="from the first byte to the answer")


class ServeOptions(BaseModel):
    """Everything that ``tailsight serve`` may be told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    model: str = Alias.CHAMPION.value
    runtime: str = "auto"
    workers: int = Field(default=1, ge=1, le=64)
    max_batch: int = Field(default=32, ge=1, le=1024)
    batch_wait_ms: float = Field(default=2.0, ge=0, le=1000)
    limits: Limits = Limits()
    keys_file: Path | None = None
    without_keys: bool = False
    watch_seconds: float = Field(default=2.0, gt=0, description="how often the alias is looked at")
    log_predictions: bool = False
    log_automatic: bool = False
    log_bytes: int = Field(default=2_000 * MEGABYTE, ge=1)

    def check_exposure(self, *, has_keys: bool) -> None:
        """Refuse to let other machines in where nobody would be asked for a key.

        Raises:
            BadInput: it would.
        """
        if has_keys or self.without_keys or self.host in LOOPBACK:
            return
        raise BadInput(
            f"Without an API key the server listens on this machine alone, not on {self.host}.",
            remedy="Make a key with `tailsight serve --new-key NAME --keys-file FILE`, or set TAILSIGHT_SERVE_KEYS; "
            "--without-keys says that whoever reaches the port may ask.",
        )
