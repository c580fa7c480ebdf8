"""The format of files, from their name or as declared."""

import pytest

from lakescore.errors import UsageError
from lakescore.workflows.ingest import known_format


@pytest.mark.parametrize(
    ("source", "format"),
    [
        ("inbox/*.csv", "csv"),
        ("day.CSV.gz", "csv"),
        ("events.jsonl", "json"),
        ("abfss://box@account/v1.2/day.parquet", "parquet"),
        ("part.snappy.orc", "orc"),
    ],
)
def test_the_ending_tells(source: str, format: str) -> None:
    assert known_format(source, None) == format


def test_what_is_declared_comes_first_and_must_be_known() -> None:
    assert known_format("inbox/2013.csv", "json") == "json"
    with pytest.raises(UsageError, match="'avro' is not a file format"):
        known_format("inbox", "avro")
    with pytest.raises(UsageError, match="--format: one of csv, json, parquet, orc"):
        known_format("inbox", None)
