"""The portable net: an ONNX graph from the encoded matrix to the prediction."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lakescore.errors import MissingExtra, ModelBroken
from lakescore.models.base import Scorer

if TYPE_CHECKING:
    import numpy.typing as npt

_MODEL, _DESCRIPTION = "model.onnx", "description.json"
#: Rows that go through the graph at once: what is between its layers stays in a core's caches.
_BLOCK_ROWS = 1_024


@dataclass(frozen=True)
class OnnxScorer(Scorer):
    """A graph with one input, (rows, columns) of doubles, and one output, doubles as `predict`'s.

    Blocks of rows have one size, the last one filled up: a matrix product may add in another
    order for another number of rows, and a row's score must not depend on those beside it.
    """

    kind: ClassVar[str] = "onnx"
    columns: tuple[str, ...]
    model: bytes
    class_count: int = 0
    levels: tuple[float, ...] = ()

    @property
    def classes(self) -> int:
        return self.class_count

    @property
    def quantiles(self) -> tuple[float, ...]:
        return self.levels

    def predict_with_quantiles(self, matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        checked = self._checked(matrix)
        return self._answers(checked) if len(checked) else np.empty(self._shape(0))

    def _predict(self, matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        answers = self._answers(matrix)
        return answers[:, 0].copy() if self.levels else answers

    def _answers(self, matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Shape (rows,), (rows, classes) or (rows, 1 + quantiles)."""
        session = _session(self.model)
        name = session.get_inputs()[0].name
        scores = np.empty(self._shape(len(matrix)))
        for start in range(0, len(matrix), _BLOCK_ROWS):
            block = np.ascontiguousarray(matrix[start : start + _BLOCK_ROWS])
            rows = len(block)
            if rows < _BLOCK_ROWS:
                filled = np.zeros((_BLOCK_ROWS, matrix.shape[1]))
                filled[:rows] = block
                block = filled
            scores[start : start + rows] = session.run(None, {name: block})[0][:rows]
        return scores

    def _shape(self, rows: int) -> tuple[int, ...]:
        width = self.classes or (1 + len(self.levels) if self.levels else 0)
        return (rows, width) if width else (rows,)

    def save(self, folder: Path) -> None:
        (folder / _MODEL).write_bytes(self.model)
        description = {
            "columns": self.columns,
            "classes": self.classes,
            "quantiles": self.quantiles,
        }
        (folder / _DESCRIPTION).write_text(json.dumps(description), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> OnnxScorer:
        told = json.loads((folder / _DESCRIPTION).read_text(encoding="utf-8"))
        return cls(
            columns=tuple(told["columns"]),
            model=(folder / _MODEL).read_bytes(),
            class_count=int(told["classes"]),
            levels=tuple(map(float, told["quantiles"])),
        )


@lru_cache(maxsize=4)
def _session(model: bytes) -> Any:
    """Kept by the process, on one thread: Spark runs one task a core."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtra("onnxruntime", extra="onnx", needed_for="scoring a net") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own errors have no common class
        cause = str(error).split("\n", 1)[0]
        raise ModelBroken(f"onnxruntime cannot read the model: {cause}") from error
