"""Arrow arrays to float64, the same for training, batch scoring and single requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lakescore.arrow_task import map_in_arrow
from lakescore.errors import ColumnMissing, TypeMismatch, UsageError

if TYPE_CHECKING:
    import numpy.typing as npt
    from pyspark.sql import DataFrame

    from lakescore.features.preprocessor import Preprocessor


def numeric_values(array: pa.Array, name: str) -> npt.NDArray[np.float64]:
    """A number, boolean or decimal column as float64; NaN for null and infinity.

    Whole numbers are exact up to 2^53. May share memory with `array`. Raises TypeMismatch.
    """
    if not pa.types.is_float64(array.type):
        array = _as_double(array, name)
    values: npt.NDArray[np.float64] = array.to_numpy(zero_copy_only=False)
    infinite = np.isinf(values)
    if infinite.any():
        return np.where(infinite, np.nan, values)
    return values


def category_codes(array: pa.Array, levels: pa.Array, name: str) -> npt.NDArray[np.int32]:
    """A string column as codes: 1 + its place in `levels`, 0 for null and for any other value.

    Whole numbers and booleans are read as Spark writes them ('5', 'true'). Raises TypeMismatch.
    """
    index = pc.index_in(_as_strings(array, name), value_set=levels)
    codes: npt.NDArray[np.int32] = index.fill_null(-1).to_numpy(zero_copy_only=False)
    return codes + np.int32(1)


def stack(columns: Sequence[npt.NDArray[np.generic]], rows: int) -> npt.NDArray[np.float64]:
    """Columns side by side: shape (rows, len(columns)), float64, each column in one piece."""
    matrix = np.empty((rows, len(columns)), dtype=np.float64, order="F")
    for j, column in enumerate(columns):
        matrix[:, j] = column
    return matrix


def one_array(batch: pa.RecordBatch | pa.Table, column: str) -> pa.Array:
    """A column as one array. Raises ColumnMissing with what the batch holds."""
    index = batch.schema.get_field_index(column)
    if index < 0:
        raise ColumnMissing(
            f"the batch has no column '{column}'", hint=f"it has: {', '.join(batch.schema.names)}"
        )
    array = batch.column(index)
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def encode_frame(
    df: DataFrame, preprocessor: Preprocessor, keep: Sequence[str] = (), *, prefix: str = ""
) -> DataFrame:
    """The `keep` columns of `df`, then one double column a matrix column (NaN, never null).

    `df` is a frame of the SQL stage. `prefix` goes before the names of the matrix columns, to
    show them beside their sources. Raises ColumnMissing, and UsageError when a kept column and
    a matrix column would have one name.
    """
    from pyspark.sql.types import DoubleType, StructField, StructType

    from lakescore.features.resolve import check_columns, col

    names = [prefix + name for name in preprocessor.matrix_schema.names]
    _check_names_differ(keep, names)
    check_columns(df, [*keep, *preprocessor.input_columns], where="the frame to encode")
    kept = df.select(*map(col, keep))
    inputs = [col(column).alias(f"_in{i}") for i, column in enumerate(preprocessor.input_columns)]
    doubles = [StructField(name, DoubleType()) for name in names]
    schema = StructType([*kept.schema.fields, *doubles])
    task = _encoding_task(preprocessor, len(kept.columns), names)
    return map_in_arrow(df.select(*map(col, keep), *inputs), task, schema)


def _encoding_task(
    preprocessor: Preprocessor, kept: int, names: Sequence[str]
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def encode_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            arrays = batch.columns
            inputs = arrays[kept : kept + len(names)]
            doubles = (pa.array(column) for column in preprocessor.encode_columns(inputs))
            yield pa.RecordBatch.from_arrays(
                [*arrays[:kept], *doubles], names=[*batch.schema.names[:kept], *names]
            )

    return encode_batches


def _check_names_differ(keep: Sequence[str], names: Sequence[str]) -> None:
    both = sorted({name.lower() for name in keep} & {name.lower() for name in names})
    if both:
        raise UsageError(
            f"kept columns have the names of features: {', '.join(both)}",
            hint="keep fewer columns, or give the matrix columns a prefix",
        )


def _as_double(array: pa.Array, name: str) -> pa.Array:
    kind = array.type
    if pa.types.is_boolean(kind):
        array = array.cast(pa.uint8())
    elif not (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_null(kind)
    ):
        raise TypeMismatch(
            f"feature '{name}' is {kind}, not a number", hint="cast it where the rows are made"
        )
    return array.cast(pa.float64(), safe=False)


def _as_strings(array: pa.Array, name: str) -> pa.Array:
    kind = array.type
    if pa.types.is_dictionary(kind):
        return _as_strings(array.dictionary_decode(), name)
    if pa.types.is_string(kind):
        return array
    if (
        pa.types.is_large_string(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_null(kind)
    ):
        return array.cast(pa.string())
    raise TypeMismatch(
        f"feature '{name}' is {kind}, not a category (string, whole number or boolean)",
        hint="cast it where the rows are made",
    )
