"""The inputs of the next batches, prepared by a thread while the network learns from the one before.

Augmentation follows from (seed, epoch, image) and from nothing else, so it makes no difference to the result when it is
done, or by whom.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from domain_models.batches import Batches

AHEAD = 2
"""Batches that are ready or in work beside the one that is learned from; bounds the memory."""


@contextlib.contextmanager
def inputs_ahead(
    batches: Batches, parts: Sequence[NDArray[np.int64]], epoch: int, ahead: int = AHEAD
) -> Iterator[Iterator[Tensor]]:
    """The inputs of an epoch, batch by batch, in order.

    One thread prepares them, so they are made one after another. It has ended when the context has, however the context
    ends; of what it had under way then, at most one batch is waited for.

    Args:
        batches: gives the inputs.
        parts: positions int64 [b] of each batch.
        epoch: as in :class:`~domain_models.batches.Batches`.
        ahead: how many batches may be prepared beside the one in use; at least 1.

    Yields:
        An iterator over float32 [b, c, h, w]. What ``batches`` raises is raised where its batch is asked for.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="inputs-ahead")

    def one_by_one() -> Iterator[Tensor]:
        under_way: deque[Future[Tensor]] = deque()
        for positions in parts:
            under_way.append(pool.submit(batches.inputs, positions, epoch))
            if len(under_way) > ahead:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()

    try:
        yield one_by_one()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
