"""The training snapshot: pinned rows that keep their contract, with features, label and split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lakescore.config.base import quoted as _quoted
from lakescore.config.workload import Label, RandomSplit, TimeSplit, Workload
from lakescore.errors import EmptyTable, OneClassLabel, TypeMismatch, UsageError
from lakescore.matrix import LABEL, SPLIT, Split, Task
from lakescore.workflows.predict import feature_inputs
from lakescore.workflows.row_expressions import check_training_rows

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession
    from pyspark.sql.types import StructType

    from lakescore.config.workload import Feature
    from lakescore.workflows.pins import Pins

#: By what rows without a label are counted.
OUTCOME = "_outcome"
#: What a multiclass label may have.
MOST_CLASSES = 256
_HASH_STEPS = 10_000
_WRITE = "write an expression: {expression: \"churned = 'yes'\"}"


@dataclass(frozen=True)
class SplitCounts:
    """Labelled rows of one split; `label_sum` is the number of positives of a binary label.

    A multiclass label has none.
    """

    rows: int
    label_sum: float | None


@dataclass(frozen=True)
class ContractCounts:
    """read = valid + quarantined + duplicates, over the rows that are in a split."""

    read: int
    valid: int
    quarantined: int
    reasons: Mapping[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, int]:
        return {"read": self.read, "valid": self.valid, "quarantined": self.quarantined}


@dataclass(frozen=True)
class TrainingSnapshot:
    """The materialised rows: key, kept columns, features, `_label` (double) and `_split`.

    It is stored below `folder`, so reading it many times is safe. `unlabelled` counts rows
    without a label by outcome. `classes` are those of a multiclass label, in their order; `_label`
    is a position among them.
    """

    folder: str
    task: Task
    key: tuple[str, ...]
    features: tuple[Feature, ...]
    quality: ContractCounts
    splits: Mapping[Split, SplitCounts]
    unlabelled: Mapping[str, int]
    classes: tuple[str, ...] = ()

    def read(self, spark: SparkSession, *splits: Split) -> DataFrame:
        """Labelled rows of these splits; of all when none is named."""
        from pyspark.sql import functions as F

        rows = spark.read.parquet(self.folder).where(F.col(LABEL).isNotNull())
        if self.classes:
            rows = rows.withColumn(LABEL, _position(self.classes))
        return rows.where(F.col(SPLIT).isin([split.value for split in splits])) if splits else rows


def _position(classes: Sequence[str]) -> Column:
    from pyspark.sql import functions as F

    pairs = ((F.lit(name), F.lit(float(place))) for place, name in enumerate(classes))
    return F.create_map(*(cell for pair in pairs for cell in pair))[F.col(LABEL)]


def with_label(rows: DataFrame, label: Label, labels: DataFrame | None) -> DataFrame:
    """Add `_label` (as its expression gives it) and `_outcome` to every row; null where unknown.

    `labels` is the label's own table; rows without a match in it have no label. Raises
    TypeMismatch for a key that stands there twice, which would double rows.
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
    share = _step(hashed) / _HASH_STEPS
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
    """The declared task, else by type.

    A string is multiclass, a boolean or only 0 and 1 is binary, other numbers are neither.
    Raises TypeMismatch for a label that is none of them, and for one of two strings: which of them
    is class 1 is not known.
    """
    from pyspark.sql import functions as F
    from pyspark.sql.types import BooleanType, IntegralType, NumericType, StringType

    kind = rows.schema[LABEL].dataType
    numbers: tuple[type, ...] = (BooleanType, NumericType)
    fitting, expected = {
        None: ((*numbers, StringType), "boolean, number or string"),
        Task.MULTICLASS: ((BooleanType, IntegralType, StringType), "string or whole number"),
    }.get(label.task, (numbers, "boolean or number"))
    if not isinstance(kind, fitting):
        raise TypeMismatch(
            f"the label ({label.expression}) is {kind.simpleString()}, expected {expected}",
            where="label",
            hint=_WRITE,
        )
    if label.task is not None:
        return label.task
    if isinstance(kind, StringType):
        values = rows.where(F.col(LABEL).isNotNull()).select(LABEL).distinct().limit(3).collect()
        if len(values) == 3:
            return Task.MULTICLASS
        shown = " and ".join(sorted(repr(value[LABEL]) for value in values)) or "no value at all"
        raise TypeMismatch(
            f"the label ({label.expression}) has {shown}: which of them is class 1 is not known",
            where="label",
            hint=f"{_WRITE}, or say `task: multiclass`",
        )
    if isinstance(kind, BooleanType):
        return Task.BINARY
    other = rows.where(F.col(LABEL).isNotNull() & ~F.col(LABEL).isin(0, 1)).limit(1).count()
    return Task.REGRESSION if other else Task.BINARY


def count_splits(rows: DataFrame, task: Task, where: str) -> dict[Split, SplitCounts]:
    """Labelled rows of each split. Raises EmptyTable and OneClassLabel, before any fit."""
    from pyspark.sql import functions as F

    labelled = rows.where(F.col(LABEL).isNotNull())
    total = F.lit(None) if task is Task.MULTICLASS else F.sum(LABEL)
    counted = labelled.groupBy(SPLIT).agg(F.count(F.lit(1)).alias("rows"), total.alias("label_sum"))
    found = {row[SPLIT]: SplitCounts(row["rows"], row["label_sum"]) for row in counted.collect()}
    for split in Split:
        _check_split(split, found.get(split.value), task, where)
    return {split: found[split.value] for split in Split}


def find_classes(rows: DataFrame, where: str, *, numbers: bool) -> tuple[str, ...]:
    """The labels of all splits in their order, of `numbers` that of the numbers.

    Raises OneClassLabel for fewer than two and TypeMismatch for more than `MOST_CLASSES`.
    """
    from pyspark.sql import functions as F

    labels = rows.where(F.col(LABEL).isNotNull()).select(LABEL).distinct()
    found = [row[LABEL] for row in labels.limit(MOST_CLASSES + 1).collect()]
    if len(found) < 2:
        raise OneClassLabel(
            f"the label is {found[0]!r} in all rows" if found else "no row has a label",
            where=where,
            hint="check label.expression",
        )
    if len(found) > MOST_CLASSES:
        raise TypeMismatch(
            f"the label has more than {MOST_CLASSES} values, too many to tell apart",
            where=where,
            hint="group the rare ones in label.expression; a number to predict is `task: "
            "regression`",
        )
    return tuple(sorted(found, key=int if numbers else None))


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


def valid_rows(spark: SparkSession, workload: Workload, pins: Pins) -> DataFrame:
    """The source's rows with CONTRACT_COLUMNS and `_split`, of those that are in a split.

    The workload's expressions must resolve: see `check_training_rows`.
    """
    from pyspark.sql import functions as F

    from lakescore.lake.contract import with_reasons
    from lakescore.lake.survey import survey

    source, split = workload.source, workload.split
    rows = pins.source.read(spark)
    features = declared_features(workload, pins.source.schema)
    used = feature_inputs(features, workload.context, _beside_features(workload))
    if split is None:
        raise UsageError(f"workload '{workload.name}' has no split", where="split")
    present = [name for name in used if name in rows.columns]
    repeats = survey(rows, source.key).repeats
    judged = with_reasons(rows, source, in_use=present, repeats=repeats)
    placed = judged.withColumn(SPLIT, split_column(split, source.key))
    return placed.where(F.col(SPLIT).isNotNull())


def _beside_features(workload: Workload) -> list[str]:
    """What else of a row matters in training: segments, and a label in the row itself."""
    from lakescore.config.expressions import check_expression

    label = workload.label
    own = check_expression(label.expression, where="label") if label and not label.table else ()
    return [*workload.report.segments, *sorted(own)]


def materialise(
    spark: SparkSession,
    workload: Workload,
    pins: Pins,
    folder: str,
    *,
    sample: float | None = None,
) -> TrainingSnapshot:
    """Read the pins once and store what training needs below `folder`.

    `sample` takes a share of the rows by a hash of the key. Raises what `check_training_rows`, the
    contract, the joins and the label's checks raise.
    """
    from pyspark.sql import functions as F

    from lakescore.features.sql_stage import feature_frame
    from lakescore.lake.contract import CONTRACT_COLUMNS, is_valid

    source, label = workload.source, workload.label
    if label is None:
        raise UsageError(f"workload '{workload.name}' has no label", where="label")
    features = declared_features(workload, pins.source.schema)
    check_training_rows(spark, workload, pins, features)
    judged = _sampled(valid_rows(spark, workload, pins), source.key, sample)
    quality = _checked_quality(judged, workload, pins)
    valid = judged.where(is_valid()).drop(*CONTRACT_COLUMNS)
    labelled = with_label(valid, label, pins.label.read(spark) if pins.label else None)
    task = infer_task(labelled, label)
    several = task is Task.MULTICLASS
    numbers = labelled.schema[LABEL].dataType.typeName() in ("byte", "short", "integer", "long")
    labelled = labelled.withColumn(LABEL, F.col(LABEL).cast("string" if several else "double"))
    keep = dict.fromkeys([*source.key, *workload.report.segments, LABEL, SPLIT, OUTCOME])
    featured = feature_frame(
        labelled,
        source=source,
        contexts=workload.context,
        frames=pins.frames(spark),
        features=features,
        keep=tuple(keep),
    )
    stored = _store(featured, folder, source.key)
    table = str(pins.source)
    return TrainingSnapshot(
        folder=folder,
        task=task,
        key=source.key,
        features=features,
        quality=quality,
        splits=count_splits(stored, task, table),
        unlabelled=_count_unlabelled(stored),
        classes=find_classes(stored, table, numbers=numbers) if several else (),
    )


def declared_features(workload: Workload, schema: StructType) -> tuple[Feature, ...]:
    """The features as listed, or those that `all` stands for in a source of this schema."""
    from lakescore.config.expressions import check_expression
    from lakescore.features.sql_stage import infer_features

    if isinstance(workload.features, tuple):
        return workload.features
    source, label = workload.source, workload.label
    left_out = {*source.key, *source.columns_known_at, *source.columns_known_at.values()}
    left_out |= {source.known_at} if source.known_at else set()
    if label is not None and label.table is None:
        left_out |= check_expression(label.expression, where="label")
        left_out |= {label.unlabelled_by} if label.unlabelled_by else set()
    found = infer_features(schema, left_out)
    if not found:
        raise EmptyTable(
            "no column is left to be a feature",
            where=source.table,
            hint="`features: all` takes numbers, booleans and strings",
        )
    return found


def _sampled(rows: DataFrame, key: Sequence[str], share: float | None) -> DataFrame:
    from pyspark.sql import functions as F

    if share is None:
        return rows
    hashed = F.xxhash64(F.lit("sample"), *(F.col(_quoted(name)).cast("string") for name in key))
    return rows.where(_step(hashed) < share * _HASH_STEPS)


def _step(hashed: Column) -> Column:
    """The hash modulo `_HASH_STEPS`, never negative. Spark 3.3 has `pmod` in SQL only."""
    return (hashed % _HASH_STEPS + _HASH_STEPS) % _HASH_STEPS


def _checked_quality(judged: DataFrame, workload: Workload, pins: Pins) -> ContractCounts:
    from pyspark.sql import functions as F

    from lakescore.lake.contract import COPIES, check_bounds, is_valid, top_reasons

    refused = F.when(~is_valid(), F.lit(1))
    counted = judged.agg(
        F.coalesce(F.sum(COPIES), F.lit(0)).alias("read"),
        F.count(F.when(is_valid(), F.lit(1))).alias("valid"),
        F.count(refused).alias("quarantined"),
    ).collect()[0]
    where = str(pins.source)
    if counted["read"] == 0:
        raise EmptyTable(
            "no row is in any split",
            where=where,
            hint="the table is empty, or `split` fits none of its rows",
        )
    reasons = top_reasons(judged) if counted["quarantined"] else {}
    bounds = workload.source.max_quarantined
    check_bounds(counted["read"], counted["quarantined"], bounds, where=where, reasons=reasons)
    return ContractCounts(counted["read"], counted["valid"], counted["quarantined"], reasons)


def _store(featured: DataFrame, folder: str, key: Sequence[str]) -> DataFrame:
    """Written in an order that depends on the rows alone, so that equal pins train equally."""
    spark = featured.sparkSession
    columns = [_quoted(name) for name in key]
    parts = int(spark.conf.get("spark.sql.shuffle.partitions", "4"))
    ordered = featured.repartition(parts, *columns).sortWithinPartitions(*columns)
    ordered.write.mode("overwrite").parquet(folder)
    return spark.read.schema(featured.schema).parquet(folder)


def _count_unlabelled(stored: DataFrame) -> dict[str, int]:
    from pyspark.sql import functions as F

    missing = stored.where(F.col(LABEL).isNull())
    outcome = F.coalesce(F.col(OUTCOME).cast("string"), F.lit("not known yet"))
    counted = missing.groupBy(outcome.alias("outcome")).count()
    return {row["outcome"]: row["count"] for row in counted.limit(50).collect()}
