"""What a training that was stopped leaves, so that `train --resume` goes on: pins, checkpoints.

Below the folder of runs, `<workload>/unfinished/<identity>/` has `training.json` (the pinned
versions) and the folder of checkpoints; a training that ends removes it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lakescore.errors import UsageError

if TYPE_CHECKING:
    from lakescore.config.base import ConfigModel
    from lakescore.config.settings import Settings
    from lakescore.workflows.pins import Pins

_PINS, _CHECKPOINTS = "training.json", "checkpoints"
_IDENTITY = 16


@dataclass(frozen=True)
class StoppedTraining:
    """One training that began and did not end; `versions` are those of its pinned tables."""

    folder: Path
    versions: Mapping[str, int]

    @property
    def checkpoints(self) -> str:
        return str(self.folder / _CHECKPOINTS)

    def end(self) -> None:
        """Nothing is left to go on from."""
        shutil.rmtree(self.folder, ignore_errors=True)


def keeps_checkpoints(parameters: Mapping[str, ConfigModel]) -> bool:
    """Whether one of these candidates does."""
    from lakescore.models.catalogue import candidate

    return any(candidate(name).keeps_checkpoints for name in parameters)


def begun(settings: Settings, workload: str, identity: str, pins: Pins) -> StoppedTraining:
    """Note that the training of this identity begins, or goes on."""
    folder = _folder(settings, workload) / identity[:_IDENTITY]
    folder.mkdir(parents=True, exist_ok=True)
    versions = {entry["table"]: entry["version"] for entry in pins.describe()}
    (folder / _PINS).write_text(json.dumps(versions), encoding="utf-8")
    return StoppedTraining(folder, versions)


def last_stopped(settings: Settings, workload: str) -> StoppedTraining:
    """The one that began last. Raises UsageError where there is none."""
    begun_ones = _folder(settings, workload).glob(f"*/{_PINS}")
    found = max(begun_ones, key=lambda path: path.stat().st_mtime, default=None)
    if found is None:
        raise UsageError(
            f"no training of '{workload}' was stopped",
            where="--resume",
            hint=f"lakescore train {workload}",
        )
    return StoppedTraining(found.parent, json.loads(found.read_text(encoding="utf-8")))


def _folder(settings: Settings, workload: str) -> Path:
    return Path(settings.runs) / workload / "unfinished"
