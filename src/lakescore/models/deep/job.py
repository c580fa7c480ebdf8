"""What every rank of a training is told: data alone, so that it crosses to any process."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lakescore.matrix import MatrixColumn, MatrixSchema, Task


@dataclass(frozen=True)
class Shards:
    """Parquet files that follow each other, and how many rows each of them has."""

    files: tuple[tuple[str, int], ...]

    @property
    def rows(self) -> int:
        return sum(rows for _, rows in self.files)

    def share(self, rank: int, ranks: int) -> tuple[int, int]:
        """The rows [start, end) of one rank: all shares together are all rows, none twice.

        Shares differ by one row at most.
        """
        return self.rows * rank // ranks, self.rows * (rank + 1) // ranks

    def most(self, ranks: int) -> int:
        """How many rows the largest share has."""
        return -(-self.rows // ranks)


@dataclass(frozen=True)
class Standard:
    """How a column is brought to mean 0 and deviation 1: (value - mean) / scale."""

    mean: float
    scale: float


@dataclass(frozen=True)
class TrainingJob:
    """One training, the same for each of its `ranks`.

    `folder` (a path that every rank can write) takes what ranks tell each other and the driver;
    `checkpoints` outlives it. `standards` are of the numeric columns, in their order. `parameters`
    are those of `DeepTabularParameters`; `deadline` is a Unix time; `classes` as in EncodedData.
    `is_watched` where a terminal shows how far it is.
    """

    folder: str
    checkpoints: str
    columns: tuple[MatrixColumn, ...]
    task: Task
    train: Shards
    validation: Shards
    standards: tuple[Standard, ...]
    label: Standard
    seed: int
    ranks: int
    threads: int
    resume: bool
    deadline: float
    parameters: dict[str, Any]
    classes: int = 0
    is_watched: bool = False

    @property
    def schema(self) -> MatrixSchema:
        return MatrixSchema(self.columns)

    @property
    def quantiles(self) -> tuple[float, ...]:
        """Ascending; of a regression alone."""
        return tuple(self.parameters["quantiles"])

    @property
    def rank_rows(self) -> int:
        """Rows of a batch that one rank takes; `batch_size` is over all of them."""
        return max(1, int(self.parameters["batch_size"]) // self.ranks)

    @property
    def steps(self) -> int:
        """Batches of an epoch, the same for every rank: they meet after each."""
        return -(-self.train.most(self.ranks) // self.rank_rows)

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> TrainingJob:
        told = json.loads(path.read_text(encoding="utf-8"))
        told["columns"] = tuple(MatrixColumn(**column) for column in told["columns"])
        told["standards"] = tuple(Standard(**standard) for standard in told["standards"])
        told["label"] = Standard(**told["label"])
        told["task"] = Task(told["task"])
        for split in ("train", "validation"):
            told[split] = Shards(_pairs(told[split]["files"]))
        return cls(**told)


def _pairs(files: Sequence[Sequence[Any]]) -> tuple[tuple[str, int], ...]:
    return tuple((str(path), int(rows)) for path, rows in files)
