"""One encoding for training and scoring: Spark and plain Arrow give the same doubles."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest

from lakescore.config.workload import Feature
from lakescore.errors import EmptyTable, UsageError
from lakescore.features.encode import encode_frame
from lakescore.features.preprocessor import Preprocessor, fit_preprocessor

pytestmark = pytest.mark.spark

FEATURES = [Feature(name=name, expression=name) for name in ("delay", "carrier", "whole")]
ROWS = [
    (0, 0.1, "UA", 1.0),
    (1, 0.2, "AA", 2.0),
    (2, None, "UA", 2.0),
    (3, math.nan, None, 2.0),
    (4, math.inf, "é", 2.0),
    (5, 1e17, "AA", 2.0),
    (6, -1e17, "", 2.0),
    (7, 0.3, "UA", 9007199254740993.0),
]


@pytest.fixture(scope="module")
def frame(spark):
    schema = "id int, _f_delay double, _f_carrier string, _f_whole double"
    return spark.createDataFrame(ROWS, schema).repartition(3, "id").cache()


@pytest.fixture(scope="module")
def preprocessor(frame):
    return fit_preprocessor(frame, FEATURES)


def test_what_is_learned_is_exact_and_ordered_by_frequency(preprocessor):
    delay, carrier, whole = preprocessor.features
    assert (delay.present, delay.infinite, delay.low, delay.high) == (5, 1, -1e17, 1e17)
    assert delay.mean == math.fsum([0.1, 0.2, 0.3]) / 5
    assert (carrier.levels, carrier.distinct, carrier.present) == (("UA", "AA", "", "é"), 4, 7)
    assert whole.mean == (1.0 + 12.0 + 9007199254740992.0) / 8


def test_what_is_learned_does_not_depend_on_partitions(frame, preprocessor):
    again = fit_preprocessor(frame.coalesce(1).orderBy("_f_delay"), FEATURES)
    assert again.to_json() == preprocessor.to_json()


def test_rare_levels_are_cut_off_and_counted(frame):
    carrier = fit_preprocessor(frame, FEATURES, max_levels=2).features[1]
    assert (carrier.levels, carrier.distinct) == (("UA", "AA"), 4)


def test_encode_frame_equals_encode_on_arrow(frame, preprocessor):
    unseen = frame.selectExpr(
        "id + 100 id", "_f_delay", "if(id = 0, 'new', _f_carrier) _f_carrier", "_f_whole"
    )
    rows = frame.unionByName(unseen)
    encoded = encode_frame(rows, preprocessor, keep=["id"])
    assert [(one.name, one.dataType.typeName()) for one in encoded.schema] == [
        ("id", "integer"),
        ("delay", "double"),
        ("carrier", "double"),
        ("whole", "double"),
    ]
    on_spark = np.array([tuple(row) for row in encoded.orderBy("id").collect()], dtype=float)
    kept = [tuple(row) for row in rows.orderBy("id").collect()]
    table = pa.table(
        {name: [row[i] for row in kept] for i, name in enumerate(rows.columns)},
    )
    plain = Preprocessor.from_json(preprocessor.to_json()).encode(table)
    np.testing.assert_array_equal(on_spark[:, 1:], plain)
    assert plain[8].tolist() == [0.1, 0.0, 1.0]
    assert np.isnan(plain[2:5, 0]).all()


def test_matrix_columns_with_a_prefix_stand_beside_their_sources(frame, preprocessor):
    shown = encode_frame(frame, preprocessor, keep=["id", "_f_carrier"], prefix="encoded_")
    (first,) = shown.where("id = 1").collect()
    assert first.asDict() == {
        "id": 1,
        "_f_carrier": "AA",
        "encoded_delay": 0.2,
        "encoded_carrier": 2.0,
        "encoded_whole": 2.0,
    }


def test_a_kept_column_with_the_name_of_a_feature_is_refused(frame, preprocessor):
    with pytest.raises(UsageError, match="names of features: carrier"):
        encode_frame(frame.selectExpr("*", "1 Carrier"), preprocessor, keep=["Carrier"])


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("_f_carrier is null", "no value at all in the feature 'carrier'"),
        ("id in (2, 3, 4)", "no value at all in the feature 'delay'"),
        ("id < 0", "no rows to learn from"),
    ],
)
def test_a_feature_without_any_value_is_an_error(frame, where, said):
    wanted = [one for one in FEATURES if one.name != "delay"] if "carrier" in where else FEATURES
    with pytest.raises(EmptyTable, match=said):
        fit_preprocessor(frame.where(where), wanted)
