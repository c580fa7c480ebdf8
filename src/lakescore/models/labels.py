"""What the labels of a fit are, checked before any engine sees them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakescore.errors import EmptyTable, OneClassLabel, TypeMismatch
from lakescore.matrix import LABEL, Split, Task

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row


@dataclass(frozen=True)
class LabelSummary:
    """One split's labels. `mean`, `low` and `high` are NaN when there are no rows.

    `counts` are the rows of each class of a multiclass label.
    """

    rows: int
    mean: float
    low: float
    high: float
    counts: tuple[int, ...] = ()

    @property
    def varies(self) -> bool:
        return self.rows > 0 and self.low < self.high


@dataclass(frozen=True)
class Labels:
    """The labels of the splits that a fit reads."""

    train: LabelSummary
    validation: LabelSummary


def check_labels(train: DataFrame, validation: DataFrame, task: Task, classes: int = 0) -> Labels:
    """Summarise `_label` of both splits; `classes` as in EncodedData.

    Raises EmptyTable (no training rows), TypeMismatch (null, NaN or infinite labels; binary
    ones other than 0 and 1, multiclass ones other than 0 .. classes - 1) and OneClassLabel
    (training labels that are all the same).
    """
    allowed = {Task.BINARY: 2, Task.MULTICLASS: classes}.get(task, 0)
    labels = Labels(
        _summary(train, Split.TRAIN, allowed, classes),
        _summary(validation, Split.VALIDATION, allowed, classes),
    )
    if labels.train.rows == 0:
        raise EmptyTable("no rows to train on", where="split train")
    if not labels.train.varies:
        raise OneClassLabel(
            f"the label is {labels.train.low:g} in all {labels.train.rows} rows",
            where="split train",
            hint="check label.expression, and that the split leaves several classes in train",
        )
    return labels


def _summary(rows: DataFrame, split: Split, allowed: int, classes: int) -> LabelSummary:
    """One row a partition is collected; the sum is exact whatever order they come in.

    Labels must be among 0 .. allowed - 1, where that is not 0.
    """
    from pyspark.sql import functions as F

    label = F.col(LABEL)
    finite = F.coalesce(F.abs(label) < F.lit(float("inf")), F.lit(False))
    parts = (
        rows.groupBy(F.spark_partition_id())
        .agg(
            F.count(F.lit(1)).alias("rows"),
            F.sum((~finite).cast("long")).alias("not_finite"),
            F.sum((~label.isin([float(code) for code in range(allowed or 1)])).cast("long")).alias(
                "not_allowed"
            ),
            F.sum(F.when(finite, label)).alias("total"),
            F.min(F.when(finite, label)).alias("low"),
            F.max(F.when(finite, label)).alias("high"),
            *(F.count(F.when(label == code, 1)).alias(f"of_{code}") for code in range(classes)),
        )
        .collect()
    )
    _refuse(parts, split, allowed)
    if not parts:
        return LabelSummary(0, math.nan, math.nan, math.nan)
    count = sum(part["rows"] for part in parts)
    return LabelSummary(
        rows=count,
        mean=math.fsum(part["total"] for part in parts) / count,
        low=min(part["low"] for part in parts),
        high=max(part["high"] for part in parts),
        counts=tuple(sum(part[f"of_{code}"] for part in parts) for code in range(classes)),
    )


def _refuse(parts: list[Row], split: Split, allowed: int) -> None:
    where, hint = f"split {split.value}", "check label.expression"
    not_finite = sum(part["not_finite"] for part in parts)
    if not_finite:
        raise TypeMismatch(f"{not_finite} labels are null, NaN or infinite", where=where, hint=hint)
    not_allowed = sum(part["not_allowed"] or 0 for part in parts)
    if allowed == 2 and not_allowed:
        raise TypeMismatch(
            f"{not_allowed} labels of a binary task are neither 0 nor 1", where=where, hint=hint
        )
    if allowed and not_allowed:
        raise TypeMismatch(
            f"{not_allowed} labels are not the position of one of {allowed} classes",
            where=where,
            hint=hint,
        )
