"""A trained network as a teacher: what it says of images, computed once and kept.

The teacher sees images as its own preprocessing makes them, whatever the pupil is given. What it says is kept by the
content of its package, so a training that was killed, and every later pupil of the same teacher, asks it about new
images only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from data_contracts.errors import BadInput
from data_contracts.progress import SILENT, Progress
from domain_models.activation_cache import cached_maps
from domain_models.backbones import Classifier
from domain_models.inference import ImageRows
from domain_models.preprocessing import Preprocessing, to_tensor


@dataclass(frozen=True)
class Teacher:
    """Who teaches.

    Attributes:
        name: as a person would say it.
        network: in evaluation mode.
        classes: names of its outputs, as the pupil's classes are called.
        preprocessing: how it wants its images.
        content: sha256 of its package.
    """

    name: str
    network: Classifier
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    content: str

    def logits(
        self,
        images: ImageRows,
        image_ids: Sequence[str],
        classes: Sequence[str],
        cache: Path,
        *,
        device: str = "cpu",
        progress: Progress = SILENT,
    ) -> NDArray[np.float32]:
        """What it says of images as they are: float32 [n, k], rounded to float16.

        Args:
            images: uint8 [n, H, W, C], prepared as it wants them.
            image_ids: n ids.
            classes: k names of the pupil's classes; gives the order of the columns.
            cache: folder of kept activations; may be deleted at any time.
            device: where to compute.
            progress: told of each image.

        Raises:
            BadInput: it does not decide for these classes.
        """
        columns = class_columns(self.name, self.classes, classes)
        self.network.to(device=device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]

        def compute(positions: NDArray[np.int64]) -> NDArray[np.float16]:
            with torch.inference_mode():
                logits = self.network(to_tensor(images[positions], self.preprocessing).to(device)).float()
                return np.asarray(logits.clamp(-65504, 65504).half().cpu().numpy())

        found = cached_maps(
            cache / f"teacher-{self.content[:32]}",
            image_ids,
            (len(self.classes),),
            compute,
            device=device,
            progress=progress,
            what="Asking the teacher",
        )
        said: NDArray[np.float32] = found.array[found.rows].astype(np.float32)[:, columns]
        return said


def class_columns(teacher: str, has: Sequence[str], wanted: Sequence[str]) -> NDArray[np.int64]:
    """int64 [k]: where each wanted class is among the teacher's.

    Raises:
        BadInput: the teacher decides for other classes. A softened answer spread over classes that the pupil does not
            have, or that leaves out one it has, would teach it something that is not so.
    """
    lacking = [name for name in wanted if name not in has]
    beyond = [name for name in has if name not in wanted]
    if lacking or beyond:
        differences = [f"it does not know {', '.join(map(repr, lacking))}"] if lacking else []
        differences += [f"it decides for {', '.join(map(repr, beyond))} as well"] if beyond else []
        raise BadInput(
            f"The teacher, {teacher}, decides for other classes: {' and '.join(differences)}.",
            cause="It was trained on another data set, or classes were merged, split or added since.",
            remedy="Name a teacher with the classes of today, or train one first.",
        )
    return np.asarray([list(has).index(name) for name in wanted], dtype=np.int64)
