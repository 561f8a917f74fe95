"""Access to image files under registered roots: by uri, verified by hash, never outside the root."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from data_contracts.errors import BadInput, IntegrityError, NotFound, UnreadableImage
from data_contracts.object_storage import READS_AT_ONCE, ObjectAddress, Place, require_plain
from data_contracts.vocabulary import QuarantineKind


def image_id_of(data: bytes, frame: int | None = None) -> str:
    """sha256 of the file's bytes in hexadecimal, plus ``#n`` for frame ``n`` of a file with several."""
    digest = hashlib.sha256(data).hexdigest()
    return digest if frame is None else f"{digest}#{frame}"


def frame_of(uri: str) -> int:
    """The frame number that a uri or an image id names (0 where it names none)."""
    _, mark, number = uri.rpartition("#")
    return int(number) if mark and number.isdigit() else 0


class Blobs:
    """Reads image bytes by ``root_id/relative/path`` uri, from disk or from S3-compatible storage.

    Args:
        roots: absolute folder or address of each registered root, by root id.
    """

    def __init__(self, roots: Mapping[str, Place]) -> None:
        self._roots: dict[str, Place] = {
            name: root if isinstance(root, ObjectAddress) else Path(root).resolve() for name, root in roots.items()
        }

    def reads_at_once(self, processors: int) -> int:
        """How many reads should be under way together: as many as processors from disk, more where a network waits."""
        remote = any(isinstance(root, ObjectAddress) for root in self._roots.values())
        return max(1, processors, READS_AT_ONCE if remote else 0)

    def is_there(self, uri: str) -> bool:
        """Whether the file or object that a uri names exists; asks the storage, does not read it."""
        return self.place(uri).is_file()

    def path(self, uri: str) -> Path:
        """The file on disk that a uri names, for work that cannot do with bytes.

        Raises:
            BadInput: it lies on remote storage.
            NotFound, UnreadableImage: see :meth:`place`.
        """
        place = self.place(uri)
        if isinstance(place, ObjectAddress):
            raise BadInput(
                f"{place} is no file on disk, and this needs one.",
                remedy="Ingest with --copy, so that the workspace keeps a copy of every image.",
            )
        return place

    def place(self, uri: str) -> Place:
        """The file or object that a uri names.

        Raises:
            NotFound: the root is not registered, or a key cannot be told from one outside its prefix.
            UnreadableImage: the path leaves its root.
        """
        name, _, relative = uri.partition("/")
        if uri.rpartition("#")[2].isdigit() and "#" in uri:
            relative = relative.rpartition("#")[0]
        if name not in self._roots:
            raise NotFound(f"The image {uri} lies under a root that is not registered ({name}).")
        root = self._roots[name]
        if isinstance(root, ObjectAddress):
            require_plain(relative)
            return root / relative
        path = (root / relative).resolve()
        if not path.is_relative_to(root):
            raise UnreadableImage(f"{uri} leads outside its root.", QuarantineKind.OUTSIDE_FOLDER)
        return path

    def read(self, uri: str, image_id: str | None = None) -> bytes:
        """The file's bytes; with ``image_id``, only if they are still the bytes that were ingested.

        Raises:
            NotFound: the file is gone.
            IntegrityError: the bytes changed since ingest.
            Unreachable: the storage does not answer.
        """
        path = self.place(uri)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise NotFound(
                f"The image file {path} cannot be read ({error.strerror}).",
                cause="It was moved or deleted since ingest.",
                remedy="Put it back, or ingest with --copy so that the workspace keeps its own copy.",
            ) from None
        if image_id is not None and image_id_of(data) != image_id.partition("#")[0]:
            raise IntegrityError(
                f"The image file {path} changed since it was ingested.",
                remedy="Restore the original bytes, or ingest the changed file as a new image.",
            )
        return data
