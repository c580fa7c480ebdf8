"""The encoding stage on Arrow data alone: codes, missing values, JSON, pickles."""

from __future__ import annotations

import json
import pickle
from decimal import Decimal
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakescore.errors import ColumnMissing, ModelBroken, TypeMismatch
from lakescore.features.names import feature_column, feature_name
from lakescore.features.preprocessor import CategoricalFeature, NumericFeature, Preprocessor
from lakescore.matrix import MatrixColumn

NAN = float("nan")
DISTANCE = NumericFeature("distance", mean=0.1 + 0.2, low=-1.0, high=2.0, present=3)
CARRIER = CategoricalFeature("carrier", levels=("UA", "Ä", ""), distinct=3, present=9)
PREPROCESSOR = Preprocessor((DISTANCE, CARRIER))


def batch(distance, carrier):
    columns = {
        feature_column("carrier"): carrier,
        "other": distance,
        feature_column("distance"): distance,
    }
    return pa.RecordBatch.from_arrays(
        [
            column if isinstance(column, pa.Array) else pa.array(column)
            for column in columns.values()
        ],
        names=list(columns),
    )


def encoded(distance, carrier):
    return PREPROCESSOR.encode(batch(distance, carrier))


def test_values_codes_and_what_is_missing():
    matrix = encoded([1.5, None, NAN, float("inf"), -float("inf")], ["UA", "Ä", None, "new", ""])
    np.testing.assert_array_equal(matrix, [[1.5, 1], [NAN, 2], [NAN, 0], [NAN, 0], [NAN, 3]])
    assert matrix.dtype == np.float64
    assert matrix.flags.f_contiguous


def test_matrix_schema_says_what_the_columns_hold():
    assert PREPROCESSOR.matrix_schema.columns == (
        MatrixColumn("distance", mean=0.1 + 0.2),
        MatrixColumn("carrier", levels=3),
    )


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([1, None, 2**53], pa.int64()), [1, NAN, 2**53]),
        (pa.array([2**53 + 1], pa.int64()), [2.0**53]),
        (pa.array([True, False, None]), [1, 0, NAN]),
        (pa.array([1.5, None, float("inf")], pa.float32()), [1.5, NAN, NAN]),
        (pa.array([Decimal("12.25"), None]), [12.25, NAN]),
        (pa.array([None, None], pa.null()), [NAN, NAN]),
        (pa.array([], pa.float64()), []),
    ],
)
def test_every_number_type_becomes_a_double(array, expected):
    matrix = encoded(array, pa.array(["UA"] * len(array)))
    np.testing.assert_array_equal(matrix[:, 0], np.array(expected, dtype=float))


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array(["5", "true"]), [1, 2]),
        (pa.array([5, 6, None], pa.int16()), [1, 0, 0]),
        (pa.array([True, False]), [2, 0]),
        (pa.array(["5", "x"]).dictionary_encode(), [1, 0]),
        (pa.array(["true", None], pa.large_string()), [2, 0]),
        (pa.array([None], pa.null()), [0]),
    ],
)
def test_categories_are_read_as_spark_writes_them(array, expected):
    one = Preprocessor((CategoricalFeature("c", ("5", "true"), distinct=2, present=2),))
    matrix = one.encode(pa.table({feature_column("c"): array}))
    assert matrix[:, 0].tolist() == expected


@pytest.mark.parametrize(
    ("distance", "carrier", "said"),
    [
        (["1"], ["UA"], "feature 'distance' is string, not a number"),
        ([1.0], [0.5], "feature 'carrier' is double, not a category"),
    ],
)
def test_a_column_of_another_type_is_named(distance, carrier, said):
    with pytest.raises(TypeMismatch, match=said):
        encoded(distance, carrier)


def test_a_missing_column_is_named_with_what_is_there():
    with pytest.raises(ColumnMissing, match=r"no column '_f_distance'[\s\S]*it has: x"):
        PREPROCESSOR.encode(pa.table({"x": [1]}))


@given(
    values=st.lists(st.one_of(st.none(), st.floats()), min_size=1, max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=4),
)
def test_batch_boundaries_do_not_matter(values, cuts):
    carriers = [None if value is None else str(value)[:1] for value in values]
    whole = batch(pa.array(values, pa.float64()), pa.array(carriers, pa.string()))
    edges = sorted({0, len(values), *(min(cut, len(values)) for cut in cuts)})
    parts = [whole.slice(start, end - start) for start, end in pairwise(edges)]
    pieces = np.concatenate([PREPROCESSOR.encode(part) for part in parts])
    np.testing.assert_array_equal(pieces, PREPROCESSOR.encode(pa.Table.from_batches(parts)))
    np.testing.assert_array_equal(pieces, PREPROCESSOR.encode(whole))


def test_a_matrix_of_many_blocks_equals_its_columns():
    rows = 5_000
    values = np.random.default_rng(0).normal(size=rows)
    matrix = encoded(pa.array(values), pa.array(["Ä"] * rows))
    np.testing.assert_array_equal(matrix, np.column_stack([values, np.full(rows, 2.0)]))


def test_json_round_trip_is_bit_equal():
    again = Preprocessor.from_json(PREPROCESSOR.to_json())
    assert again == PREPROCESSOR
    assert again.to_json() == PREPROCESSOR.to_json()
    assert again.sha256 == PREPROCESSOR.sha256
    assert again.features[0].mean.hex() == (0.1 + 0.2).hex()


def test_pickle_round_trip_after_use():
    encoded([1.0], ["UA"])
    again = pickle.loads(pickle.dumps(PREPROCESSOR))
    assert again == PREPROCESSOR
    assert again.encode(batch([1.0], ["UA"])).tolist() == [[1.0, 1.0]]


def altered(**changes):
    return json.dumps({**json.loads(PREPROCESSOR.to_json()), **changes})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (PREPROCESSOR.to_json()[:-9], "truncated or altered"),
        ("[]", "truncated or altered"),
        (PREPROCESSOR.to_json().replace("UA", "UB"), "was altered after it was saved"),
        (altered(format=99), "is in format 99; this lakescore reads up to 1"),
        (altered(features=[]), "was altered after it was saved"),
    ],
)
def test_a_preprocessor_that_is_not_as_it_was_saved_is_refused(text, said):
    with pytest.raises(ModelBroken, match=said):
        Preprocessor.from_json(text)


def test_constant_and_cut_off_features_are_warned_of():
    odd = Preprocessor(
        (
            NumericFeature("year", mean=2013.0, low=2013.0, high=2013.0, present=5),
            CategoricalFeature("country", levels=("US",), distinct=1, present=5),
            CategoricalFeature("tail", levels=("N1", "N2"), distinct=40, present=50),
            DISTANCE,
        )
    )
    assert odd.warnings == (
        "feature 'year' is constant: 2013.0",
        "feature 'country' is constant: 'US'",
        "feature 'tail' has 40 values: all but the 2 most frequent are encoded as unseen",
    )


def test_feature_columns_have_names_of_their_own():
    assert feature_column("carrier") != "carrier"
    assert feature_name(feature_column("carrier")) == "carrier"
