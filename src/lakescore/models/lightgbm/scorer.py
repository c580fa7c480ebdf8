"""The portable LightGBM model: its text, scored by native code where this host can compile."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace
from functools import cached_property
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

log = logging.getLogger(__name__)

_MODEL, _HEADER = "model.txt", "columns.json"


@dataclass(frozen=True)
class LightGBMScorer(Scorer):
    """A LightGBM model: of the probability of class 1, of each class, or of the value.

    `native` code scores it where the host can make some, else LightGBM: the same doubles. It is
    tried against LightGBM when the model is fitted or its file opened.
    """

    kind: ClassVar[str] = "lightgbm"
    columns: tuple[str, ...]
    model_text: str
    native: bool = True

    @classmethod
    def tried(cls, columns: tuple[str, ...], model_text: str) -> LightGBMScorer:
        """One that native code scores only if it agrees with LightGBM to the last bit, on rows at
        and beside the model's own thresholds.
        """
        scorer = cls(columns, model_text)
        if scorer._compiled is None:
            return scorer
        rows = edge_rows(scorer.description)
        same = scorer.predict(rows) == interpreted(model_text, rows)
        differing = int((~same.reshape(len(rows), -1).all(axis=1)).sum())
        if not differing:
            return scorer
        log.warning(
            "LightGBM itself scores this model, more slowly: native code differs in %d of %d test "
            "rows; please report it with the model",
            differing,
            len(rows),
        )
        return replace(scorer, native=False)

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
        return cls.tried(model.feature_names, text)

    @property
    def classes(self) -> int:
        return self.description.classes

    @cached_property
    def description(self) -> ModelText:
        """What the model says of itself: task, objective, trees."""
        return read_model_text(self.model_text, "LightGBM model")

    @cached_property
    def _compiled(self) -> CompiledModel | None:
        return compiled(self.description) if self.native else None

    def _predict(self, matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        if self._compiled is None:
            return interpreted(self.model_text, matrix)
        return self._compiled.predict(matrix)

    def save(self, folder: Path) -> None:
        (folder / _MODEL).write_bytes(self.model_text.encode())
        header = {"columns": self.columns, "native": self.native}
        (folder / _HEADER).write_text(json.dumps(header), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> LightGBMScorer:
        header = json.loads((folder / _HEADER).read_text(encoding="utf-8"))
        if isinstance(header, list):  # of a model that was saved before native code was tried
            header = {"columns": header, "native": True}
        text = (folder / _MODEL).read_bytes().decode()
        scorer = cls(tuple(header["columns"]), text, header["native"])
        if len(scorer.columns) != len(scorer.description.feature_names):
            raise ModelBroken("its model takes another number of columns", where=str(folder))
        return scorer

    def __reduce__(self) -> tuple[Any, ...]:
        """The text alone travels; what was derived from it does not."""
        return type(self), (self.columns, self.model_text, self.native)
