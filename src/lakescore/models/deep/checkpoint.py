"""What a training has come to after an epoch, whole or not at all; weights only, no pickle."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lakescore.errors import TrainingFailed
from lakescore.hashing import json_sha256

if TYPE_CHECKING:
    from lakescore.models.deep.job import TrainingJob

_FILE = "last.pt"
#: Of the parameters what says how long to wait, not what to train.
_WAITS = {"start_seconds", "step_seconds", "total_seconds"}


@dataclass
class Progress:
    """Epochs done, and the best of them by validation loss: its number, loss and weights.

    `history` has one entry an epoch: train and validation loss a row, and rows a second.
    """

    epochs: int = 0
    best_epoch: int = 0
    best_loss: float = float("inf")
    best: dict[str, torch.Tensor] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)


def save(
    job: TrainingJob, progress: Progress, net: torch.nn.Module, optimiser: torch.optim.Optimizer
) -> None:
    """Replace the last checkpoint, by a rename."""
    folder = Path(job.checkpoints)
    folder.mkdir(parents=True, exist_ok=True)
    scratch = folder / f".{_FILE}"
    content = {
        "told": _told(job),
        "progress": vars(progress),
        "net": net.state_dict(),
        "optimiser": optimiser.state_dict(),
    }
    torch.save(content, scratch)
    scratch.rename(folder / _FILE)


def load(job: TrainingJob, net: torch.nn.Module, optimiser: torch.optim.Optimizer) -> Progress:
    """Bring net and optimiser to the last checkpoint, if there is one and the job resumes.

    Raises TrainingFailed for a checkpoint of another training, or one that cannot be read.
    """
    path = Path(job.checkpoints) / _FILE
    if not job.resume or not path.exists():
        return Progress()
    where, again = str(path), "train without --resume to start over"
    try:
        content: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
        told = content["told"]
    except Exception as error:
        raise TrainingFailed(f"not a checkpoint: {error}", where=where, hint=again) from error
    differing = [name for name, value in _told(job).items() if told.get(name) != value]
    if differing:
        raise TrainingFailed(
            f"the checkpoint is of a training with other {', '.join(differing)}",
            where=where,
            hint=again,
        )
    net.load_state_dict(content["net"])
    optimiser.load_state_dict(content["optimiser"])
    return Progress(**content["progress"])


def remove(checkpoints: str) -> None:
    """A training that ended, or starts over, has none."""
    shutil.rmtree(checkpoints, ignore_errors=True)


def _told(job: TrainingJob) -> dict[str, Any]:
    """What must be the same for a training to go on."""
    data = {name: asdict(job)[name] for name in ("columns", "task", "standards", "label")}
    return {
        "seed": job.seed,
        "number of ranks": job.ranks,
        "parameters": {k: v for k, v in job.parameters.items() if k not in _WAITS},
        "number of rows": job.train.rows,
        "data": json_sha256(data),
    }
