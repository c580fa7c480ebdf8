"""Spark's failure texts, as lakescore errors that name the file and the way out."""

from __future__ import annotations

import pytest

from lakescore.errors import ColumnMissing, CorruptFile, EnvironmentProblem, TypeMismatch
from lakescore.lake.spark_errors import reading, translate_spark_error

SparkFailure = type("SparkException", (Exception,), {"__module__": "pyspark.errors"})


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        (
            "RuntimeException: file:/my lake/t/part%201.parquet is not a Parquet file. Expected",
            CorruptFile,
            "the file file:/my lake/t/part 1.parquet is corrupt",
        ),
        (
            "[CANNOT_READ_FILE_FOOTER] Could not read footer for file: file:/my lake/q.parquet. "
            "Please ensure",
            CorruptFile,
            "the file file:/my lake/q.parquet is corrupt",
        ),
        (
            "Lost task 0.0: java.io.IOException: No space left on device",
            EnvironmentProblem,
            "the disk is full",
        ),
        (
            "Caused by: java.io.FileNotFoundException: /lake/t/_delta_log/.00.json.tmp "
            "(Read-only file system)",
            EnvironmentProblem,
            "/lake/t/_delta_log/.00.json.tmp cannot be opened: read-only file system",
        ),
        (
            "Lost task 1.0: org.apache.hadoop.fs.ChecksumException: Checksum error: "
            "file:/lake/t/p.parquet at 0 exp: -1492780758 got: -255292129",
            CorruptFile,
            "the file file:/lake/t/p.parquet is corrupt",
        ),
        (
            "Caused by: java.io.FileNotFoundException: \nFile file:/t/p.parquet does not exist",
            CorruptFile,
            "p.parquet is named by the table but is not there",
        ),
        (
            "Encountered error while reading file file:/lake/t/p.parquet. Details:\n"
            "Caused by: java.io.IOException: can not read class PageHeader",
            CorruptFile,
            "p.parquet cannot be read: java.io.IOException: can not read class PageHeader",
        ),
        (
            "Encountered error while reading file file:/in/a.csv. Details:\n[MALFORMED] Malformed "
            "records are detected in record parsing: [q,y].",
            CorruptFile,
            "a record in file:/in/a.csv does not fit the schema",
        ),
        (
            "CSV header does not conform to the schema.\n Header: b, a\n Schema: a, b\n"
            "Expected: a but found: b\nCSV file: file:///in/b.csv\n\tat org",
            ColumnMissing,
            "Header: b, a Schema: a, b Expected: a but found: b",
        ),
        (
            "Parquet column cannot be converted in file file:/lake/t/p.parquet. Column: [n], "
            "Expected: bigint, Found: INT32",
            TypeMismatch,
            "column [n] of file:/lake/t/p.parquet is INT32, expected bigint",
        ),
    ],
)
def test_known_failures_name_the_file(text: str, kind: type, says: str):
    error = translate_spark_error(SparkFailure(text), "bronze.t@3")
    assert type(error) is kind
    assert says in error.what
    assert error.where == "bronze.t@3"
    assert error.hint


def test_other_failures_pass_through_unchanged():
    with pytest.raises(ZeroDivisionError), reading("t"):
        _ = 1 // 0
    assert translate_spark_error(SparkFailure("Python worker exited"), "t") is None
    assert translate_spark_error(ValueError("x is not a Parquet file"), "t") is None


def test_the_spark_error_stays_the_cause():
    with pytest.raises(CorruptFile) as caught, reading("bronze.t"):
        raise SparkFailure("file:/p is not a Parquet file")
    assert isinstance(caught.value.__cause__, SparkFailure)
