"""Scored, labelled rows under fixed column names, checked in the pass that counts them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from lakescore.config.base import quoted
from lakescore.errors import (
    ColumnMissing,
    EmptyTable,
    LakescoreError,
    OneClassLabel,
    did_you_mean,
)
from lakescore.evaluation.results import ALL_ROWS
from lakescore.matrix import Task

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from lakescore.evaluation.results import Evaluation

#: The fixed column names.
LABEL, SPLIT = "label", "split"
#: How far probabilities of all classes may be from 1 together.
_SUM_TOLERANCE = 1e-6


def score_column(model: int) -> str:
    """The column of the model at this position."""
    return f"score_{model}"


def confidence_column(model: int) -> str:
    """Of a multiclass model: the probability of the class that it says."""
    return f"confidence_{model}"


def hit_column(model: int) -> str:
    """Of a multiclass model: 1 where the class that it says is the label, else 0."""
    return f"hit_{model}"


def said_column(model: int) -> str:
    """Of a multiclass model: the position of the class that it says."""
    return f"said_{model}"


def require_columns(df: DataFrame, names: Sequence[str], what: str) -> None:
    """Raises ColumnMissing for the first of `names` that `df` lacks."""
    for name in names:
        if name not in df.columns:
            raise ColumnMissing(
                f"{what} needs the column '{name}'", hint=did_you_mean(name, df.columns)
            )


def exact_column(name: str) -> Column:
    """The column of this very name, dots and backticks included."""
    return F.col(quoted(name))


@dataclass(frozen=True)
class ScoredRows:
    """`frame` has `label`, `split` and one `score_<i>` a model (all doubles but the split).

    The score of a multiclass model is the probability of the label's class; `given_<i>` is that
    of each of `classes`, `said_<i>`, `confidence_<i>` and `hit_<i>` are what follows from them.
    """

    frame: DataFrame
    task: Task
    models: tuple[str, ...]
    splits: tuple[str, ...]
    classes: int = 0

    @classmethod
    def of(
        cls,
        df: DataFrame,
        *,
        task: Task,
        label: str,
        scores: Mapping[str, str],
        by: str | None = None,
        splits: Sequence[str] = (),
        keep: Mapping[str, Column] | None = None,
        classes: int = 0,
    ) -> ScoredRows:
        """Rows of `splits` (default: any); `keep` adds columns. Raises ColumnMissing.

        `classes` is how many a multiclass label has; its scores are arrays.
        """
        named = [label, *scores.values(), *([] if by is None else [by])]
        require_columns(df, named, "the evaluation")
        split = F.lit(ALL_ROWS) if by is None else exact_column(by).cast("string")
        columns = {LABEL: exact_column(label).cast("double"), SPLIT: split, **(keep or {})}
        for position, name in enumerate(scores.values()):
            if task is Task.MULTICLASS:
                columns[f"given_{position}"] = exact_column(name)
            else:
                # Adding zero makes -0.0 and 0.0 the same score.
                columns[score_column(position)] = exact_column(name).cast("double") + F.lit(0.0)
        frame = df.select(*[column.alias(name) for name, column in columns.items()])
        if task is Task.MULTICLASS:
            frame = _with_answers(frame, len(scores))
        wanted = F.col(SPLIT).isin(list(splits)) if splits else F.col(SPLIT).isNotNull()
        return cls(frame.where(wanted), task, tuple(scores), tuple(splits), classes)

    @classmethod
    def evaluated(
        cls,
        df: DataFrame,
        evaluation: Evaluation,
        *,
        models: Sequence[str],
        split: str,
        keep: Mapping[str, Column] | None = None,
    ) -> ScoredRows:
        """The rows of one split of an evaluation, as `df` holds them, with some of its models.

        Raises ColumnMissing; LakescoreError for a model or split that was not evaluated.
        """
        for model in models:
            evaluation.result(model, split)
        return cls.of(
            df,
            task=evaluation.task,
            label=evaluation.label,
            scores={model: evaluation.scores[model] for model in models},
            by=evaluation.by,
            splits=[split] if evaluation.by else [],
            keep=keep,
            classes=len(evaluation.classes),
        )

    @property
    def score_columns(self) -> tuple[str, ...]:
        return tuple(score_column(position) for position in range(len(self.models)))

    @property
    def statistic_columns(self) -> tuple[str, ...]:
        """What a bootstrap reads of each row beside its label."""
        if self.task is not Task.MULTICLASS:
            return self.score_columns
        kinds = (score_column, confidence_column, hit_column)
        return tuple(kind(model) for model in range(len(self.models)) for kind in kinds)

    def totals(self, aggregates: Mapping[str, Column]) -> dict[str, dict[str, Any]]:
        """Check every row and aggregate each split, in one pass: split -> name -> value.

        Beside `aggregates` each split has `rows` and `label_sum`. Splits are in the order asked
        for, or by name.
        """
        checks = {**self._label_checks(), **self._score_checks(), **aggregates}
        columns = [column.alias(name) for name, column in checks.items()]
        found = {
            row[SPLIT]: row.asDict() for row in self.frame.groupBy(SPLIT).agg(*columns).collect()
        }
        order = self.splits or tuple(sorted(found))
        _refuse_empty(order, found)
        for split in order:
            self._refuse_bad(split, found[split])
        return {split: found[split] for split in order}

    def _label_checks(self) -> dict[str, Column]:
        label = F.col(LABEL)
        checks = {
            "rows": F.count(F.lit(1)),
            "label_sum": F.sum(label),
            "bad_label": _count(~_is_finite(label)),
        }
        if self._positions:
            allowed = [float(position) for position in range(self._positions)]
            checks["other_label"] = _count(~label.isin(allowed))
        return checks

    @property
    def _positions(self) -> int:
        """A label is one of 0 .. this number - 1; 0 where it is any number."""
        return 2 if self.task is Task.BINARY else self.classes

    def _score_checks(self) -> dict[str, Column]:
        checks = {}
        for position in range(len(self.models)):
            if self.task is Task.MULTICLASS:
                given = F.col(f"given_{position}")
                finite = F.coalesce(F.forall(given, _is_finite), F.lit(False))
                checks[f"bad_{position}"] = _count(~finite)
                checks[f"outside_{position}"] = _count(~_are_probabilities(given, self.classes))
                continue
            score = F.col(score_column(position))
            checks[f"bad_{position}"] = _count(~_is_finite(score))
            if self.task is Task.BINARY:
                checks[f"outside_{position}"] = _count((score < 0) | (score > 1))
        return checks

    def _refuse_bad(self, split: str, totals: Mapping[str, Any]) -> None:
        rows = totals["rows"]
        where = f"split '{split}'"
        if totals["bad_label"]:
            raise LakescoreError(
                f"{totals['bad_label']} of {rows} labels are null, NaN or infinite",
                where=where,
                hint="evaluate labelled rows only: leave out those where the label is null",
            )
        for position, model in enumerate(self.models):
            bad = totals[f"bad_{position}"]
            if bad:
                raise LakescoreError(
                    f"{bad} of {rows} scores of model '{model}' are null, NaN or infinite",
                    where=where,
                    hint="score these rows with the model's own scorer and look at its inputs",
                )
        if self.task is Task.BINARY:
            self._refuse_unfit_for_binary(where, totals)
        if self.task is Task.MULTICLASS:
            self._refuse_unfit_for_classes(where, totals)

    def _refuse_unfit_for_classes(self, where: str, totals: Mapping[str, Any]) -> None:
        rows = totals["rows"]
        if totals["other_label"]:
            raise LakescoreError(
                f"{totals['other_label']} of {rows} labels are not the position of a class",
                where=where,
                hint=f"a multiclass label is 0 to {self.classes - 1}",
            )
        for position, model in enumerate(self.models):
            outside = totals[f"outside_{position}"]
            if outside:
                raise LakescoreError(
                    f"{outside} of {rows} scores of model '{model}' are not {self.classes} "
                    "probabilities that add up to 1",
                    where=where,
                    hint="a multiclass model must give the probability of each class",
                )

    def _refuse_unfit_for_binary(self, where: str, totals: Mapping[str, Any]) -> None:
        rows, positives = totals["rows"], int(totals["label_sum"])
        if totals["other_label"]:
            raise LakescoreError(
                f"{totals['other_label']} of {rows} labels are neither 0 nor 1",
                where=where,
                hint="a binary label is 0 or 1; for a number to predict, use task: regression",
            )
        for position, model in enumerate(self.models):
            outside = totals[f"outside_{position}"]
            if outside:
                raise LakescoreError(
                    f"{outside} of {rows} scores of model '{model}' are outside 0 to 1",
                    where=where,
                    hint="a binary model must give the probability of class 1",
                )
        if positives in (0, rows):
            raise OneClassLabel(
                f"the label has one class: {positives} positive of {rows} rows",
                where=where,
                hint="check the label's expression, or give the split more rows",
            )


def _with_answers(frame: DataFrame, models: int) -> DataFrame:
    """Of equally probable classes the first one is said."""
    for model in range(models):
        given = f"given_{model}"
        said = F.expr(f"array_position({given}, array_max({given})) - 1").cast("double")
        frame = frame.withColumns(
            {
                score_column(model): F.col(given)[F.col(LABEL).cast("int")],
                confidence_column(model): F.array_max(given),
                said_column(model): said,
                hit_column(model): (said == F.col(LABEL)).cast("double"),
            }
        )
    return frame


def _are_probabilities(given: Column, classes: int) -> Column:
    within = F.forall(given, lambda share: (share >= 0) & (share <= 1))
    total = F.aggregate(given, F.lit(0.0), lambda total, share: total + share)
    fits = within & (F.abs(total - 1) <= _SUM_TOLERANCE) & (F.size(given) == classes)
    return F.coalesce(fits, F.lit(False))


def _is_finite(column: Column) -> Column:
    return F.coalesce(F.abs(column) < F.lit(float("inf")), F.lit(False)) & ~F.isnan(column)


def _count(condition: Column) -> Column:
    return F.sum(condition.cast("long"))


def _refuse_empty(wanted: Sequence[str], found: Mapping[str, Any]) -> None:
    if not wanted:
        raise EmptyTable("there are no rows to evaluate", hint="every split is empty")
    empty = [split for split in wanted if split not in found]
    if empty:
        raise EmptyTable(
            f"no rows to evaluate in split '{empty[0]}'",
            hint=f"splits with rows: {', '.join(sorted(found)) or 'none'}",
        )
