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
from pyspark.sql.types import DoubleType, IntegerType, MapType, StringType, StructType

import lakescore.errors
from lakescore.arrow_task import map_in_arrow
from lakescore.config.base import quoted
from lakescore.errors import ColumnMissing, LakescoreError, ModelBroken, UsageError
from lakescore.matrix import Answers

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

    @property
    def answers(self) -> Answers:
        """What `predict` gives for a row."""

    def predict(self, batch: pa.RecordBatch) -> npt.NDArray[np.float64]:
        """Shape (rows, *answers.shape). Columns are found by name; others are ignored."""


@dataclass(frozen=True)
class Layout:
    """What a scored batch holds: the kept columns as they came, then the predictions."""

    keep: tuple[str, ...]
    key: tuple[str, ...]
    column: str
    class_column: str | None
    threshold: float
    probabilities: str | None
    skip: str | None
    batch_rows: int


def prediction_types(
    column: str, class_column: str | None, probabilities: str | None, answers: Answers
) -> StructType:
    """The columns that a prediction makes, in their order, with their types.

    The number (of several classes the probability of the most probable one), its quantiles, the
    class, and the probability of each class.
    """
    schema = StructType()
    for name in (column, *_quantile_columns(column, answers)):
        schema.add(name, DoubleType())
    if class_column is not None:
        schema.add(class_column, StringType() if answers.classes else IntegerType())
    if probabilities is not None:
        schema.add(probabilities, MapType(StringType(), DoubleType()))
    return schema


def score_frame(
    df: DataFrame,
    model: BatchScorer,
    *,
    keep: Sequence[str],
    column: str = "prediction",
    class_column: str | None = None,
    threshold: float = 0.5,
    probabilities: str | None = None,
    skip: str | None = None,
    key: Sequence[str] = (),
    batch_rows: int = 65_536,
) -> DataFrame:
    """The `keep` columns of `df`, untouched, then those of `prediction_types`.

    `skip` names a column: rows where it is not null get null predictions and are not shown to
    the model. `key` names a row in an error and is part of `keep`.

    Raises ColumnMissing and UsageError at once. ModelBroken is raised by the task for a
    prediction that is not finite; `error_from_task` finds it in what Spark then raises.
    """
    layout = Layout(
        keep=tuple(keep),
        key=tuple(key) or tuple(keep[:1]),
        column=column,
        class_column=class_column,
        threshold=threshold,
        probabilities=probabilities,
        skip=skip,
        batch_rows=batch_rows,
    )
    _check(df, model, layout)
    needed = tuple(dict.fromkeys([*keep, *model.inputs, *([skip] if skip else [])]))
    # By position: mapInArrow cannot take a column whose name has a dot or a backtick.
    rows = df.select(*(F.col(quoted(name)).alias(f"c{i}") for i, name in enumerate(needed)))
    kept = df.select(*(quoted(name) for name in keep)).schema
    made = prediction_types(column, class_column, probabilities, model.answers)
    schema = StructType([*kept, *made])
    return map_in_arrow(rows, _task(model, layout, needed), schema)


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
    made = (layout.column, layout.class_column, layout.probabilities)
    check_outputs(layout.keep, *made, model.answers)


def check_outputs(
    kept: Sequence[str],
    column: str,
    class_column: str | None,
    probabilities: str | None,
    answers: Answers,
) -> None:
    """Raises UsageError where two of the columns kept and made share a name.

    And for `probabilities` of a model that names no classes.
    """
    added = prediction_types(column, class_column, probabilities, answers).names
    clashes = {name.lower() for name in kept} & {name.lower() for name in added}
    if clashes or len(set(added)) < len(added):
        raise UsageError(
            f"two output columns would be called {', '.join(sorted(clashes)) or added[0]}",
            hint="change predictions.column, predictions.class_column or predictions.probabilities",
        )
    if not answers.classes:
        refuse_probabilities(probabilities)


def refuse_probabilities(column: str | None) -> None:
    """Raises UsageError where a model that names no classes is to fill a column by class."""
    if column is not None:
        raise UsageError(
            "the model names no classes, so it gives no probability of each",
            where="predictions.probabilities",
            hint="remove that line",
        )


def _task(
    model: BatchScorer, layout: Layout, names: tuple[str, ...]
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def score_partition(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        scorer = made_ready(model)
        for numbered in batches:
            batch = pa.RecordBatch.from_arrays(numbered.columns, names=names)
            for start in range(0, batch.num_rows, layout.batch_rows):
                yield scored(batch.slice(start, layout.batch_rows), scorer, layout)

    return score_partition


def made_ready(model: BatchScorer) -> BatchScorer:
    """The worker's own copy of this model: tasks after the first reuse what it has built."""
    if model.sha256 not in _ready:
        _ready[model.sha256] = model
    _ready.move_to_end(model.sha256)
    while len(_ready) > _KEPT_SCORERS:
        _ready.popitem(last=False)
    return _ready[model.sha256]


def scored(batch: pa.RecordBatch, scorer: BatchScorer, layout: Layout) -> pa.RecordBatch:
    """The batch's kept columns and predictions. Raises ModelBroken for one that is not finite."""
    if layout.skip is None:
        scores = _finite(scorer, batch, layout)
        absent = None
    else:
        wanted = batch.column(layout.skip).is_null().to_numpy(zero_copy_only=False)
        scores = np.zeros((batch.num_rows, *scorer.answers.shape))
        if wanted.any():
            rows = batch if wanted.all() else batch.filter(pa.array(wanted))
            scores[wanted] = _finite(scorer, rows, layout)
        absent = ~wanted
    columns = [batch.column(name) for name in layout.keep]
    made = _of_classes if scorer.answers.classes else _of_numbers
    predictions = made(scores, absent, layout, scorer.answers)
    return pa.RecordBatch.from_arrays(
        [*columns, *predictions.values()], names=[*layout.keep, *predictions]
    )


def _quantile_columns(column: str, answers: Answers) -> list[str]:
    return [f"{column}_{name}" for name in answers.quantile_names]


def _of_numbers(
    scores: npt.NDArray[np.float64],
    absent: npt.NDArray[np.bool_] | None,
    layout: Layout,
    answers: Answers,
) -> dict[str, pa.Array]:
    columns = [layout.column, *_quantile_columns(layout.column, answers)]
    values = scores.reshape(len(scores), len(columns))
    made = {
        name: pa.array(np.ascontiguousarray(values[:, place]), type=pa.float64(), mask=absent)
        for place, name in enumerate(columns)
    }
    if layout.class_column:
        reached = (values[:, 0] >= layout.threshold).astype(np.int32)
        made[layout.class_column] = pa.array(reached, type=pa.int32(), mask=absent)
    return made


def _of_classes(
    scores: npt.NDArray[np.float64],
    absent: npt.NDArray[np.bool_] | None,
    layout: Layout,
    answers: Answers,
) -> dict[str, pa.Array]:
    """The first of equally probable classes counts as the most probable."""
    most = scores.argmax(axis=1)
    names = pa.array(answers.classes, type=pa.string())
    highest = scores[np.arange(len(scores)), most]
    made = {layout.column: pa.array(highest, type=pa.float64(), mask=absent)}
    if layout.class_column:
        made[layout.class_column] = names.take(pa.array(most, mask=absent))
    if layout.probabilities:
        made[layout.probabilities] = _by_class(scores, absent, names)
    return made


def _by_class(
    scores: npt.NDArray[np.float64], absent: npt.NDArray[np.bool_] | None, names: pa.Array
) -> pa.MapArray:
    """A map from class to probability for each row that is not absent."""
    given = scores if absent is None else scores[~absent]
    sizes = np.full(len(scores), len(names)) if absent is None else ~absent * len(names)
    ends = np.append(0, np.cumsum(sizes)).astype(np.int32)
    return pa.MapArray.from_arrays(
        pa.array(ends, mask=None if absent is None else np.append(absent, False)),
        names.take(pa.array(np.tile(np.arange(len(names)), len(given)))),
        pa.array(given.ravel()),
    )


def _finite(scorer: BatchScorer, batch: pa.RecordBatch, layout: Layout) -> npt.NDArray[np.float64]:
    scores = scorer.predict(batch)
    if scores.shape != (batch.num_rows, *scorer.answers.shape):
        raise ModelBroken(
            f"the model gave an answer of shape {scores.shape} for {batch.num_rows} rows"
        )
    finite = np.isfinite(scores)
    if not finite.all():
        by_row = finite.reshape(len(finite), -1).all(axis=1)
        row = int(np.argmin(by_row))
        key = ", ".join(f"{name}={batch.column(name)[row].as_py()!r}" for name in layout.key)
        raise ModelBroken(
            f"the prediction is {scores[row]} for the row {key} "
            f"({int((~by_row).sum())} such rows in its batch)",
            hint="look at that row with `lakescore preview`; nothing of this run was published",
        )
    return scores
