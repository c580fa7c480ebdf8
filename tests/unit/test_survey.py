"""Whether a hash comes twice, told bucket by bucket from what the tasks hand on."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from lakescore.lake import survey

LOW, HIGH = np.iinfo(np.int64).min, np.iinfo(np.int64).max


def told(tasks: list[list[list[int | None]]]) -> tuple[int, int, bool]:
    """Rows, those out of scope, and repeats: `tasks` are batches of hashes."""
    pieces = []
    for batches in tasks:
        arrays = [pa.array(batch, pa.int64()) for batch in batches]
        made = (pa.RecordBatch.from_arrays([array], ["hash"]) for array in arrays)
        pieces += [row for piece in survey._pieces(made) for row in piece.to_pylist()]
    schema = pa.schema(
        {"bucket": pa.int32(), "rows": pa.int64(), "outside": pa.int64(), "hashes": pa.binary()}
    )
    ordered = sorted(pieces, key=lambda row: row["bucket"])
    # As Spark shuffles: all of a bucket in one partition, whose batches end anywhere.
    batches = [
        pa.RecordBatch.from_pylist(ordered[i : i + 3], schema) for i in range(0, len(ordered), 3)
    ]
    (found,) = (row for batch in survey._compared(iter(batches)) for row in batch.to_pylist())
    return found["rows"], found["outside"], found["repeats"]


@pytest.mark.parametrize("value", [LOW, -1, 0, 1, HIGH, 1 << 58, (1 << 58) - 1])
def test_a_hash_that_two_tasks_have_repeats(value: int) -> None:
    others = [[[value, 5, -5]], [[7, -7], [9]]]
    assert told(others) == (6, 0, False)
    assert told([*others, [[value]]]) == (7, 0, True)


def test_rows_out_of_scope_are_counted_and_not_compared() -> None:
    assert told([[[1, None, 2]], [[None, 3]]]) == (5, 2, False)
    assert told([]) == (0, 0, False)
    assert told([[[None]]]) == (1, 1, False)


@pytest.mark.parametrize("held", [1, 7, 1 << 20])
def test_it_is_the_same_however_often_a_task_hands_on(held: int, monkeypatch) -> None:
    monkeypatch.setattr(survey, "_HELD", held)
    rng = np.random.default_rng(held)
    values = np.unique(rng.integers(LOW, HIGH, 2_000)).tolist()
    tasks = [[values[start : start + 90]] for start in range(0, len(values), 90)]
    assert told(tasks) == (len(values), 0, False)
    assert told([*tasks, [[values[1_234]]]]) == (len(values) + 1, 0, True)
