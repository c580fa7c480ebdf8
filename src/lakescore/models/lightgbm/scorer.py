"""The portable LightGBM model: its text, scored by native code where this host can compile."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from lakescore.errors import ModelBroken, ModelNotFound
from lakescore.models.base import Scorer
from lakescore.models.lightgbm.booster import interpreted
from lakescore.models.lightgbm.compiled import CompiledModel, compiled
from lakescore.models.lightgbm.edge_rows import edge_rows
from lakescore.models.lightgbm.text import ModelText, read_model_text, refuse_several_outputs

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_MODEL, _COLUMNS = "model.txt", "columns.json"


@dataclass(frozen=True)
class LightGBMScorer(Scorer):
    """A LightGBM model: of the probability of class 1, of each class, or of the value.

    Whether native code scores it or LightGBM, the predictions are the same doubles.
    """

    kind: ClassVar[str] = "lightgbm"
    columns: tuple[str, ...]
    model_text: str

    @classmethod
    def fitted(cls, columns: tuple[str, ...], model_text: str) -> LightGBMScorer:
        """A model that was just fitted, tried against LightGBM on rows of its own thresholds.

        Raises ModelBroken where one bit differs.
        """
        scorer = cls(columns, model_text)
        rows = edge_rows(scorer.description)
        differing = int((scorer.predict(rows) != interpreted(model_text, rows)).sum())
        if differing:
            raise ModelBroken(
                f"native code scores {differing} of {len(rows)} test rows not as LightGBM does",
                hint="report it; without the package llvmlite LightGBM itself scores, more slowly",
            )
        return scorer

    @classmethod
    def from_model_file(cls, path: Path) -> LightGBMScorer:
        """A model that LightGBM or SynapseML saved as text; its columns are its feature names.

        Raises ModelNotFound, ModelBroken for a truncated or contradictory file, and UsageError
        for a model with several outputs: it does not tell what its classes are called.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise ModelNotFound("there is no such file", where=str(path)) from error
        except (OSError, UnicodeDecodeError) as error:
            raise ModelBroken(f"cannot be read as text: {error}", where=str(path)) from error
        model = read_model_text(text, str(path))
        refuse_several_outputs(model, str(path))
        return cls(model.feature_names, text)

    @property
    def classes(self) -> int:
        return self.description.classes

    @cached_property
    def description(self) -> ModelText:
        """What the model says of itself: task, objective, trees, categorical columns."""
        return read_model_text(self.model_text, "LightGBM model")

    @cached_property
    def sha256(self) -> str:
        """Of the model's text."""
        return sha256(self.model_text.encode()).hexdigest()

    @cached_property
    def _compiled(self) -> CompiledModel | None:
        return compiled(self.description)

    def _predict(self, matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        if self._compiled is None:
            return interpreted(self.model_text, matrix)
        return self._compiled.predict(matrix)

    def save(self, folder: Path) -> None:
        (folder / _MODEL).write_bytes(self.model_text.encode())
        (folder / _COLUMNS).write_text(json.dumps(self.columns), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> LightGBMScorer:
        columns = json.loads((folder / _COLUMNS).read_text(encoding="utf-8"))
        scorer = cls(tuple(columns), (folder / _MODEL).read_bytes().decode())
        if len(scorer.columns) != len(scorer.description.feature_names):
            raise ModelBroken("its model takes another number of columns", where=str(folder))
        return scorer

    def __reduce__(self) -> tuple[Any, ...]:
        """The text alone travels; what was derived from it does not."""
        return type(self), (self.columns, self.model_text)
