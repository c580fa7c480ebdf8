"""Scores a frame over Arrow batches: one batch scorer, one thread a task, no JVM objects.

Uses the DataFrame API alone, so that it runs on Spark Connect, shared and serverless compute.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F

import lakescore.errors
from lakescore.config.base import quoted
from lakescore.errors import ColumnMissing, LakescoreError, ModelBroken, UsageError

if TYPE_CHECKING:
    import numpy.typing as npt
    from pyspark.sql import DataFrame

#: Scorers that one Python worker keeps ready; a worker may serve several workloads.
_KEPT_SCORERS = 4
_ready: OrderedDict[str, BatchScorer] = OrderedDict()


class BatchScorer(Protocol):
    """A model that scores record batches: a package, a foreign LightGBM model, a child process.

    It travels to the workers with the task, so it must pickle and build native handles lazily.
    """

    @property
    def sha256(self) -> str:
        """What a Python worker knows it by, so that it is made ready once."""

    @property
    def inputs(self) -> Mapping[str, str]:
        """Column -> Spark type of what `predict` reads."""

    def predict(self, batch: pa.RecordBatch) -> npt.NDArray[np.float64]:
        """One double a row, shape (rows,). Columns are found by name; others are ignored."""

    def compile(self) -> None:
        """Compile for this host, once, where the model can be; else do nothing."""


@dataclass(frozen=True)
class Layout:
    """What a scored batch holds: the kept columns as they came, then the predictions."""

    keep: tuple[str, ...]
    key: tuple[str, ...]
    column: str
    class_column: str | None
    threshold: float
    skip: str | None
    batch_rows: int
    compile: bool


def score_frame(
    df: DataFrame,
    model: BatchScorer,
    *,
    keep: Sequence[str],
    column: str = "prediction",
    class_column: str | None = None,
    threshold: float = 0.5,
    skip: str | None = None,
    key: Sequence[str] = (),
    batch_rows: int = 65_536,
    compile: bool = False,
) -> DataFrame:
    """The `keep` columns of `df`, untouched, then `column` (double) and `class_column` (int).

    `skip` names a column: rows where it is not null get null predictions and are not shown to
    the model. `key` names a row in an error and is part of
    `keep`. `compile` compiles the model on each host first, where it can be.

    Raises ColumnMissing and UsageError at once. ModelBroken is raised by the task for a
    prediction that is not finite; `error_from_task` finds it in what Spark then raises.
    """
    layout = Layout(
        keep=tuple(keep),
        key=tuple(key) or tuple(keep[:1]),
        column=column,
        class_column=class_column,
        threshold=threshold,
        skip=skip,
        batch_rows=batch_rows,
        compile=compile,
    )
    _check(df, model, layout)
    needed = tuple(dict.fromkeys([*keep, *model.inputs, *([skip] if skip else [])]))
    # By position: mapInArrow cannot take a column whose name has a dot or a backtick.
    rows = df.select(*(F.col(quoted(name)).alias(f"c{i}") for i, name in enumerate(needed)))
    schema = df.select(*(quoted(name) for name in keep)).schema.add(column, "double")
    if class_column:
        schema = schema.add(class_column, "integer")
    return rows.mapInArrow(_task(model, layout, needed), schema)


def error_from_task(error: BaseException) -> LakescoreError | None:
    """The lakescore error that a task raised, out of what Spark raised for it; or None."""
    found = re.search(
        r"\blakescore\.errors\.(\w+): (.*?)(?=^\s*$|^\s+at |^\w+(?:\.\w+)+(?:Error|Exception)|\Z)",
        str(error),
        flags=re.DOTALL | re.MULTILINE,
    )
    kind = getattr(lakescore.errors, found[1], None) if found else None
    if found is None or not (isinstance(kind, type) and issubclass(kind, LakescoreError)):
        return None
    what, _, hint = found[2].strip().partition("\n  -> ")
    if kind.__init__ is not LakescoreError.__init__:
        kind = LakescoreError
    return kind(what, hint=hint or None)


def _check(df: DataFrame, model: BatchScorer, layout: Layout) -> None:
    needed = [*layout.keep, *model.inputs, *([layout.skip] if layout.skip else [])]
    missing = sorted(set(needed) - set(df.columns))
    if missing:
        raise ColumnMissing(
            f"the rows to score lack {', '.join(missing)}",
            hint=f"they have: {', '.join(df.columns)}",
        )
    if strangers := sorted(set(layout.key) - set(layout.keep)):
        raise UsageError(f"the key is not kept: {', '.join(strangers)}")
    added = [layout.column, *([layout.class_column] if layout.class_column else [])]
    clashes = {name.lower() for name in layout.keep} & {name.lower() for name in added}
    if clashes or len(set(added)) < len(added):
        raise UsageError(
            f"two output columns would be called {', '.join(sorted(clashes)) or added[0]}",
            hint="change predictions.column or predictions.class_column",
        )


def _task(
    model: BatchScorer, layout: Layout, names: tuple[str, ...]
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def score_partition(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        scorer = made_ready(model, layout.compile)
        for numbered in batches:
            batch = pa.RecordBatch.from_arrays(numbered.columns, names=names)
            for start in range(0, batch.num_rows, layout.batch_rows):
                yield scored(batch.slice(start, layout.batch_rows), scorer, layout)

    return score_partition


def made_ready(model: BatchScorer, compile: bool) -> BatchScorer:
    """The worker's own copy of this model: tasks after the first reuse what it has built."""
    if model.sha256 not in _ready:
        _ready[model.sha256] = model
    _ready.move_to_end(model.sha256)
    while len(_ready) > _KEPT_SCORERS:
        _ready.popitem(last=False)
    scorer = _ready[model.sha256]
    if compile:
        scorer.compile()
    return scorer


def scored(batch: pa.RecordBatch, scorer: BatchScorer, layout: Layout) -> pa.RecordBatch:
    """The batch's kept columns and predictions. Raises ModelBroken for one that is not finite."""
    if layout.skip is None:
        scores = _finite(scorer.predict(batch), batch, layout)
        absent = None
    else:
        wanted = batch.column(layout.skip).is_null().to_numpy(zero_copy_only=False)
        scores = np.zeros(batch.num_rows)
        if wanted.any():
            rows = batch if wanted.all() else batch.filter(pa.array(wanted))
            scores[wanted] = _finite(scorer.predict(rows), rows, layout)
        absent = ~wanted
    columns = [batch.column(name) for name in layout.keep]
    names = [*layout.keep, layout.column]
    columns.append(pa.array(scores, type=pa.float64(), mask=absent))
    if layout.class_column:
        names.append(layout.class_column)
        classes = (scores >= layout.threshold).astype(np.int32)
        columns.append(pa.array(classes, type=pa.int32(), mask=absent))
    return pa.RecordBatch.from_arrays(columns, names=names)


def _finite(
    scores: npt.NDArray[np.float64], batch: pa.RecordBatch, layout: Layout
) -> npt.NDArray[np.float64]:
    if scores.shape != (batch.num_rows,):
        raise ModelBroken(
            f"the model gave an answer of shape {scores.shape} for {batch.num_rows} rows"
        )
    finite = np.isfinite(scores)
    if not finite.all():
        row = int(np.argmin(finite))
        key = ", ".join(f"{name}={batch.column(name)[row].as_py()!r}" for name in layout.key)
        raise ModelBroken(
            f"the prediction is {scores[row]} for the row {key} "
            f"({int((~finite).sum())} such rows in its batch)",
            hint="look at that row with `lakescore preview`; nothing of this run was published",
        )
    return scores
