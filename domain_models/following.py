"""What a follower does: for each fine-tuning of the lead, the same epochs, with its own share of every batch."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist

from data_contracts.errors import TailsightError
from domain_models.backbones import Classifier
from domain_models.checkpoints import load_checkpoint
from domain_models.processor_memory import keep_freed_memory
from domain_models.stage_split import freeze_stages
from domain_models.team_job import read_job
from domain_models.team_processes import Follower
from domain_models.training_run import TrainingRun


def follow(team: Follower) -> bool:
    """Take part in all that the lead trains; returns whether it went well.

    What goes wrong here is told to the lead, who tells the person.
    """
    keep_freed_memory()
    try:
        team.meet()
        for path in team.jobs():
            _take_part(team, path)
    except TailsightError as error:
        team.report(error.what, error.cause, error.remedy)
        return False
    except dist.DistError:
        return False  # the lead has gone, and has said why
    except Exception as error:
        team.report(f"Training process {team.rank} failed ({type(error).__name__}: {error}).", None, None)
        raise
    return True


def _take_part(team: Follower, path: Path) -> None:
    job = read_job(path)
    config = job.config
    network = Classifier(job.architecture)
    frozen = freeze_stages(network, config.frozen_stages)
    network.to(device=config.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    run = TrainingRun(
        network,
        frozen,
        job.source.batches(config),
        job.labels.opened(),
        job.weights.opened(),
        config,
        job.inputs_are_maps,
        job.epochs,
        memory=None,
        give_up_above=None,
        team=team,
    )
    if job.checkpoint is not None:
        state = load_checkpoint(job.checkpoint, job.owner)
        if state is not None:
            run.restore(state)
    team.ready()
    run.join()
    while team.goes_on():
        run.train_epoch(lambda _count, _note: None)
        run.epoch += 1
