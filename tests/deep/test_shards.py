"""Shards: one order whatever Spark does, shared out whole, read in blocks."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from lakescore.errors import EnvironmentProblem
from lakescore.matrix import LABEL, Task
from lakescore.models.deep.job import Shards
from lakescore.models.deep.shards import (
    LocalRows,
    find_shards,
    local_path,
    standards,
    write_shards,
)
from tests.contract.encoded_data import SCHEMA, tiny_labels, tiny_matrix

ROWS = 600
WIDTH = len(SCHEMA.columns) + 1


def _cells() -> np.ndarray:
    matrix = tiny_matrix()
    return np.column_stack([matrix, tiny_labels(matrix, Task.BINARY)])[:ROWS]


def _sorted(cells: np.ndarray) -> np.ndarray:
    filled = np.nan_to_num(cells, nan=-99.0)
    return filled[np.lexsort(filled.T)]


@pytest.fixture(scope="module")
def shards(data_for, tmp_path_factory) -> Shards:
    folder = tmp_path_factory.mktemp("shards") / "train"
    write_shards(data_for(Task.BINARY).train, SCHEMA, ROWS, folder.as_uri(), 3)
    return find_shards(str(folder))


def _rows(shards: Shards, start: int = 0, end: int = ROWS) -> np.ndarray:
    rows = LocalRows(shards, (start, end), SCHEMA)
    return np.concatenate([np.empty((0, WIDTH)), *rows.in_order(100)])


def test_every_row_is_in_the_shards_once(shards, tmp_path):
    assert np.array_equal(_sorted(_rows(shards)), _sorted(_cells()))


def test_the_order_does_not_depend_on_how_spark_cut_the_rows(
    data_for, shards, tmp_path, monkeypatch
):
    monkeypatch.setattr("lakescore.models.deep.shards._SHARD_CELLS", 700)
    train = data_for(Task.BINARY).train.repartition(7, LABEL)
    write_shards(train, SCHEMA, ROWS, (tmp_path / "other").as_uri(), 3)
    other = find_shards(str(tmp_path / "other"))

    assert len(other.files) > 2 > len(shards.files)
    expected, found = (_rows(one) for one in (shards, other))
    assert np.array_equal(expected, found, equal_nan=True)


def test_another_seed_gives_another_order(data_for, shards, tmp_path):
    write_shards(data_for(Task.BINARY).train, SCHEMA, ROWS, (tmp_path / "s").as_uri(), 4)
    found = _rows(find_shards(str(tmp_path / "s")))

    assert not np.array_equal(found, _rows(shards), equal_nan=True)


@pytest.mark.parametrize("ranks", [1, 2, 7, 601])
def test_shares_are_all_rows_and_differ_by_one_at_most(shards, ranks, tmp_path):
    shares = [shards.share(rank, ranks) for rank in range(ranks)]
    sizes = {end - start for start, end in shares}

    assert shares[0][0] == 0 and shares[-1][1] == ROWS
    assert all(before[1] == after[0] for before, after in pairwise(shares))
    assert max(sizes) - min(sizes) <= 1 and max(sizes) == shards.most(ranks)
    if ranks == 7:
        parts = [_rows(shards, *share) for share in shares]
        whole = _rows(shards)
        assert np.array_equal(np.concatenate(parts), whole, equal_nan=True)


def test_an_epoch_reads_each_row_once_in_an_order_of_its_seed(shards, tmp_path, monkeypatch):
    monkeypatch.setattr("lakescore.models.deep.shards._BLOCK_ROWS", 32)
    monkeypatch.setattr("lakescore.models.deep.shards._MIXED_BLOCKS", 3)
    rows = LocalRows(shards, (0, ROWS), SCHEMA)
    first, again, other = (list(rows.shuffled(50, seed)) for seed in (1, 1, 2))
    rows.close()

    assert [len(batch) for batch in first] == [50] * 12
    assert np.array_equal(np.concatenate(first), np.concatenate(again), equal_nan=True)
    assert not np.array_equal(np.concatenate(first), np.concatenate(other), equal_nan=True)
    assert np.array_equal(_sorted(np.concatenate(other)), _sorted(_cells()))


def test_a_share_without_rows_has_no_batch(shards, tmp_path):
    rows = LocalRows(shards, (5, 5), SCHEMA)

    assert list(rows.in_order(10)) == list(rows.shuffled(10, 1)) == []


def test_standards_are_those_of_numpy(data_for):
    numeric, label = standards(data_for(Task.REGRESSION).train, SCHEMA, 2.0)
    cells = tiny_matrix()[:ROWS]
    labels = tiny_labels(tiny_matrix(), Task.REGRESSION)[:ROWS]

    off = [np.sqrt(np.nanmean((cells[:, i] - mean) ** 2)) for i, mean in ((0, 0.1), (2, 5.0))]
    assert [one.scale for one in numeric] == pytest.approx(off)
    assert label.scale == pytest.approx(np.sqrt(np.mean((labels - 2.0) ** 2)))


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("file:///a/b", "/a/b"), ("file:/a/b", "/a/b"), ("/a/b", "/a/b"), ("dbfs:/a", "/dbfs/a"),
    ],
)  # fmt: skip
def test_a_folder_is_a_path_on_every_machine(uri, path):
    assert local_path(uri) == path


def test_a_folder_that_no_path_leads_to_is_refused():
    with pytest.raises(EnvironmentProblem, match=r"hdfs://n/a: .*plain files"):
        local_path("hdfs://n/a")
