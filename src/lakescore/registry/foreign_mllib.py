"""Someone's MLlib pipeline, scored over a table's own columns without Spark's transform.

Where it is a VectorAssembler of plain numbers and one model that `models.mllib.saved` reads. Any
other pipeline is Spark's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa

from lakescore.arrow_types import cast_columns
from lakescore.errors import ModelBroken
from lakescore.hashing import folder_hashes, json_sha256
from lakescore.matrix import Answers
from lakescore.models.base import Scorer
from lakescore.models.mllib.saved import portable_scorer
from lakescore.registry.foreign import OpenedModel, Runner
from lakescore.registry.pipeline_metadata import metadata_of, params_of, stage_folders

if TYPE_CHECKING:
    import numpy.typing as npt

#: The column types that reach a model as doubles; of decimals Spark and Arrow may round apart.
NUMBERS = ("tinyint", "smallint", "int", "bigint", "float", "double", "boolean")
#: What a VectorAssembler does with a row that has a missing value, as far as it can be done here.
_ERROR, _KEEP = "error", "keep"


@dataclass(frozen=True)
class ForeignMLlib:
    """Columns by name, as doubles, null as NaN; `refuses` rows in which one is missing."""

    scorer: Scorer
    inputs: Mapping[str, str]
    sha256: str
    refuses: bool
    answers: ClassVar[Answers] = Answers()

    def predict(self, batch: pa.RecordBatch) -> npt.NDArray[np.float64]:
        """Score a batch; shape (rows,). Raises ColumnMissing, and ModelBroken for a missing value
        that the pipeline refuses.
        """
        matrix = np.empty((batch.num_rows, len(self.inputs)), order="F")
        columns = cast_columns(batch, self._doubles).columns
        for place, (name, column) in enumerate(zip(self.inputs, columns, strict=True)):
            values = column.fill_null(np.nan).to_numpy(zero_copy_only=False)
            if self.refuses and np.isnan(values).any():
                raise ModelBroken(
                    f"'{name}' is null or NaN in {int(np.isnan(values).sum())} rows, which the "
                    "pipeline's VectorAssembler refuses (handleInvalid: error)",
                    hint=f"fill it in the source, quarantine such rows (`source.columns: {{{name}: "
                    "not null}` and `source.nan: quarantine`), or save the pipeline with "
                    "handleInvalid keep",
                )
            matrix[:, place] = values
        return self.scorer.predict(matrix)

    @cached_property
    def _doubles(self) -> dict[str, str]:
        return dict.fromkeys(self.inputs, "double")


def portable_pipeline(model: OpenedModel, types: Mapping[str, str]) -> ForeignMLlib | None:
    """The pipeline without Spark; None where only Spark can. `types` are the rows' columns."""
    folder = Path(model.path)
    if model.runner is not Runner.SPARK or not folder.is_dir():
        return None
    stages = stage_folders(folder)
    found = [metadata_of(stage) for stage in stages]
    if [_kind(stage) for stage in found[:-1]] != ["VectorAssembler"]:
        return None
    assembler, fitted = params_of(found[0]), params_of(found[1])
    columns, invalid = tuple(assembler["inputCols"]), assembler.get("handleInvalid", _ERROR)
    fits = fitted.get("featuresCol") == assembler.get("outputCol") and not fitted.get("thresholds")
    if not fits or invalid not in (_ERROR, _KEEP) or len(set(columns)) < len(columns):
        return None
    if any(types.get(name) not in NUMBERS for name in columns):
        return None
    try:
        scorer = portable_scorer(stages[1], found[1], columns)
    except (KeyError, TypeError, ValueError, IndexError, OSError, pa.ArrowException) as error:
        raise ModelBroken(f"its saved model does not fit: {error}", where=model.spec) from error
    if scorer is None:
        return None
    inputs = {name: types[name] for name in columns}
    sha256 = json_sha256({"files": folder_hashes(folder), "refuses": invalid == _ERROR})
    return ForeignMLlib(scorer, inputs, sha256, invalid == _ERROR)


def _kind(metadata: Mapping[str, Any]) -> str:
    return str(metadata.get("class", "")).rpartition(".")[2]
