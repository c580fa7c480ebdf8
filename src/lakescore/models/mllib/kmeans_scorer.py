"""The portable k-means model: the number of the nearest centre."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lakescore.models.base import Scorer

if TYPE_CHECKING:
    import numpy.typing as npt

_FILE = "centres.json"


@dataclass(frozen=True)
class KMeansScorer(Scorer):
    """`centres` in MLlib's order, by Euclidean distance; the first of those equally near.

    MLlib's own number, but for a row that lies between two centres to the last bits.
    """

    kind: ClassVar[str] = "kmeans"
    columns: tuple[str, ...]
    centres: tuple[tuple[float, ...], ...]

    def _predict(self, matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        rows = np.ascontiguousarray(matrix)  # numpy adds up the columns of another layout otherwise
        distances = [np.square(rows - np.array(centre)).sum(axis=1) for centre in self.centres]
        return np.asarray(np.argmin(distances, axis=0), dtype=np.float64)

    def save(self, folder: Path) -> None:
        content = {"columns": self.columns, "centres": self.centres}
        (folder / _FILE).write_text(json.dumps(content, allow_nan=False), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> KMeansScorer:
        content = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        centres = tuple(tuple(map(float, centre)) for centre in content["centres"])
        columns = tuple(content["columns"])
        if not centres or any(len(centre) != len(columns) for centre in centres):
            raise ValueError("a centre has another number of columns")
        return cls(columns, centres)
