"""Running the installed command in processes of its own, and small image folders to run it on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.forked import forked

TAILSIGHT = str(Path(sys.executable).with_name("tailsight"))
CLASSES = ("dots", "plain", "stripes")
PER_CLASS = 50
TINY_SETTINGS = ("preprocessing.height=32", "preprocessing.width=32", "probe_views=1", "cross_fit_folds=0")
TINY = ("--preset", "quick", *(word for setting in TINY_SETTINGS for word in ("--set", setting)))


@dataclass(frozen=True)
class Answer:
    """What a command left: exit code, the two streams, and stdout as JSON where it is JSON."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


def tailsight(workspace: Path, *words: str, timeout: float = 300, **environment: str) -> Answer:
    """Run the installed command in a process of its own, as a user would.

    It is forked from one that has imported already (:mod:`tests.command_forks`). With an ``environment`` it
    is started anew, because libraries read theirs when they are imported.
    """
    if environment or not hasattr(os, "pidfd_open"):
        return started_anew(workspace, *words, timeout=timeout, **environment)
    return Answer(*forked([TAILSIGHT, "--workspace", str(workspace), *words], workspace.parent, timeout))


def started_anew(workspace: Path, *words: str, timeout: float = 300, **environment: str) -> Answer:
    """The same with all that a start does."""
    run = subprocess.run(
        [TAILSIGHT, "--workspace", str(workspace), *words],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **environment},
        cwd=workspace.parent,
    )
    return Answer(run.returncode, run.stdout, run.stderr)


def done(workspace: Path, *words: str, **environment: str) -> Any:
    """Run a command with --json that must succeed; its JSON object."""
    answer = tailsight(workspace, *words, "--json", **environment)
    assert answer.code == 0, answer.stderr
    return answer.json


def texture(kind: str, chance: np.random.Generator, size: int = 48) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A grey image [size, size] of one of the three textures, no two alike."""
    canvas = chance.normal(120, 18, (size, size))
    if kind == "stripes":
        period = chance.integers(5, 9)
        canvas += 45 * (np.arange(size)[None, :] // period % 2) * np.ones((size, 1))
    elif kind == "dots":
        for row, column in chance.integers(4, size - 4, (14, 2)):
            canvas[row - 2 : row + 2, column - 2 : column + 2] += 90
    return np.clip(canvas, 0, 255).astype(np.uint8)


def make_images(folder: Path, per_class: int = PER_CLASS, seed: int = 5) -> Path:
    """Class folders of textures."""
    chance = np.random.default_rng(seed)
    for kind in CLASSES:
        (folder / kind).mkdir(parents=True)
        for number in range(per_class):
            Image.fromarray(texture(kind, chance)).save(folder / kind / f"{kind}-{number:03d}.png")
    return folder
