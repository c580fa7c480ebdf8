"""Join context tables to rows as of each row's prediction time.

Rows and context rows are put under each other, sorted by key and time, and read by running
windows: one shuffle for all contexts that join on the same columns of the source, and a cost
that does not depend on how many context rows a window holds (`min` and `max` excepted). Time is
cut into buckets, so that a key with very many rows is spread over many tasks; the end of a
bucket's context rows is repeated in the next one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F

from lakescore.config.base import quoted
from lakescore.config.workload import Context
from lakescore.features.context_checks import check_contexts, place
from lakescore.features.intervals import floor_div, micros
from lakescore.features.lookup import join_lookup
from lakescore.features.resolve import NESTED, col, data_type
from lakescore.features.windows import Timeline, output_types

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

#: A bucket of time is this many times the longest lookback, so that little is repeated.
_BUCKET_LOOKBACKS = 32


def join_as_of(
    rows: DataFrame,
    context: Context,
    frame: DataFrame,
    prediction_time: str | None,
    *,
    name: str = "context",
) -> DataFrame:
    """`rows`, every one exactly once, with the outputs of one context. See `join_contexts`."""
    return join_contexts(rows, {name: context}, {name: frame}, prediction_time)


def join_contexts(
    rows: DataFrame,
    contexts: Mapping[str, Context],
    frames: Mapping[str, DataFrame],
    prediction_time: str | None,
    *,
    spread_by: Sequence[str] = (),
) -> DataFrame:
    """The columns of `rows`, then the outputs of each context, in order of declaration.

    With t the row's prediction time (SQL over `rows`, a timestamp), a context row counts when
    its keys are equal to the row's and ``t - lookback_window < known_at <= t``:

    - `latest` takes all its columns from the row known last; of rows known at the same
      microsecond, from the one with the greatest values (by column name, null is least);
    - an aggregate takes the rows with ``t - over < known_at <= t``. Nulls, and NaN, are left
      out; nothing left gives null, and 0 for `count`. `sum` of integers is a long, `sum` and
      `avg` else doubles, exact before one final rounding (NaN when a value is not finite or
      reaches 2^78);
    - repeated context rows count as often as they are there; rows with a null key or a null
      `known_at` never do. A row with a null key matches nothing (`count` is 0); a row without
      a prediction time has null in all of these.

    A static context is looked up by key. `spread_by` names columns that tell rows apart: those
    that can match nothing are spread over the tasks by them (by all, where none are named).

    Raises ColumnMissing, TypeMismatch, ExpressionRefused,
    UsageError when an output has the name of a column, DuplicateKeys (see `join_lookup`).
    Only the check for duplicate keys runs a job.
    """
    check_contexts(rows, contexts, frames, prediction_time)
    joined = rows
    for names in _groups(contexts):
        timelines = [
            Timeline(f"c{i}_", contexts[one], frames[one], place(one, contexts[one]))
            for i, one in enumerate(names)
        ]
        joined = _join_timelines(joined, timelines, str(prediction_time), spread_by or rows.columns)
    for one, context in contexts.items():
        if context.static:
            joined = join_lookup(joined, context, frames[one], where=place(one, context))
    outputs = [output for context in contexts.values() for output in context.outputs]
    return joined.select(*map(col, [*rows.columns, *outputs]))


def with_output_columns(
    rows: DataFrame, contexts: Mapping[str, Context], frames: Mapping[str, DataFrame]
) -> DataFrame:
    """`rows` with every output there, typed and null: what expressions can be resolved against."""
    outputs = [
        F.lit(None).cast(type_).alias(output)
        for name, context in contexts.items()
        for output, type_ in output_types(context, frames[name], place(name, context)).items()
    ]
    return rows.select("*", *outputs)


@dataclass(frozen=True)
class _Spine:
    """The rows, their columns under numbers, with the key and time that the windows sort by."""

    columns: tuple[str, ...]
    keys: tuple[str, ...]
    spread: tuple[str, ...]

    @property
    def renamed(self) -> list[str]:
        return [f"r{i}" for i in range(len(self.columns))]

    @property
    def key_columns(self) -> list[str]:
        return [f"k{i}" for i in range(len(self.keys))]

    def frame(self, rows: DataFrame, prediction_time: str, bucket: int) -> DataFrame:
        kept = [col(name).alias(new) for name, new in zip(self.columns, self.renamed, strict=True)]
        keys = [col(name).alias(new) for name, new in zip(self.keys, self.key_columns, strict=True)]
        time = F.expr(micros(prediction_time)).alias("t")
        spread = F.xxhash64(*map(col, self.spread)) if self.spread else F.lit(0).cast("long")
        timed = rows.select(*kept, *keys, time, F.lit(True).alias("is_row"), spread.alias("spread"))
        return timed.withColumn("bucket", self._bucket(bucket)).drop("spread")

    def _bucket(self, bucket: int) -> Column:
        """Rows that can match nothing would all share one (null) key: they are spread instead."""
        sortable = [F.col(name).isNotNull() for name in (*self.key_columns, "t")]
        matches = reduce(lambda left, right: left & right, sortable)
        return F.when(matches, F.expr(floor_div("t", bucket))).otherwise(F.col("spread"))


def _join_timelines(
    rows: DataFrame,
    timelines: Sequence[Timeline],
    prediction_time: str,
    spread_by: Sequence[str],
) -> DataFrame:
    spread = [name for name in spread_by if data_type(rows, name).typeName() not in NESTED]
    spine = _Spine(tuple(rows.columns), tuple(timelines[0].context.on), tuple(spread))
    longest = max(timeline.lookback for timeline in timelines)
    bucket = _BUCKET_LOOKBACKS * longest
    lines = spine.frame(rows, prediction_time, bucket)
    for timeline in timelines:
        lines = lines.unionByName(_context_lines(timeline, bucket), allowMissingColumns=True)
    window = Window.partitionBy(*spine.key_columns, "bucket").orderBy("t")
    running = [column for timeline in timelines for column in timeline.running(window)]
    kept = [*spine.renamed, "t", "is_row"]
    seen = lines.select(*kept, *running).where("is_row")
    names = zip(spine.renamed, spine.columns, strict=True)
    restored = [F.col(number).alias(name) for number, name in names]
    outputs = [output for timeline in timelines for output in timeline.outputs()]
    return seen.select(*restored, *outputs)


def _context_lines(timeline: Timeline, bucket: int) -> DataFrame:
    """The context's rows with what the windows read, once for each bucket that may need them."""
    keys = list(timeline.context.on.values())
    lines = timeline.frame.dropna(subset=[*map(quoted, [*keys, str(timeline.context.known_at)])])
    lines = lines.select(
        *(col(key).alias(f"k{i}") for i, key in enumerate(keys)),
        timeline.known.alias("t"),
        *timeline.inputs(),
    )
    first, last = floor_div("t", bucket), floor_div(f"(t + {timeline.lookback - 1}L)", bucket)
    return lines.withColumn("bucket", F.explode(F.expr(f"sequence({first}, {last})")))


def _groups(contexts: Mapping[str, Context]) -> list[list[str]]:
    """The names of the contexts over time, those that join on the same source columns together."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, context in contexts.items():
        if not context.static:
            groups.setdefault(tuple(key.lower() for key in context.on), []).append(name)
    return list(groups.values())
