"""Bootstrap replicates of metrics, added up where the rows are; the driver gets the metrics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from lakescore.arrow_task import map_in_arrow
from lakescore.evaluation.poisson import poisson_weights
from lakescore.evaluation.weighted_metrics import State, Statistic

if TYPE_CHECKING:
    import numpy.typing as npt
    from pyspark.sql import DataFrame

    Batches = Iterator[pa.RecordBatch]

# A task holds the state of this many replicates, however many are asked for.
_REPLICATES_IN_A_JOB = 250
_REPLICATES_IN_A_CHUNK = 10
_MOST_PARTIALS = 64

_PARTIAL = "chunk int, width int, counts binary, sums binary"
_VALUES = "replicate int, metrics binary"


@dataclass(frozen=True)
class Replicates:
    """values: (replicates, models, metrics). unweighted: (models, metrics) of the rows as they
    are, over the same bins. rows: how many there were."""

    values: npt.NDArray[np.float64]
    unweighted: npt.NDArray[np.float64]
    rows: int


def resample(df: DataFrame, statistic: Statistic, *, replicates: int, seed: int) -> Replicates:
    """Bootstrap the metrics of `statistic` on all rows of `df`.

    df: columns key (bigint, a hash of the row's key), label and one score a model, in this order.
    Reads `df` once for every 250 replicates. The order and place of rows change nothing but the
    last bits of sums.
    """
    jobs = [
        _resample(df, statistic, first, min(_REPLICATES_IN_A_JOB, replicates - first), seed)
        for first in range(0, replicates, _REPLICATES_IN_A_JOB)
    ]
    values = np.concatenate([job[1:] for job in jobs])
    return Replicates(values[:, :, 1:], jobs[0][0, :, 1:], int(jobs[0][0, 0, 0]))


def _resample(
    df: DataFrame, statistic: Statistic, first: int, replicates: int, seed: int
) -> npt.NDArray[np.float64]:
    """Rows of weight one, then the replicates; the rows' total weight, then the metrics."""
    added = map_in_arrow(
        df.coalesce(_MOST_PARTIALS),
        partial(_add_rows, statistic, first, replicates, seed),
        _PARTIAL,
    )
    reduced = map_in_arrow(added.repartition("chunk"), partial(_reduce, statistic), _VALUES)
    found = {row["replicate"]: np.frombuffer(row["metrics"]) for row in reduced.collect()}
    values = np.stack([found[replicate] for replicate in range(replicates + 1)])
    return values.reshape(replicates + 1, -1, 1 + len(statistic.metrics))


def _add_rows(
    statistic: Statistic, first: int, replicates: int, seed: int, batches: Batches
) -> Batches:
    """One partition's rows -> its state, in chunks of replicates."""
    state = statistic.zero(replicates + 1)
    for batch in batches:
        key, label, *scores = (column.to_numpy() for column in batch.columns)
        weights = np.ones((replicates + 1, len(label)), dtype=np.uint8)
        weights[1:] = poisson_weights(
            key.view(np.uint64), first=first, replicates=replicates, seed=seed
        )
        statistic.add(state, weights, label, np.stack(scores))
    for chunk, start in enumerate(range(0, replicates + 1, _REPLICATES_IN_A_CHUNK)):
        part = slice(start, start + _REPLICATES_IN_A_CHUNK)
        yield _packed(chunk, State(state.counts[part], state.sums[part]))


def _packed(chunk: int, state: State) -> pa.RecordBatch:
    # Bins are fine, so that most counts fit into a byte or two.
    counts = state.counts.astype(np.min_scalar_type(int(state.counts.max(initial=0))))
    values = {
        "chunk": pa.array([chunk], type=pa.int32()),
        "width": pa.array([counts.itemsize], type=pa.int32()),
        "counts": pa.array([counts.tobytes()], type=pa.binary()),
        "sums": pa.array([state.sums.tobytes()], type=pa.binary()),
    }
    return pa.RecordBatch.from_arrays(list(values.values()), names=list(values))


def _reduce(statistic: Statistic, batches: Batches) -> Batches:
    """The partitions' states of some chunks -> the metrics of their replicates."""
    states: dict[int, State] = {}
    for batch in batches:
        for part in batch.to_pylist():
            _add_packed(statistic, states, part["chunk"], part)
    for chunk, state in states.items():
        yield _metrics(statistic, chunk * _REPLICATES_IN_A_CHUNK, state)


def _add_packed(
    statistic: Statistic, states: dict[int, State], chunk: int, part: dict[str, Any]
) -> None:
    sums = np.frombuffer(part["sums"])
    if chunk not in states:
        terms = statistic.zero(1).sums.shape[1]
        states[chunk] = statistic.zero(len(sums) // terms)
    state = states[chunk]
    counts = np.frombuffer(part["counts"], dtype=f"u{part['width']}")
    state.counts[:] += counts.reshape(state.counts.shape).astype(np.int64)
    state.sums[:] += sums.reshape(state.sums.shape)


def _metrics(statistic: Statistic, first: int, state: State) -> pa.RecordBatch:
    values = statistic.values(state)
    rows = np.broadcast_to(state.sums[:, 0, None, None], (*values.shape[:2], 1))
    blobs = [item.tobytes() for item in np.concatenate([rows, values], axis=2)]
    replicates = np.arange(first, first + len(blobs), dtype=np.int32)
    arrays = [pa.array(replicates), pa.array(blobs, type=pa.binary())]
    return pa.RecordBatch.from_arrays(arrays, names=["replicate", "metrics"])
