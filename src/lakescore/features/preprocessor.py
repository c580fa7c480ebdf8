"""The fitted preprocessor: what the encoding stage learned from training rows, as data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from lakescore.config.workload import Feature
from lakescore.errors import ModelBroken
from lakescore.features.encode import category_codes, numeric_values, one_array, stack
from lakescore.features.names import feature_column
from lakescore.hashing import canonical_json, json_sha256
from lakescore.matrix import MatrixColumn, MatrixSchema

if TYPE_CHECKING:
    import numpy.typing as npt
    from pyspark.sql import DataFrame

FORMAT = 1
#: Values of a categorical feature that get a code of their own; rarer ones are 0, as unseen.
MAX_LEVELS = 1_024


@dataclass(frozen=True)
class NumericFeature:
    """A numeric feature over the training rows; nulls, NaN and infinities are not `present`."""

    name: str
    mean: float
    low: float
    high: float
    present: int
    infinite: int = 0

    @property
    def matrix_column(self) -> MatrixColumn:
        return MatrixColumn(self.name, mean=self.mean)

    @property
    def warning(self) -> str | None:
        return f"feature '{self.name}' is constant: {self.low!r}" if self.low == self.high else None

    def values(self, array: pa.Array) -> npt.NDArray[np.float64]:
        return numeric_values(array, self.name)


@dataclass(frozen=True)
class CategoricalFeature:
    """A categorical feature over the training rows; `levels` by falling count, then by value."""

    name: str
    levels: tuple[str, ...]
    distinct: int
    present: int

    @property
    def matrix_column(self) -> MatrixColumn:
        return MatrixColumn(self.name, levels=len(self.levels))

    @property
    def warning(self) -> str | None:
        if self.distinct == 1:
            return f"feature '{self.name}' is constant: {self.levels[0]!r}"
        if self.distinct > len(self.levels):
            return (
                f"feature '{self.name}' has {self.distinct} values: all but the "
                f"{len(self.levels)} most frequent are encoded as unseen"
            )
        return None

    def values(self, array: pa.Array) -> npt.NDArray[np.int32]:
        return category_codes(array, self._value_set, self.name)

    @cached_property
    def _value_set(self) -> pa.Array:
        return pa.array(self.levels, type=pa.string())


@dataclass(frozen=True)
class Preprocessor:
    """Encodes batches of the SQL stage. Pickles; equal data give equal JSON and `sha256`."""

    features: tuple[NumericFeature | CategoricalFeature, ...]

    @cached_property
    def matrix_schema(self) -> MatrixSchema:
        return MatrixSchema(tuple(feature.matrix_column for feature in self.features))

    @property
    def input_columns(self) -> tuple[str, ...]:
        """The columns that `encode` reads, in the order of the matrix."""
        return tuple(feature_column(feature.name) for feature in self.features)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was odd in the training rows, one sentence each."""
        return tuple(one.warning for one in self.features if one.warning is not None)

    def encode(self, batch: pa.RecordBatch | pa.Table) -> npt.NDArray[np.float64]:
        """Shape (rows, columns), float64, column by column; see `MatrixColumn` for what it holds.

        Columns are found by name (`input_columns`), others are ignored. Raises ColumnMissing
        and TypeMismatch.
        """
        arrays = [one_array(batch, column) for column in self.input_columns]
        return stack([one.values(array) for one, array in self._pairs(arrays)], batch.num_rows)

    def encode_columns(self, arrays: Sequence[pa.Array]) -> list[npt.NDArray[np.float64]]:
        """The columns of the matrix one by one, from arrays in the order of `input_columns`."""
        return [
            one.values(array).astype(np.float64, copy=False) for one, array in self._pairs(arrays)
        ]

    @cached_property
    def sha256(self) -> str:
        """The hash of everything learned; part of the JSON."""
        return json_sha256(self._content())

    def to_json(self) -> str:
        """One text for one preprocessor; doubles survive bit by bit."""
        return canonical_json({**self._content(), "sha256": self.sha256})

    @classmethod
    def from_json(cls, text: str) -> Preprocessor:
        """Read what `to_json` wrote. Raises ModelBroken when altered, truncated or newer."""
        try:
            content = json.loads(text)
            stated, written_in = content.pop("sha256"), content["format"]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelBroken("the preprocessor cannot be read: truncated or altered") from error
        if not isinstance(written_in, int) or written_in > FORMAT:
            raise ModelBroken(
                f"the preprocessor is in format {written_in}; this lakescore reads up to {FORMAT}",
                hint="upgrade lakescore",
            )
        if json_sha256(content) != stated:
            raise ModelBroken("the preprocessor was altered after it was saved")
        return cls(tuple(_feature_from(one) for one in content["features"]))

    def _content(self) -> dict[str, Any]:
        return {"format": FORMAT, "features": [asdict(feature) for feature in self.features]}

    def _pairs(
        self, arrays: Sequence[pa.Array]
    ) -> zip[tuple[NumericFeature | CategoricalFeature, pa.Array]]:
        return zip(self.features, arrays, strict=True)

    def __getstate__(self) -> dict[str, Any]:
        return {"features": self.features}


def fit_preprocessor(
    df: DataFrame, features: Sequence[Feature], *, max_levels: int = MAX_LEVELS
) -> Preprocessor:
    """Learn from `df`, a frame of the SQL stage with the training rows only.

    Distributed, and the same for any partitioning: exact means, levels ordered by count and
    value. Raises EmptyTable when there are no rows or a feature has no value at all, and
    ColumnMissing. Constant features and cut-off levels are in `Preprocessor.warnings`.
    """
    from lakescore.features.statistics import learn

    return Preprocessor(learn(df, [feature.name for feature in features], max_levels))


def _feature_from(content: dict[str, Any]) -> NumericFeature | CategoricalFeature:
    if "levels" in content:
        return CategoricalFeature(**{**content, "levels": tuple(content["levels"])})
    return NumericFeature(**content)
