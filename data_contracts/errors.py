"""Every error a person may see, as one tree.

TailsightError                  something failed; exit code 1
├── BadInput                    the user gave something that cannot work; exit code 2
│   ├── ProfileError            tailsight.yaml or a shipped profile is not valid
│   ├── UnreadableImage         a file is not an image that can be decoded (carries a quarantine kind)
│   ├── LabelFileError          a labels CSV as a whole cannot be used
│   └── NotFound                an image, model version, workspace or file that was named does not exist
├── Refused                     the request is valid, a rule says no (gate, parity, role); exit code 1
├── IntegrityError              stored data does not match its hash or its chain; exit code 1
└── Busy                        somebody else holds the workspace or the lease; exit code 1
    ├── Unreachable             a server that is needed does not answer now; the same again later may work
    └── NoSpace                 the disk is full; the same again works once there is room

A message says what happened, to which file or row, the likely cause, and what to do.
"""

from __future__ import annotations

from collections.abc import Mapping

from data_contracts.vocabulary import QuarantineKind


class TailsightError(Exception):
    """Base of all errors that are shown to a person without a traceback.

    Args:
        what: what happened, naming the file, row or value.
        cause: the likely cause, if known.
        remedy: what the reader can do now, if anything.
        situation: names what happened where a screen may have to say it in another language.
        facts: what that sentence needs: names, times, classes.
    """

    exit_code = 1
    situation: str | None = None

    def __init__(
        self,
        what: str,
        *,
        cause: str | None = None,
        remedy: str | None = None,
        situation: str | None = None,
        facts: Mapping[str, str] | None = None,
    ) -> None:
        self.what = what
        self.cause = cause
        self.remedy = remedy
        self.situation = situation or type(self).situation
        self.facts = dict(facts or {})
        super().__init__(" ".join(part for part in (what, cause, remedy) if part))


class BadInput(TailsightError):
    """The user gave something that cannot work."""

    exit_code = 2


class ProfileError(BadInput):
    """A profile is not valid."""


class LabelFileError(BadInput):
    """A labels CSV as a whole cannot be used (single bad rows are reported, not raised)."""


class NotFound(BadInput):
    """An image, model version, workspace or file that was named does not exist."""


class UnreadableImage(BadInput):
    """A file is not an image that can be decoded; it belongs in quarantine."""

    def __init__(self, what: str, kind: QuarantineKind, *, cause: str | None = None, remedy: str | None = None) -> None:
        self.kind = kind
        super().__init__(what, cause=cause, remedy=remedy)


class Refused(TailsightError):
    """The request is valid, but a rule (gate, parity, role) says no."""


class IntegrityError(TailsightError):
    """Stored data does not match its hash or its chain."""


class Busy(TailsightError):
    """Somebody else holds the workspace or the lease."""


class Unreachable(Busy):
    """A server (the ledger's, the storage's, a cluster's) does not answer now; the same again later may work."""

    situation = "server_away"


class NoSpace(Busy):
    """The disk is full; the same again works once there is room."""

    situation = "disk_full"
