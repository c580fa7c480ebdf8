"""Init: a file becomes a Delta table and a first workload that trains on it."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from lakescore.config.writer import render_workload
from lakescore.errors import ColumnMissing, UsageError, did_you_mean
from lakescore.matrix import Task
from lakescore.workflows.ingest import ingest
from lakescore.workflows.run_result import RunResult, Status, recorded_run
from lakescore.workflows.training_data import infer_task, with_label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import DataFrame, SparkSession

    from lakescore.config.settings import Settings

_CANDIDATES = {
    Task.BINARY: ("lightgbm", "logistic_regression"),
    Task.REGRESSION: ("lightgbm", "linear_regression"),
}
#: Where the days of a time split end, as shares of the rows in order of time.
_SPLIT_AT = (0.7, 0.85, 1.0)


def init(
    spark: SparkSession,
    settings: Settings,
    *,
    name: str,
    source: Path,
    label: str,
    key: Sequence[str],
    conf: Path,
) -> RunResult:
    """Ingest `source` as table NAME and write conf/workloads/NAME.yml; neither replaces anything.

    Raises UsageError when the workload exists, ColumnMissing when the file lacks label or key,
    and what `ingest` raises.
    """
    target = conf / "workloads" / f"{name}.yml"
    if target.exists():
        raise UsageError(
            "the workload exists already", where=str(target), hint="choose another name, or edit it"
        )
    if not source.exists():
        raise UsageError("there is no such file or folder", where=str(source))
    with recorded_run("init", name, settings) as run:
        copied = ingest(spark, settings, table=name, source=str(source))
        run.counts = copied.counts
        text = _workload(spark, settings, name, label, key)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        run.artefacts["workload"] = str(target)
        run.details["reason"] = "look it over: types, split and candidates were inferred"
        return run.finish(Status.DONE, next_command=f"lakescore train {name}")


def _workload(
    spark: SparkSession, settings: Settings, name: str, label: str, key: Sequence[str]
) -> str:
    from lakescore.config.workload import Label
    from lakescore.lake.tables import Lake

    rows = Lake(settings.lake).table(name).read(spark)
    columns = [column for column in rows.columns if not column.startswith("_ingest")]
    for wanted in (label, *key):
        if wanted not in columns:
            raise ColumnMissing(
                f"there is no column '{wanted}'", where=name, hint=did_you_mean(wanted, columns)
            )
    declared = Label.model_validate({"column": label})
    task = infer_task(with_label(rows, declared, None), declared)
    time_column, days = _time_split(rows, key)
    return render_workload(
        name=name,
        table=name,
        key=tuple(key),
        label=label,
        time_column=time_column,
        split_days=days,
        candidates=_CANDIDATES[task],
        predictions_table=f"{name}_predictions",
    )


def _time_split(
    rows: DataFrame, key: Sequence[str]
) -> tuple[str | None, tuple[date, date, date] | None]:
    """The first date or timestamp column that spreads over enough days, and where to cut it."""
    from pyspark.sql import functions as F

    for field in rows.schema:
        if field.dataType.typeName() not in ("date", "timestamp") or field.name in key:
            continue
        day = F.datediff(F.to_date(F.col(f"`{field.name}`")), F.lit("1970-01-01").cast("date"))
        found = rows.agg(F.percentile_approx(day, list(_SPLIT_AT), 10_000).alias("days")).first()
        days = found["days"] if found else None
        if days and days[0] < days[1] < days[2]:
            first, second, last = (date.fromordinal(719_163 + number) for number in days)
            return field.name, (first, second, last)
    return None, None
