"""The training snapshot: pinned rows that keep their contract, with features, label and split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakescore.config.workload import Label, RandomSplit, TimeSplit, Workload
from lakescore.errors import EmptyTable, OneClassLabel, TypeMismatch
from lakescore.matrix import LABEL, SPLIT, Split, Task

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

    from lakescore.config.workload import Feature
    from lakescore.workflows.pins import Pins

#: By what rows without a label are counted.
OUTCOME = "_outcome"
_HASH_STEPS = 10_000


@dataclass(frozen=True)
class SplitCounts:
    """Labelled rows of one split; `label_sum` is the number of positives of a binary label."""

    rows: int
    label_sum: float


@dataclass(frozen=True)
class TrainingSnapshot:
    """The materialised rows: key, kept columns, one column per feature, `_label`, `_split`.

    It is stored below `folder`, partitioned by split, so reading it many times is safe.
    `unlabelled` counts rows without a label by outcome.
    """

    folder: str
    task: Task
    features: tuple[Feature, ...]
    counts: Mapping[str, int]
    splits: Mapping[Split, SplitCounts]
    unlabelled: Mapping[str, int]
    reasons: Mapping[str, int]

    def read(self, spark: SparkSession, *splits: Split) -> DataFrame:
        """Labelled rows of these splits; of all when none is named."""
        from pyspark.sql import functions as F

        rows = spark.read.parquet(self.folder).where(F.col(LABEL).isNotNull())
        return rows.where(F.col(SPLIT).isin([split.value for split in splits])) if splits else rows


def with_label(rows: DataFrame, label: Label, labels: DataFrame | None) -> DataFrame:
    """Add `_label` (as its expression gives it) and `_outcome` to every row; null where unknown.

    `labels` is the label's own table. Raises EmptyTable-like errors never: rows without a match
    simply have no label. A key that stands twice in `labels` would double rows, so it is refused.
    """
    from pyspark.sql import functions as F

    outcome = F.col(_quoted(label.unlabelled_by)) if label.unlabelled_by else F.lit("no label")
    if labels is None:
        return rows.withColumn(LABEL, F.expr(label.expression)).withColumn(OUTCOME, outcome)
    keys = {source: f"_label_key_{i}" for i, source in enumerate(label.on)}
    known = labels.select(
        F.expr(label.expression).alias(LABEL),
        outcome.cast("string").alias(OUTCOME),
        *(F.col(_quoted(label.on[source])).alias(name) for source, name in keys.items()),
    )
    _refuse_doubled_labels(known, list(keys.values()), label)
    matches = [F.col(_quoted(source)) == F.col(name) for source, name in keys.items()]
    return rows.join(known, matches, "left").drop(*keys.values())


def _refuse_doubled_labels(known: DataFrame, keys: Sequence[str], label: Label) -> None:
    doubled = known.groupBy(*keys).count().where("count > 1").count()
    if doubled:
        raise TypeMismatch(
            f"{doubled} keys ({', '.join(label.on.values())}) stand more than once among the "
            "labels; joining them would double rows",
            where=str(label.table),
            hint="make the label's table unique by `label.on`",
        )


def split_column(split: RandomSplit | TimeSplit, key: Sequence[str]) -> Column:
    """Which split a row is in; null for none. A row keeps its split as the table grows."""
    from pyspark.sql import functions as F

    if isinstance(split, TimeSplit):
        return _time_split(split)
    hashed = F.xxhash64(F.lit(split.seed), *(F.col(_quoted(name)).cast("string") for name in key))
    share = F.pmod(hashed, F.lit(_HASH_STEPS)) / _HASH_STEPS
    return (
        F.when(share < split.test, Split.TEST.value)
        .when(share < split.test + split.validation, Split.VALIDATION.value)
        .otherwise(Split.TRAIN.value)
    )


def _time_split(split: TimeSplit) -> Column:
    from pyspark.sql import functions as F

    day = F.to_date(F.expr(split.by))
    column = F.when(day.isNull(), None)
    if split.train_from is not None:
        column = column.when(day < F.lit(split.train_from), None)
    return (
        column.when(day <= F.lit(split.train_until), Split.TRAIN.value)
        .when(day <= F.lit(split.validation_until), Split.VALIDATION.value)
        .when(day <= F.lit(split.test_until), Split.TEST.value)
    )


def infer_task(rows: DataFrame, label: Label) -> Task:
    """The declared task, else by type: boolean or only 0 and 1 is binary, other numbers are not.

    Raises TypeMismatch for a label that is neither a number nor a boolean.
    """
    from pyspark.sql import functions as F
    from pyspark.sql.types import BooleanType, NumericType

    kind = rows.schema[LABEL].dataType
    if not isinstance(kind, (BooleanType, NumericType)):
        raise TypeMismatch(
            f"the label ({label.expression}) is {kind.simpleString()}, expected boolean or number",
            where="label",
            hint="write an expression: {expression: \"churned = 'yes'\"}",
        )
    if label.task is not None:
        return label.task
    if isinstance(kind, BooleanType):
        return Task.BINARY
    other = rows.where(F.col(LABEL).isNotNull() & ~F.col(LABEL).isin(0, 1)).limit(1).count()
    return Task.REGRESSION if other else Task.BINARY


def count_splits(rows: DataFrame, task: Task, where: str) -> dict[Split, SplitCounts]:
    """Labelled rows of each split. Raises EmptyTable and OneClassLabel before anything is fitted."""
    from pyspark.sql import functions as F

    labelled = rows.where(F.col(LABEL).isNotNull())
    counted = labelled.groupBy(SPLIT).agg(
        F.count(F.lit(1)).alias("rows"), F.sum(LABEL).alias("label_sum")
    )
    found = {row[SPLIT]: SplitCounts(row["rows"], row["label_sum"]) for row in counted.collect()}
    for split in Split:
        _check_split(split, found.get(split.value), task, where)
    return {split: found[split.value] for split in Split}


def _check_split(split: Split, counts: SplitCounts | None, task: Task, where: str) -> None:
    if counts is None:
        raise EmptyTable(
            f"the {split.value} split has no labelled rows",
            where=where,
            hint="look at `split` and at how many rows have a label",
        )
    if task is Task.BINARY and counts.label_sum in (0, counts.rows):
        only = "positive" if counts.label_sum else "negative"
        raise OneClassLabel(
            f"all {counts.rows} labels of the {split.value} split are {only}",
            where=where,
            hint="check the label expression, or choose a split with both classes",
        )


def segment_columns(workload: Workload) -> tuple[str, ...]:
    return tuple(name for name in workload.report.segments if name not in workload.source.key)


def _quoted(name: str) -> str:
    return f"`{name.replace('`', '``')}`"
