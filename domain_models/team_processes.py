"""The lead and the followers: what they tell one another, and how their gradients meet.

The *lead* (rank 0) runs the whole command. The *followers* know nothing of ledger, registry or reports: for each
fine-tuning they are told what to train, and go through the same epochs.

What has to be told goes through the key-value store that brought the processes together. It is asked again and again
instead of waited for, because the lead may decode images for an hour before there is anything to follow; only the
gradients, which come within seconds of one another, are waited for with a limit.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.nn.parallel import DistributedDataParallel

from data_contracts.errors import TailsightError
from domain_models.backbones import Classifier
from domain_models.shared_batch_norm import with_shared_statistics
from domain_models.team import Team

STEP_SECONDS = 180.0
"""How long a process waits for the gradients of another before the training ends with an error."""

START_SECONDS = 300.0
"""How long followers may take to start, or to load what they are to train."""

_SOON_SECONDS = 3.0
"""How long after a broken connection is looked for what broke it."""

_BROKEN = ("gloo", "nccl", "connection", "peer", "socket")


class _Member(Team):
    """A process among several.

    Args:
        rank: 0 is the lead.
        size: how many processes there are.
        store: through which they meet.
        device: a kind of torch device; decides how gradients travel (NCCL on GPUs, else gloo).
    """

    def __init__(self, rank: int, size: int, store: Any, device: str) -> None:
        self.rank, self.size = rank, size
        self._meeting, self._store = store, PrefixStore("tailsight", store)
        self._device = torch.device(device)
        self._job = self._epoch = 0

    @property
    def sentence(self) -> str:
        """See :class:`Team`."""
        return f" {self.size} processes fine-tuned together, as one would with the whole batch."

    def total(self, value: Tensor) -> Tensor:
        """See :class:`Team`."""
        value = value.detach().clone()
        dist.all_reduce(value)
        return value

    def prepared(self, part: Classifier) -> Classifier:
        """See :class:`Team`; batch normalisation sees the whole batch."""
        return with_shared_statistics(part, self._device)

    def joined(self, part: nn.Module) -> nn.Module:
        """See :class:`Team`."""
        # Running statistics are alike in all processes, or those of the lead count in the end.
        return DistributedDataParallel(part, forward_sync_buffers=False)

    def _meet(self) -> None:
        dist.init_process_group(
            "nccl" if self._device.type == "cuda" else "gloo",
            store=self._meeting,
            rank=self.rank,
            world_size=self.size,
            timeout=timedelta(seconds=STEP_SECONDS),
        )

    def _leave(self) -> None:
        if dist.is_initialized():
            dist.destroy_process_group()


class Lead(_Member):
    """Rank 0.

    Args:
        size: how many processes there are.
        store: through which they meet.
        device: a kind of torch device.
        folder: where to describe what is trained; every process must see it at this path.
        threads: how many threads this process may compute with in an epoch; ``None`` leaves that as it is.
        lost: says which follower has ended, ``None`` while none has.
    """

    def __init__(
        self, size: int, store: Any, device: str, folder: Path, threads: int | None, lost: Callable[[], str | None]
    ) -> None:
        super().__init__(0, size, store, device)
        self._folder, self._threads, self._lost = folder, threads, lost
        self._broken = False

    def meet(self) -> None:
        """Wait for the followers.

        Raises:
            TailsightError: one of them ended, or did not come in time.
        """
        self._wait_for("here")
        with self._telling():
            self._meet()

    @contextlib.contextmanager
    def leading(self, describe: Callable[[Path], Path]) -> Iterator[None]:
        """One fine-tuning, which all followers go through as well.

        Args:
            describe: writes into a folder what followers need to know, and gives the file that they read.

        Raises:
            TailsightError: a follower cannot take part; its reason is told.
        """
        self._job, self._epoch = self._job + 1, 0
        self._store.set(f"job/{self._job}", str(describe(self._folder)))
        self._wait_for(f"ready/{self._job}")
        try:
            yield
        finally:
            if not self._broken:
                self._store.set(f"epoch/{self._job}/{self._epoch}", "end")

    def joined(self, part: nn.Module) -> nn.Module:
        """See :class:`Team`."""
        with self._telling():
            return super().joined(part)

    @contextlib.contextmanager
    def epoch(self) -> Iterator[None]:
        """One epoch, which all followers begin now. An error inside leaves the team unusable.

        Raises:
            TailsightError: a follower ended or failed.
        """
        self._store.set(f"epoch/{self._job}/{self._epoch}", "go")
        self._epoch += 1
        threads = torch.get_num_threads()
        try:
            torch.set_num_threads(self._threads or threads)
            with self._telling():
                yield
        except BaseException:
            self._broken = True
            raise
        finally:
            torch.set_num_threads(threads)

    def close(self) -> None:
        """Send the followers home."""
        with contextlib.suppress(dist.DistError):
            self._store.set(f"job/{self._job + 1}", "")
        self._leave()

    def _wait_for(self, what: str) -> None:
        missing = [f"{what}/{rank}" for rank in range(1, self.size)]
        deadline = time.monotonic() + START_SECONDS
        while not self._store.check(missing):
            self._look()
            if time.monotonic() > deadline:
                names = ", ".join(key.rpartition("/")[2] for key in missing if not self._store.check([key]))
                raise TailsightError(
                    f"Training processes did not answer within {START_SECONDS:.0f} s: {names}.",
                    remedy="Look at their machines; the same command goes on where it stopped.",
                )
            time.sleep(0.05)

    def _look(self) -> None:
        """Raise what a follower said, or that one has ended."""
        if self._store.check(["trouble"]):
            said = json.loads(self._store.get("trouble"))
            raise TailsightError(said["what"], cause=said["cause"], remedy=said["remedy"])
        lost = self._lost()
        if lost is not None:
            raise TailsightError(
                lost,
                cause="Somebody ended it, or there was not enough memory for so many processes.",
                remedy="The same command goes on after the last finished epoch, also with fewer --processes.",
            )

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        """Turn a broken connection into what broke it."""
        try:
            yield
        except RuntimeError as error:
            if not isinstance(error, dist.DistError) and not any(word in str(error).lower() for word in _BROKEN):
                raise
            self._broken = True
            deadline = time.monotonic() + _SOON_SECONDS
            while time.monotonic() < deadline:
                self._look()
                time.sleep(0.05)
            raise TailsightError(
                "A process of this training does not answer any more.",
                cause=f"({str(error).splitlines()[0][:200]})",
                remedy="Look at the other machines; the same command goes on after the last finished epoch.",
            ) from None


class Follower(_Member):
    """Any rank but 0."""

    def meet(self) -> None:
        """Say that this process is here, and wait for the others."""
        self._store.set(f"here/{self.rank}", "")
        self._meet()

    def jobs(self) -> Iterator[Path]:
        """The descriptions of what is to be trained, one after another, until the lead has no more."""
        while True:
            self._job, self._epoch = self._job + 1, 0
            said = self._told(f"job/{self._job}")
            if not said:
                self._leave()
                return
            yield Path(said)

    def ready(self) -> None:
        """Say that what is to be trained is loaded."""
        self._store.set(f"ready/{self._job}/{self.rank}", "")

    def goes_on(self) -> bool:
        """Whether there is another epoch; waits until the lead knows."""
        said = self._told(f"epoch/{self._job}/{self._epoch}")
        self._epoch += 1
        return said == "go"

    def report(self, what: str, cause: str | None, remedy: str | None) -> None:
        """Tell the lead why this process cannot go on; the first who says so is heard."""
        said = json.dumps({"what": what, "cause": cause, "remedy": remedy})
        with contextlib.suppress(dist.DistError):
            self._store.compare_set("trouble", "", said)

    def _told(self, key: str) -> str:
        pause = 0.005
        while not self._store.check([key]):
            time.sleep(pause)
            pause = min(0.1, 1.5 * pause)
        return self._store.get(key).decode()
