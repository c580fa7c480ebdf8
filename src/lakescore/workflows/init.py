"""Init: a file becomes a Delta table and a first workload that trains on it."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from lakescore.config.base import IDENTIFIER, PATTERN_WORDS, quoted
from lakescore.config.writer import render_workload
from lakescore.errors import ColumnMissing, UsageError, did_you_mean
from lakescore.lake.spark_errors import reading
from lakescore.matrix import Task
from lakescore.workflows.ingest import ingest, known_format
from lakescore.workflows.run_result import RunResult, Status, recorded_run
from lakescore.workflows.training_data import declared_features, infer_task, with_label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import DataFrame, SparkSession

    from lakescore.config.settings import Settings
    from lakescore.config.workload import Label, Workload

_CANDIDATES = {
    Task.BINARY: ("lightgbm", "logistic_regression"),
    Task.MULTICLASS: ("lightgbm",),
    Task.REGRESSION: ("lightgbm", "linear_regression"),
}
#: Where the days of a time split end, as shares of the rows in order of time.
_SPLIT_AT = (0.7, 0.85, 1.0)


def workload_file(conf: Path, name: str, source: Path, key: Sequence[str], label: str) -> Path:
    """Where the new workload goes, once all is checked that can be without Spark.

    Raises UsageError for a name that no workload may have, a workload that exists, a source that
    does not, one whose format is unknown, and a key that is the label or has a column twice.
    """
    if not re.fullmatch(IDENTIFIER, name):
        plain = re.sub(r"\W", "_", name, flags=re.ASCII)
        fits = plain if re.fullmatch(IDENTIFIER, plain) else f"_{plain}"[:128]
        raise UsageError(
            f"'{name}' cannot be a name: it {PATTERN_WORDS[IDENTIFIER]}",
            where="the new workload",
            hint=f"lakescore init {fits} ...",
        )
    target = conf / "workloads" / f"{name}.yml"
    if target.exists():
        raise UsageError(
            "the workload exists already", where=str(target), hint="choose another name, or edit it"
        )
    if not source.exists():
        raise UsageError("there is no such file or folder", where=str(source))
    known_format(str(source), None)
    if len({*key, label}) <= len(key):
        raise UsageError(
            "a column stands twice among --key and --label",
            hint="the key identifies a row, the label is what is predicted",
        )
    return target


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

    `label` is a column, or an expression such as ``churned = 'yes'``. The workload is made from
    the file and loaded before a row is copied. Raises what `workload_file` does, ColumnMissing
    when the file lacks label or key, UsageError for a label of text, TypeMismatch for one of
    another type that is not a number, EmptyTable when nothing can be a feature, and what
    `ingest` raises.
    """
    target = workload_file(conf, name, source, key, label)
    with recorded_run("init", name, settings) as run:
        with run.phase("look"), reading(source):
            text = _workload(spark, name, source, label, key)
        run.counts = ingest(spark, settings, table=name, source=str(source)).counts
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        run.artefacts["workload"] = str(target)
        run.details["reason"] = "look it over: types, split and candidates were inferred"
        return run.finish(Status.DONE, next_command=f"lakescore train {name}")


def _workload(spark: SparkSession, name: str, source: Path, label: str, key: Sequence[str]) -> str:
    """The text of a workload that loads, and that has features in the columns of the file."""
    from lakescore.lake.ingest import read_files
    from lakescore.lake.schemas import check_names_are_plain

    rows = read_files(spark, str(source), known_format(str(source), None))
    check_names_are_plain(rows.columns, where=str(source))
    for wanted in key:
        _refuse_missing(wanted, rows, source)
    declared = _label(rows, label, source)
    time_column, days = _time_split(rows, key)
    text = render_workload(
        name=name,
        table=name,
        key=tuple(key),
        label=label,
        label_is="column" if label in rows.columns else "expression",
        time_column=time_column,
        split_days=days,
        candidates=_CANDIDATES[infer_task(with_label(rows, declared, None), declared)],
        predictions_table=f"{name}_predictions",
    )
    declared_features(_loaded(text, name), rows.schema)
    return text


def _label(rows: DataFrame, label: str, source: Path) -> Label:
    from lakescore.config.workload import Label
    from lakescore.features.resolve import expression_types

    if label not in rows.columns:
        if label.isidentifier():
            _refuse_missing(label, rows, source)
        expression_types(rows, {"--label": label})
        return Label(expression=label)
    _refuse_text(rows, label)
    return Label.model_validate({"column": label})


def _refuse_missing(column: str, rows: DataFrame, source: Path) -> None:
    if column not in rows.columns:
        raise ColumnMissing(
            f"there is no column '{column}'",
            where=str(source),
            hint=did_you_mean(column, rows.columns),
        )


def _refuse_text(rows: DataFrame, label: str) -> None:
    """One of two words is the answer that is to be predicted; its owner alone knows which."""
    from pyspark.sql import functions as F

    if rows.schema[label].dataType.typeName() != "string":
        return
    column = F.col(quoted(label))
    few = rows.where(column.isNotNull()).select(column.alias("value")).distinct().limit(3)
    values = sorted(row["value"] for row in few.collect())
    if len(values) > 2:
        return
    name = label if label.isidentifier() else quoted(label)
    shown = [f"'{value}'" for value in values] if len(values) == 2 else []
    raise UsageError(
        f"the label '{label}' is text{': ' + ' or '.join(shown) if shown else ''}",
        where="--label",
        hint="say which answer is to be predicted: "
        f'--label "{name} = {shown[-1] if shown else "..."}"',
    )


def _loaded(text: str, name: str) -> Workload:
    """The workload as it will be read from its file. Raises ConfigError for what is wrong in it."""
    from lakescore.config.loader import load_workload

    with TemporaryDirectory() as folder:
        file = Path(folder) / "workloads" / f"{name}.yml"
        file.parent.mkdir()
        file.write_text(text, encoding="utf-8")
        return load_workload(Path(folder), name)


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
