"""``tailsight train --processes N``: the other processes of a training, started here or by the user's own ``torchrun``.

Followers that are started here live below :mod:`pipelines.attached_child`, so none outlives this command, even if it is
killed. On one machine nothing listens but on the loopback device.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from data_contracts.errors import BadInput
from data_contracts.settings import TorchRun, read_torchrun, variables_set
from data_contracts.workspace import Workspace
from domain_models.team import ALONE, Team
from domain_models.training_config import TrainingConfig
from pipelines.services import stop_groups

_HOST = "127.0.0.1"
_LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo" if sys.platform == "linux" else "lo0"}


def refuse_unsuitable(config: TrainingConfig, images: int, processes: int) -> None:
    """Say what several processes cannot train, before anything has begun.

    Args:
        config: what is to be trained.
        images: training images that count.
        processes: how many.

    Raises:
        BadInput: they cannot.
    """
    if processes == 1:
        return
    remedy = "Train with --processes 1."
    if config.epochs == 0:
        raise BadInput("With epochs=0 nothing is fine-tuned that several processes could share.", remedy=remedy)
    if config.pool.ratio:
        raise BadInput("Several processes cannot learn from images without a label (pool.ratio).", remedy=remedy)
    if config.teacher.model:
        raise BadInput("Several processes cannot learn from a teacher (teacher.model).", remedy=remedy)
    if ":" in config.device:
        raise BadInput(f"Each process takes a GPU of its own; device={config.device} names one for all.", remedy=remedy)
    # Batch normalisation needs two images in every share, also in the smaller folds that set triage thresholds.
    if min(config.batch_size, images // 2) < 4 * processes:
        raise BadInput(
            f"{processes} processes need batches of at least {4 * processes} images, and twice as many to train on;"
            f" batch_size is {config.batch_size}, and there are {images:,} training images.",
            remedy="Train with fewer --processes, or with a larger batch_size.",
        )


@contextmanager
def team_of(workspace: Workspace, processes: int, device: str) -> Iterator[Team]:
    """The processes that train together: this one, ``processes - 1`` more that are started here, or those of torchrun.

    Args:
        workspace: keeps their logs, and descriptions of what they train.
        processes: how many, on this machine; 1 under torchrun, which has started them all.
        device: ``cpu`` or ``cuda``.

    Raises:
        BadInput: there are not as many GPUs, or both ``processes`` and torchrun say how many there are.
        TailsightError: one of them does not start.
    """
    outside = read_torchrun()
    if outside is not None and processes > 1:
        raise BadInput("torchrun has started the processes of this training.", remedy="Leave --processes out.")
    if outside is None and processes == 1:
        yield ALONE
        return
    here = outside.local_size if outside is not None else processes
    _require_gpus(here, device)
    workspace.cache.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="training-processes-", dir=workspace.cache))
    try:
        if outside is not None:
            yield from _under_torchrun(outside, device, folder)
        else:
            yield from _started_here(workspace, processes, device, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def follows() -> bool:
    """Whether torchrun has started this process to follow another one."""
    outside = read_torchrun()
    return outside is not None and outside.rank > 0


def follow_lead() -> bool:
    """Be a follower until the lead has nothing more to train; returns whether all went well."""
    import torch

    from domain_models.device import compute_device
    from domain_models.following import follow
    from domain_models.team_processes import Follower

    place = read_torchrun()
    assert place is not None
    device = compute_device()
    _require_gpus(place.local_size, device)
    if device == "cuda":
        torch.cuda.set_device(place.local_rank)
    return follow(Follower(place.rank, place.size, _meeting_point(), device))


def _meeting_point() -> Any:
    from torch.distributed.rendezvous import rendezvous

    # A follower may be there long before the lead's machine is.
    return next(rendezvous("env://", timeout=timedelta(hours=1)))[0]


def _under_torchrun(place: TorchRun, device: str, folder: Path) -> Iterator[Team]:
    from domain_models.team_processes import Lead

    # torchrun itself notices who ended, and ends the others.
    lead = Lead(place.size, _meeting_point(), device, folder, None, lambda: None)
    try:
        lead.meet()
        yield lead
    finally:
        lead.close()


def _started_here(workspace: Workspace, processes: int, device: str, folder: Path) -> Iterator[Team]:
    import torch
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    from domain_models.team_processes import STEP_SECONDS, Lead

    door = socket.create_server((_HOST, 0))
    port = door.getsockname()[1]
    store = TCPStore(
        _HOST,
        port,
        processes,
        is_master=True,
        timeout=timedelta(seconds=STEP_SECONDS),
        wait_for_workers=False,
        master_listen_fd=door.detach(),
    )
    threads = max(1, torch.get_num_threads() // processes)
    logs = workspace.folder / "logs"
    logs.mkdir(exist_ok=True)
    started: list[subprocess.Popen[bytes]] = []

    def lost() -> str | None:
        for rank, process in enumerate(started, start=1):
            if process.poll() is not None:
                log = logs / f"training-process-{rank}.log"
                return f"Training process {rank} has ended (exit code {process.returncode}; its log: {log})."
        return None

    lead = Lead(processes, store, device, folder, threads, lost)
    try:
        started.extend(
            _start(rank, processes, port, threads, logs / f"training-process-{rank}.log")
            for rank in range(1, processes)
        )
        with variables_set(_LOOPBACK):
            lead.meet()
        yield lead
    finally:
        try:
            lead.close()
        finally:
            stop_groups(started)


def _start(rank: int, processes: int, port: int, threads: int, log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pipelines.attached_child", str(os.getpid())]
    command += [sys.executable, "-m", "pipelines.training_follower"]
    place = {
        "RANK": rank,
        "WORLD_SIZE": processes,
        "LOCAL_RANK": rank,
        "LOCAL_WORLD_SIZE": processes,
        "MASTER_PORT": port,
        "OMP_NUM_THREADS": threads,
    }
    paths = [str(Path(__file__).resolve().parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **os.environ,
        **_LOOPBACK,
        **{name: str(value) for name, value in place.items()},
        "MASTER_ADDR": _HOST,
        "PYTHONPATH": os.pathsep.join(paths),
    }
    with log.open("wb") as out:
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches the lead alone, which then ends the others
        )


def _require_gpus(processes: int, device: str) -> None:
    if device == "cpu":
        return
    import torch

    if torch.cuda.device_count() < processes:
        raise BadInput(
            f"{processes} training processes need as many GPUs; this machine has {torch.cuda.device_count()}.",
            remedy="Train with fewer --processes.",
        )
