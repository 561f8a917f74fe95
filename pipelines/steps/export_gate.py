"""Holding an artefact against the network on the model's own validation images, as production would run it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from data_contracts.errors import Refused
from data_contracts.progress import SILENT, Progress
from data_contracts.vocabulary import Decision
from domain_models.export.kinds import Precision
from domain_models.export.parity import Outcome, ParityLimits, ParityReport, compare
from domain_models.model_card import ModelCard
from domain_models.runtimes import Computable, Runtime, open_computable
from domain_models.second_look import SecondLook, choose_second_look
from pipelines.steps.decisions import Decider

if TYPE_CHECKING:
    from domain_models.inference import ImageSource  # loads torch, which a gate does without

BATCH = 16
"""Images computed at once for the gate."""

ALONE = 64
"""Images that are also computed one by one."""

LOOKS_TWICE = frozenset(
    {(Runtime.OPENVINO, Precision.BF16), (Runtime.TORCH, Precision.BF16), (Runtime.TORCH, Precision.FP16)}
)
"""Whose graph can compute what is close again in 32-bit floats, at no byte more."""


@dataclass(frozen=True)
class Gate:
    """What an artefact is held against.

    Attributes:
        card: of the model.
        images: its validation images, uint8 [n, H, W, C] however they are sliced.
        labels: int64 [n], indices into its classes.
        expected: logits float32 [n, k] of the fp32 network in torch.
        limits: what may differ.
    """

    card: ModelCard
    images: ImageSource
    labels: NDArray[np.int64]
    expected: NDArray[np.float32]
    limits: ParityLimits

    @classmethod
    def against(
        cls,
        network: Computable,
        card: ModelCard,
        images: ImageSource,
        labels: NDArray[np.int64],
        limits: ParityLimits,
        progress: Progress = SILENT,
    ) -> Gate:
        """A gate that holds artefacts against what this computes, usually the package in 32-bit floats."""
        blind = cls(card, images, labels, np.empty((0, len(card.classes)), dtype=np.float32), limits)
        return replace(blind, expected=blind._logits(network, len(labels), BATCH, progress))

    def hold(self, opened: Computable, progress: Progress = SILENT) -> tuple[ParityReport, SecondLook | None]:
        """Let an artefact choose what it looks at twice, if its runtime can, and :meth:`check` it.

        Returns:
            The report, and which images are to be looked at twice, where the runtime can and the report assumes it.

        Raises:
            Refused: the runtime cannot compute the artefact.
        """
        look = None
        if (opened.runtime, opened.precision) in LOOKS_TWICE:
            look = choose_second_look(self.card, self._logits(opened, len(self.labels), BATCH, progress), self.expected)
            opened = replace(opened, second_look=look)
        return self.check(opened, progress), look

    def check(self, opened: Computable, progress: Progress = SILENT) -> ParityReport:
        """Run an artefact as it is over all images in batches, and over some one by one, and count what differs.

        Raises:
            Refused: the runtime cannot compute the artefact.
        """
        together = self._logits(opened, len(self.labels), BATCH, progress)
        alone = self._logits(opened, min(ALONE, len(self.labels)), 1, progress)
        network, artefact, each = (self._outcome(logits) for logits in (self.expected, together, alone))
        return compare(network, artefact, each, self.labels, self.card.classes, self.limits, batch_size=BATCH)

    def _logits(self, opened: Computable, count: int, size: int, progress: Progress) -> NDArray[np.float32]:
        """Logits float32 [count, k] of the first images, ``size`` computed at once."""
        parts = []
        with progress.step(f"Predicting with {opened.name}, {size} at once", total=count) as step:
            try:
                compute = open_computable(opened, self.card)
                for start in range(0, count, size):
                    parts.append(compute(self.images[start : min(start + size, count)]))
                    step.advance(len(parts[-1]))
            except Exception as error:  # each runtime raises its own kinds
                raise Refused(
                    f"The {opened.runtime.value} {opened.precision.value} artefact cannot be computed: {error}",
                    cause="The toolkit wrote a graph that its own runtime refuses, as some do for small images.",
                    remedy="Take another precision or format.",
                ) from error
        return np.concatenate(parts)

    def _outcome(self, logits: NDArray[np.float32]) -> Outcome:
        decided = Decider.from_card(self.card).decide(logits)
        index = {name: number for number, name in enumerate(self.card.classes)}
        return Outcome(
            np.stack([one.probabilities for one in decided]),
            np.array([index[one.predicted] for one in decided], dtype=np.int64),
            np.array([one.decision == Decision.AUTO.value for one in decided], dtype=np.bool_),
        )
