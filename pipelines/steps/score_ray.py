"""Parts of a batch computed by Ray Data: actors hold the model, finished parts are written here, as they come."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pandas as pd

from data_contracts.errors import BadInput, TailsightError
from data_contracts.progress import Progress
from data_contracts.settings import read_settings
from pipelines.steps.ray_session import Node, living_nodes, ray_session
from pipelines.steps.score_files import BatchFile
from pipelines.steps.score_parts import Parts
from pipelines.steps.score_ray_worker import FILES, PART, ROWS, PartScorer, require_in_reach
from pipelines.steps.score_recipe import ModelRecipe

PROCESSORS_PER_ACTOR = 4
"""At most: the processors of one actor decode while its model computes; more of them would share one model badly."""

PARTS_AHEAD = 2
"""Parts that wait at an actor. More would only be repeated when its machine is lost."""

PARTS_PER_DATASET = 2048
"""Names of a million files are held by the cluster at once, however many there are. Machines that joined count anew."""

LOSSES_SURVIVED = 100
"""How often one part is tried again. Not for ever: a file may kill every decoder that meets it."""

_SAMPLES = 3


def compute_parts_with_ray(
    files: Sequence[BatchFile],
    parts: Parts,
    missing: Sequence[int],
    recipe: ModelRecipe,
    *,
    batch_size: int,
    address: str | None,
    progress: Progress,
) -> None:
    """Compute the parts that are missing, and write each whole as soon as it is there.

    A part is the unit of work: it is sent as the names of its files and comes back as rows, so pixels never travel. A
    machine that is lost gives its parts to the others; what it had finished stays. Killed, the next call, by this
    engine or the local one, goes on with the parts that are not written.

    Args:
        files: of the whole batch, in order.
        parts: where rows are kept.
        missing: numbers of the parts to compute.
        recipe: the model, at a path that every machine of the cluster sees.
        batch_size: images computed at once.
        address: HOST:PORT of a cluster; ``None``: this machine alone.
        progress: told of each part.

    Raises:
        BadInput: Ray is not installed, or a machine cannot see the model or the files.
        Unreachable: the cluster does not answer.
        TailsightError: the cluster gave up; what is written stays.
    """
    if not missing:
        return
    progress.say(f"Connecting to the Ray cluster at {address}." if address else "Starting Ray on this machine.")
    with ray_session(address, read_settings().processes) as ray, _in_our_words(ray):
        spans = parts.spans()
        samples = _samples([files[row] for part in missing for row in (spans[part].start, spans[part].stop - 1)])
        known = living_nodes(ray)
        _require_nodes_in_reach(ray, known, recipe, samples)
        with progress.step("Scoring", total=len(files)) as step:
            step.advance(len(files) - sum(len(spans[part]) for part in missing))
            for start in range(0, len(missing), PARTS_PER_DATASET):
                wanted = {
                    part: list(files[spans[part].start : spans[part].stop])
                    for part in missing[start:][:PARTS_PER_DATASET]
                }
                for part, rows in _scored(ray, wanted, recipe, batch_size, samples):
                    parts.write(part, pd.DataFrame(rows, columns=parts.schema.names))
                    step.advance(len(rows))
                    known = _tell_of_losses(living_nodes(ray), known, progress)


def _scored(
    ray: Any,
    wanted: dict[int, list[BatchFile]],
    recipe: ModelRecipe,
    batch_size: int,
    samples: Sequence[BatchFile],
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Rows of each wanted part, in the order in which they are finished."""
    nodes = living_nodes(ray)
    each = min(PROCESSORS_PER_ACTOR, min(node.processors for node in nodes))
    actors = min(sum(node.processors // each for node in nodes), len(wanted))
    orders = [{PART: part, FILES: pickle.dumps(files)} for part, files in wanted.items()]
    scored = ray.data.from_items(orders, override_num_blocks=len(orders)).map_batches(
        PartScorer,
        fn_constructor_args=(recipe, batch_size, each, list(samples)),
        batch_size=1,
        num_cpus=each,
        compute=ray.data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=PARTS_AHEAD),
        max_restarts=LOSSES_SURVIVED,
        max_task_retries=LOSSES_SURVIVED,
    )
    for row in scored.iter_rows():
        yield int(row[PART]), pickle.loads(row[ROWS])  # noqa: S301 - our own actors wrote it


def _require_nodes_in_reach(ray: Any, nodes: Sequence[Node], recipe: ModelRecipe, samples: Sequence[BatchFile]) -> None:
    """Ask every machine whether it can do its part, before any of them begins."""
    if not nodes:
        raise BadInput("The Ray cluster has no machine with processors.", remedy="Add one with `ray start --address`.")
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ask = ray.remote(num_cpus=0, max_retries=0)(require_in_reach)
    ray.get(
        [
            ask.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node.node_id, soft=False)).remote(
                recipe, list(samples)
            )
            for node in nodes
        ]
    )


def _samples(candidates: Sequence[BatchFile]) -> list[BatchFile]:
    """A few files from all over the batch that are meant to be read."""
    readable = [file for file in candidates if file.set_aside is None]
    return readable[:: max(1, len(readable) // _SAMPLES)][:_SAMPLES]


def _tell_of_losses(now: list[Node], before: list[Node], progress: Progress) -> list[Node]:
    here = {node.node_id for node in now}
    for lost in before:
        if lost.node_id not in here:
            progress.say(f"The machine {lost.address} of the Ray cluster was lost; the others take over its parts.")
    return now


@contextmanager
def _in_our_words(ray: Any) -> Iterator[None]:
    """What went wrong on a worker, said as it would be here: our own errors as they are, others in one sentence."""
    try:
        yield
    except (TailsightError, KeyboardInterrupt):
        raise
    except Exception as error:
        causes = list(_causes(error))
        ours = next((cause for cause in causes if isinstance(cause, TailsightError)), None)
        if ours is not None:
            raise ours from None
        if not any(isinstance(cause, ray.exceptions.RayError) for cause in causes):
            raise
        away = next((cause for cause in causes if isinstance(cause, ImportError)), None)
        if away is not None:
            raise BadInput(
                f"A machine of the Ray cluster lacks a part of Tailsight ({away}).",
                remedy="Install the same version of tailsight[ray] on every machine.",
            ) from None
        said = str(causes[-1]).strip().partition("\n")[0]
        raise TailsightError(
            f"The Ray cluster gave up: {type(causes[-1]).__name__}: {said}",
            cause="Its workers died again and again, or all machines with processors are gone.",
            remedy="See the logs of Ray; finished parts are kept, and the same command goes on with the others.",
        ) from None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and all that led to it; Ray keeps what happened on a worker in ``cause``."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop(0)
        if one is None or id(one) in seen or not isinstance(one, BaseException):
            continue
        seen.add(id(one))
        yield one
        waiting += [getattr(one, "cause", None), one.__cause__, one.__context__]
