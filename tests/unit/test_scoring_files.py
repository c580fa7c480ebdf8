"""The direct road inside a task: how files are shared out, and what is read of them."""

from __future__ import annotations

from datetime import date, datetime, timezone
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lakescore.errors import CorruptFile, TypeMismatch
from lakescore.scoring import files


def write(path: Path, groups: int = 1, **columns: object) -> str:
    table = pa.table(columns)
    pq.write_table(table, path, row_group_size=max(1, -(-len(table) // groups)))
    return str(path)


def read(path: str, types: dict[str, str], rows: int = 100, **part: int) -> list[dict]:
    batches = files._batches(files._Part(path, **part), types, rows)
    return [row for batch in batches for row in batch.to_pylist()]


def test_small_files_are_gathered_and_a_large_one_is_cut_between_row_groups(
    tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(files, "_LEAST_BYTES", 4_000)
    monkeypatch.setattr(files, "_TASK_BYTES", 4_000)
    small = [write(tmp_path / f"{n}.parquet", x=[1.0, 2.0]) for n in range(20)]
    values = np.random.default_rng(1).random(2_000)
    large = write(tmp_path / "large.parquet", groups=8, x=values)
    tasks = files._tasks([*small, large])
    parts = [part for task in tasks for part in task]
    cut = sorted((part.first, part.last) for part in parts if part.path == large)
    assert [first for first, _ in cut] == [0, *(last for _, last in cut[:-1])]
    assert (len(cut) > 2, cut[-1][1]) == (True, 8)
    assert sorted(part.path for part in parts if part.path != large) == sorted(small)
    assert 1 < len([task for task in tasks if task[0].path != large]) < 20
    pieces = [row["x"] for first, last in cut
              for row in read(large, {"x": "double"}, first=first, last=last)]  # fmt: skip
    assert pieces == values.tolist()


def test_no_file_and_an_empty_one(tmp_path) -> None:
    assert files._tasks([]) == []
    path = write(tmp_path / "a.parquet", x=pa.array([], pa.float64()))
    assert read(path, {"x": "double"}) == []


def test_columns_are_found_in_any_case_and_those_of_later_are_null(tmp_path) -> None:
    path = write(tmp_path / "a.parquet", Id=pa.array([1, 2], pa.int32()), x=[0.5, None])
    assert read(path, {"x": "double", "id": "int", "kind": "string"}) == [
        {"x": 0.5, "id": 1, "kind": None}, {"x": None, "id": 2, "kind": None},
    ]  # fmt: skip


def test_times_are_the_same_instants_however_they_are_stored(tmp_path) -> None:
    at = datetime(2024, 3, 10, 2, 30, 0, 123456, tzinfo=timezone.utc)
    old = tmp_path / "int96.parquet"
    times = pa.array([at], pa.timestamp("us", tz="UTC"))
    pq.write_table(pa.table({"at": times}), old, use_deprecated_int96_timestamps=True)
    new = write(tmp_path / "micros.parquet", at=times)
    for path in (str(old), new):
        assert read(path, {"at": "timestamp"}) == [{"at": at}]


def test_days_of_another_calendar_are_refused(tmp_path) -> None:
    for first, refused in ((date(1899, 12, 31), True), (date(1900, 1, 1), False)):
        table = pa.table({"day": [first, date(2024, 1, 1)]})
        legacy = table.replace_schema_metadata({"org.apache.spark.version": "2.4.8"})
        path = tmp_path / f"{first}.parquet"
        with pq.ParquetWriter(path, legacy.schema) as writer:
            writer.write_table(legacy)
        if not refused:
            assert len(read(str(path), {"day": "date"})) == 2
            continue
        with pytest.raises(TypeMismatch, match="'day' has times before 1900") as caught:
            read(str(path), {"day": "date"})
        assert "scoring.road: general" in str(caught.value)


def test_a_file_that_is_gone_corrupt_or_of_another_type_is_named(tmp_path) -> None:
    gone = str(tmp_path / "gone.parquet")
    for ask in (lambda: read(gone, {"x": "double"}), lambda: files._tasks([gone])):
        with pytest.raises(CorruptFile, match=r"gone\.parquet is named by the table but is not"):
            ask()
    whole = write(tmp_path / "a.parquet", x=np.random.default_rng(2).random(5_000))
    content = bytearray(Path(whole).read_bytes())
    content[4:60] = bytes(56)
    Path(whole).write_bytes(content)
    with pytest.raises(CorruptFile, match=r"a\.parquet cannot be read"):
        read(whole, {"x": "double"})
    text = write(tmp_path / "b.parquet", x=["one"])
    with pytest.raises(TypeMismatch, match="'x' is string in the file, and double in the table"):
        read(text, {"x": "double"})
