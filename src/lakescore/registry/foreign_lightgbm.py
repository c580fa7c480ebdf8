"""A LightGBM text model of someone else's, scored over a table's own columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lakescore.arrow_types import cast_columns
from lakescore.hashing import file_sha256
from lakescore.matrix import Answers
from lakescore.models.base import Scorer
from lakescore.models.lightgbm.scorer import LightGBMScorer

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa


@dataclass(frozen=True)
class ForeignLightGBM:
    """Columns by name, in the model's order, as doubles; a null is a missing value (NaN)."""

    scorer: Scorer
    inputs: Mapping[str, str]
    sha256: str
    answers: ClassVar[Answers] = Answers()

    @classmethod
    def open(cls, path: Path, inputs: Mapping[str, str]) -> ForeignLightGBM:
        """Read a text model; `inputs` are its columns in the model's own order."""
        scorer = LightGBMScorer.from_model_file(path)
        return cls(scorer, dict(inputs), f"{file_sha256(path)}:{','.join(inputs)}")

    def predict(self, batch: pa.RecordBatch) -> npt.NDArray[np.float64]:
        """Score a batch; shape (rows,). Raises ColumnMissing, and TypeMismatch naming a column."""
        columns = cast_columns(batch, self._types).columns
        matrix = np.empty((batch.num_rows, len(columns)), order="F")
        for index, column in enumerate(columns):
            matrix[:, index] = column.fill_null(np.nan).to_numpy(zero_copy_only=False)
        return self.scorer.predict(matrix)

    @cached_property
    def _types(self) -> dict[str, str]:
        return dict.fromkeys(self.inputs, "double")
