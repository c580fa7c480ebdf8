"""The data contract: which rows are refused, why, and how copies are counted."""

from __future__ import annotations

import json

import pytest
from pyspark.sql import functions as F

from lakescore.config.column_types import canonical_type
from lakescore.config.workload import QuarantineBounds, Source
from lakescore.errors import ColumnMissing, ContractViolated, TypeMismatch
from lakescore.lake.canonical import row_hash
from lakescore.lake.contract import check_bounds, check_schema, top_reasons, with_reasons
from lakescore.lake.survey import Survey, survey

pytestmark = pytest.mark.spark

SOURCE = Source(
    table="s",
    key="id",
    expectations={"x is positive": "x > 0"},
    nan="quarantine",
)


def judged(spark, rows: list[tuple], source: Source = SOURCE) -> dict:
    frame = with_reasons(spark.createDataFrame(rows, "id int, x double"), source)
    return {(row["id"], row["x"]): (row["_reasons"], row["_copies"]) for row in frame.collect()}


def test_each_reason_is_named_and_null_is_not_true(spark):
    inf = float("inf")
    assert judged(spark, [(1, 1.0), (2, -1.0), (3, None), (None, -1.0), (4, inf)]) == {
        (1, 1.0): ([], 1),
        (2, -1.0): (["expectation 'x is positive' failed"], 1),
        (3, None): (["expectation 'x is positive' failed"], 1),
        (None, -1.0): (["key id is null", "expectation 'x is positive' failed"], 1),
        (4, inf): (["x is NaN or infinite"], 1),
    }


def test_identical_copies_are_kept_once_and_conflicting_ones_all_refused(spark):
    conflict = ["duplicate key with different values"]
    rows = [(1, 1.0), (1, 1.0), (1, 1.0), (2, 1.0), (2, 2.0), (2, 2.0), (3, 3.0)]
    assert judged(spark, [*rows, (None, 1.0), (None, 1.0)]) == {
        (1, 1.0): ([], 3),
        (2, 1.0): (conflict, 1),
        (2, 2.0): (conflict, 2),
        (3, 3.0): ([], 1),
        (None, 1.0): (["key id is null"], 2),
    }


def test_copies_are_told_by_the_columns_in_use(spark):
    """The same row from two files, or with a column that no prediction is made of."""
    rows = spark.createDataFrame([(1, 1.0, "a"), (1, 1.0, "b")], "id int, x double, _ingest string")
    [row] = with_reasons(rows, SOURCE).collect()
    assert (row["_reasons"], row["_copies"]) == ([], 2)
    [row] = with_reasons(rows.withColumnRenamed("_ingest", "y"), SOURCE, in_use=["x"]).collect()
    assert (row["_reasons"], row["_copies"]) == ([], 2)


def test_a_refused_row_can_be_found_again(spark):
    rows = spark.createDataFrame([(7, -1.0), (8, 1.0)], "id int, x double")
    refused, valid = with_reasons(rows, SOURCE).orderBy("id").collect()
    assert json.loads(refused["_payload"]) == {"id": 7, "x": -1.0}
    assert json.loads(refused["_key"]) == {"id": 7}
    assert len(refused["_row_hash"]) == 64
    assert (valid["_payload"], valid["_key"], valid["_row_hash"]) == (None, None, None)
    assert top_reasons(with_reasons(rows, SOURCE)) == {"expectation 'x is positive' failed": 1}


def test_the_row_hash_sees_microseconds_and_nulls_but_not_the_order_of_a_map(spark):
    rows = spark.sql(
        """select * from values
        ('a', timestamp'2013-01-01 00:00:00.000001', named_struct('m', map('k', 1, 'l', 2))),
        ('b', timestamp'2013-01-01 00:00:00.000002', named_struct('m', map('k', 1, 'l', 2))),
        ('c', timestamp'2013-01-01 00:00:00.000001', named_struct('m', map('l', 2, 'k', 1))),
        ('d', timestamp'2013-01-01 00:00:00.000001', null),
        ('e', timestamp'2013-01-01 00:00:00.000001',
              named_struct('m', cast(null as map<string, int>)))
        as t(name, at, nested)"""
    )
    hashes = {
        row["name"]: row["hash"]
        for row in rows.select("name", row_hash(rows, ["at", "nested"]).alias("hash")).collect()
    }
    assert hashes["a"] == hashes["c"]
    assert len(set(hashes.values())) == 4


def test_a_schema_that_does_not_fit_says_what_is_there(spark):
    frame = spark.createDataFrame([], "id int, x string, tags array<string>")
    with pytest.raises(ColumnMissing, match="missing: 'y'; present: id, x, tags"):
        check_schema(frame, Source(table="s", key="id"), ["x", "y"], where="s@1")
    with pytest.raises(TypeMismatch, match="a key must be plain values: 'tags' is array<string>"):
        check_schema(frame, Source(table="s", key="tags"), [], where="s@1")
    with pytest.raises(TypeMismatch, match="'x' is string, the model was trained on double"):
        check_schema(frame, Source(table="s", key="id"), ["x"], where="s@1", types={"x": "double"})
    not_a_condition = Source(table="s", key="id", expectations={"e": "id + 1"})
    with pytest.raises(TypeMismatch, match=r"expectation 'e' \(id \+ 1\) is int, expected boolean"):
        check_schema(frame, not_a_condition, [], where="s@1")
    unresolved = Source(table="s", key="id", expectations={"e": "nope > 1"})
    with pytest.raises(ColumnMissing, match=r"expectation 'e' \(nope > 1\) does not resolve"):
        check_schema(frame, unresolved, [], where="s@1")
    undated = Source(table="s", key="id", prediction_time="id")
    with pytest.raises(TypeMismatch, match=r"source\.prediction_time"):
        check_schema(frame, undated, [], where="s@1")


def test_a_column_of_another_type_than_declared_is_named(spark):
    frame = spark.createDataFrame([], "id int, x decimal(10,2), tags array<struct<A: bigint>>")
    fits = {"ID": "integer", "X": "dec(10, 2) not null", "tags": "array<struct<a: long>>"}
    check_schema(frame, Source(table="s", key="id", columns=fits), [], where="s@1")
    other = Source(table="s", key="id", columns={"x": "decimal(12,2)", "id": "bigint"})
    with pytest.raises(TypeMismatch) as caught:
        check_schema(frame, other, [], where="s@1")
    assert caught.value.what == (
        "'x' is decimal(10,2), source.columns says decimal(12,2); "
        "'id' is int, source.columns says bigint"
    )
    with pytest.raises(ColumnMissing, match="missing: 'note'"):
        check_schema(frame, Source(table="s", key="id", columns={"note": "string"}), [], where="s")


@pytest.mark.parametrize(
    "written",
    [
        "boolean", "BYTE", "tinyint", "short", "smallint", "Integer", "int", "long", "bigint",
        "real", "float", "double", "decimal", "dec(5)", "numeric( 10 , 2 )", "string", "binary",
        "date", "timestamp", "array<long>", "map<string, array<integer>>",
        "struct<a: int, b struct<`c d`: decimal>>",
    ],
)  # fmt: skip
def test_types_are_spelled_as_spark_spells_them(spark, written: str) -> None:
    [field] = spark.range(0).selectExpr(f"cast(null as {written}) as value").schema
    assert canonical_type(written) == field.dataType.simpleString().lower()


def test_a_missing_value_is_refused_where_one_must_be(spark):
    source = Source(table="s", key="id", columns={"x": "double not null", "id": "int not null"})
    nan = float("nan")
    found = judged(spark, [(1, 1.0), (2, None), (None, 3.0), (4, nan)], source)
    assert {one: reasons for (one, _), (reasons, _) in found.items()} == {
        1: [],
        2: ["x is null"],
        None: ["key id is null"],
        4: [],
    }
    rows = spark.createDataFrame(
        [(1, 1.0, "a"), (1, 1.0, None), (2, 2.0, "a"), (2, 2.0, "b")],
        "id int, x double, note string",
    )
    noted = Source(table="s", key="id", columns={"note": "not null"})
    conflict = "duplicate key with different values"
    frame = with_reasons(rows, noted, in_use=["x"]).orderBy("id", F.size("_reasons"))
    assert [(row["id"], row["_reasons"], row["_copies"]) for row in frame.collect()] == [
        (1, [conflict], 1),
        (1, ["note is null", conflict], 1),
        (2, [], 2),
    ]


def test_keys_that_were_predicted_a_short_while_ago_are_refused(spark):
    source = Source(table="s", key=["id", "x"], unique_within="36 hours")
    rows = spark.createDataFrame([(1, 1.0), (1, 2.0), (2, 1.0), (None, 1.0)], "id int, x double")
    recent = spark.createDataFrame([(1, 1.0), (None, 1.0)], "id int, x double")
    frame = with_reasons(rows, source, recent=recent)
    assert frame.columns[:3] == ["id", "x", "_reasons"]
    found = {(row["id"], row["x"]): (row["_reasons"], row["_key"]) for row in frame.collect()}
    assert found == {
        (1, 1.0): (["key was predicted within 36 hours"], '{"id":1,"x":1.0}'),
        (1, 2.0): ([], None),
        (2, 1.0): ([], None),
        (None, 1.0): (["key id is null"], '{"id":null,"x":1.0}'),
    }


def test_a_survey_counts_scope_and_sees_repeats_in_it(spark):
    rows = spark.createDataFrame([(1, 1), (2, 2), (2, 0), (3, None)], "id int, x int")
    assert survey(rows, ["id"], "x > 0") == Survey(4, 2, repeats=False)
    assert survey(rows, ["id"]) == Survey(4, 0, repeats=True)
    assert survey(rows, ["id", "x"]) == Survey(4, 0, repeats=False)
    assert survey(rows.limit(0), ["id"]) == Survey(0, 0, repeats=False)


def test_alike_rows_without_a_key_are_copies_though_no_key_repeats(spark):
    assert judged(spark, [(1, 1.0), (None, 2.0), (None, 2.0), (None, 3.0)]) == {
        (1, 1.0): ([], 1),
        (None, 2.0): (["key id is null"], 2),
        (None, 3.0): (["key id is null"], 1),
    }


def test_bounds_stop_a_run_and_name_the_reasons():
    check_bounds(100, 5, QuarantineBounds(share=0.05), where="s@1")
    check_bounds(0, 0, QuarantineBounds(share=0), where="s@1")
    with pytest.raises(ContractViolated) as caught:
        check_bounds(
            100, 6, QuarantineBounds(share=0.05), where="s@1", reasons={"key id is null": 6}
        )
    assert "6 of 100 rows break the data contract" in caught.value.what
    assert "key id is null: 6" in caught.value.what
    with pytest.raises(ContractViolated, match="more than the allowed 3 rows"):
        check_bounds(1000, 4, QuarantineBounds(count=3), where="s@1")
