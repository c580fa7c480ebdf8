"""The data contract of a source: which rows may be scored, and why the others may not."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

from pyspark.sql import Column, Window
from pyspark.sql import functions as F

from lakescore.config.base import format_duration, quoted
from lakescore.config.workload import QuarantineBounds, Source
from lakescore.errors import ColumnMissing, ContractViolated, TypeMismatch, did_you_mean
from lakescore.lake.canonical import content_hash, row_hash, row_json
from lakescore.lake.schemas import INGEST

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.types import DataType

#: What `with_reasons` adds. The hashes, `_key` and `_payload` are null for valid rows.
REASONS, COPIES, ROW_HASH, KEY, PAYLOAD = "_reasons", "_copies", "_row_hash", "_key", "_payload"
CONTENT_HASH = "_content_hash"
CONTRACT_COLUMNS = (REASONS, COPIES, ROW_HASH, CONTENT_HASH, KEY, PAYLOAD)

#: Beside the rows of an upsert: what the source did to each. Only SCORE is judged and scored;
#: the others are there to take an earlier prediction away.
CHANGE = "_change"
SCORE, DELETED, OUT_OF_SCOPE = "score", "deleted", "out_of_scope"

_NOTHING = "nothing was written"
_CONFLICT = "duplicate key with different values"


def check_schema(
    df: DataFrame,
    source: Source,
    needed: Iterable[str],
    *,
    where: str,
    types: Mapping[str, str] | None = None,
) -> None:
    """Raise ColumnMissing or TypeMismatch unless the frame can be scored under the contract.

    `needed` are columns beyond those that the source's own declarations name; `types` maps a
    column to the Spark type (as in DESCRIBE, like 'bigint') that a model was trained on.
    """
    declared = [name for name in (source.known_at, *source.columns_known_at) if name]
    times = [name for name in (source.known_at, *source.columns_known_at.values()) if name]
    _check_present(df, [*source.key, *source.columns, *declared, *times, *needed], where)
    _check_declared_types(df, source, where)
    _check_key_types(df, source.key, where)
    for name in times:
        _check_kind(df, quoted(name), ("timestamp", "timestamp_ntz", "date"), f"'{name}'", where)
    if source.prediction_time is not None:
        kinds = ("timestamp", "timestamp_ntz", "date")
        _check_kind(df, source.prediction_time, kinds, "source.prediction_time", where)
    for name, expression in source.expectations.items():
        _check_kind(df, expression, ("boolean",), f"expectation '{name}'", where)
    _check_types(df, types or {}, where)


def with_reasons(
    rows: DataFrame,
    source: Source,
    *,
    in_use: Sequence[str] | None = None,
    masked: Collection[str] = (),
    repeats: bool = True,
    recent: DataFrame | None = None,
) -> DataFrame:
    """The rows with CONTRACT_COLUMNS: why each may not be scored, or an empty array.

    `in_use` are the columns that a prediction is made of (all but `_ingest`, when None; keys
    always are): NaN is judged in these alone, and rows in which they are the same count as copies
    of one row: one is kept, and `_copies` (bigint) says for how many it stands. Rows that share a
    key but differ are all refused. `_reasons` is array<string>, `_row_hash` the SHA-256 of the
    columns in use, `_key` and `_payload` the key and the whole row as JSON, with the columns in
    `masked` made unreadable.

    `_content_hash` is the SHA-256 of the whole row (all but `_ingest`), by which a row without a
    key is found again when it is deleted: the columns in use are another model's by then. So of
    rows without a key only those that are wholly alike count as copies. Neither hash covers
    `masked` columns: beside the rest of the row, a hash of few possible values gives them away.

    `recent` has the keys that were predicted within `source.unique_within`, each once: rows under
    one of them are refused.

    Only where a key `repeats` (as `survey` says) are the rows shuffled.
    """
    own = [name for name in rows.columns if name != CHANGE]
    every = [name for name in own if name != INGEST]
    used = every if in_use is None else list(dict.fromkeys([*source.key, *in_use]))
    whole = whole_content(rows, masked)
    checked = rows.withColumn(REASONS, _reasons(rows, source, used))
    if recent is not None and source.unique_within is not None:
        checked = _refuse_recent(checked, source.key, recent, source.unique_within)
    if repeats:
        # Rows that are alike in what is used, of which one is refused for another column, differ.
        alike = F.sha2(F.concat_ws(" ", row_hash(rows, used), F.col(REASONS)), 256)
        content = F.when(_has_no_key(source.key), whole).otherwise(alike)
        judged = _collapse_copies(checked, source.key, content)
    else:
        judged = checked.withColumn(COPIES, F.lit(1).cast("bigint"))
    refused = F.size(F.col(REASONS)) > 0
    return (
        judged.withColumn(ROW_HASH, F.when(refused, row_hash(rows, _without(used, masked))))
        .withColumn(CONTENT_HASH, F.when(refused, whole))
        .withColumn(KEY, F.when(refused, row_json(rows, source.key)))
        .withColumn(PAYLOAD, F.when(refused, row_json(rows, own, masked=masked)))
    )


def whole_content(rows: DataFrame, masked: Collection[str] = ()) -> Column:
    """What `_content_hash` of a row of the source is."""
    return content_hash(rows, _without(rows.columns, (INGEST, CHANGE, *masked)))


def _without(names: Sequence[str], left_out: Collection[str]) -> list[str]:
    hidden = {name.lower() for name in left_out}
    return [name for name in names if name.lower() not in hidden]


def _has_no_key(key: Sequence[str]) -> Column:
    return F.greatest(*(F.col(quoted(name)).isNull() for name in key), F.lit(False))


def is_valid() -> Column:
    """True for the rows that `with_reasons` found nothing against."""
    return F.size(F.col(REASONS)) == 0


def in_scope(where: str | None) -> Column:
    """The condition of `predictions.where`; null counts as not in scope."""
    return F.lit(True) if where is None else F.coalesce(F.expr(where), F.lit(False))


def top_reasons(judged: DataFrame, limit: int = 5) -> dict[str, int]:
    """How many rows each reason refuses, the most frequent first."""
    reasons = judged.select(F.explode(REASONS).alias("reason")).groupBy("reason").count()
    ordered = reasons.orderBy(F.col("count").desc(), "reason").limit(limit).collect()
    return {row["reason"]: row["count"] for row in ordered}


def check_bounds(
    read: int,
    quarantined: int,
    bounds: QuarantineBounds,
    *,
    where: str,
    reasons: Mapping[str, int] | None = None,
    before: int = 0,
) -> None:
    """Raise ContractViolated when more rows are refused than the workload allows.

    `before` is how many commits the run made already: these stand.
    """
    over_share = read > 0 and quarantined > bounds.share * read
    over_count = bounds.count is not None and quarantined > bounds.count
    if not over_share and not over_count:
        return
    allowed = [f"{bounds.share:.2%}"] if over_share else []
    allowed += [f"{bounds.count} rows"] if over_count else []
    named = "; ".join(f"{reason}: {count}" for reason, count in (reasons or {}).items())
    left = f"the run stops after its {before} commits, which stand" if before else _NOTHING
    raise ContractViolated(
        f"{quarantined} of {read} rows break the data contract, more than the allowed "
        f"{' and '.join(allowed)}; {left}" + (f" ({named})" if named else ""),
        where=where,
        hint="mend the rows at their source, or change source.expectations or "
        "source.max_quarantined",
    )


def _check_present(df: DataFrame, names: Iterable[str], where: str) -> None:
    present = {name.lower() for name in df.columns}
    missing = [name for name in dict.fromkeys(names) if name.lower() not in present]
    if not missing:
        return
    listed = ", ".join(f"'{name}'" for name in missing)
    raise ColumnMissing(
        f"missing: {listed}; present: {', '.join(df.columns)}",
        where=where,
        hint=did_you_mean(missing[0], df.columns),
    )


def _check_declared_types(df: DataFrame, source: Source, where: str) -> None:
    found = {field.name.lower(): field.dataType.simpleString() for field in df.schema}
    differing = [
        f"'{name}' is {found[name.lower()]}, source.columns says {column.type}"
        for name, column in source.columns.items()
        if column.type not in (None, found[name.lower()].lower())
    ]
    if differing:
        raise TypeMismatch(
            "; ".join(differing),
            where=where,
            hint="cast the column at its source, or declare the type that it has",
        )


def _check_key_types(df: DataFrame, key: Iterable[str], where: str) -> None:
    nested = [
        f"'{name}' is {text}"
        for name in key
        if (text := _type_of(df, quoted(name)).simpleString()).startswith(
            ("array", "map", "struct")
        )
    ]
    if nested:
        raise TypeMismatch(
            f"a key must be plain values: {', '.join(nested)}",
            where=where,
            hint="use columns that identify the row by a number, text or time",
        )


def _check_kind(df: DataFrame, sql: str, kinds: Sequence[str], what: str, where: str) -> None:
    from pyspark.sql.utils import AnalysisException

    try:
        found = _type_of(df, sql).simpleString()
    except AnalysisException as error:
        raise ColumnMissing(
            f"{what} ({sql}) does not resolve: {str(error).strip().splitlines()[0]}",
            where=where,
            hint=f"present: {', '.join(df.columns)}",
        ) from error
    if found not in kinds:
        raise TypeMismatch(
            f"{what} ({sql}) is {found}, expected {kinds[0]}",
            where=where,
            hint=f"write an expression that gives a {kinds[0]}",
        )


def _check_types(df: DataFrame, types: Mapping[str, str], where: str) -> None:
    found = {field.name.lower(): field.dataType.simpleString() for field in df.schema}
    differing = [
        f"'{name}' is {found[name.lower()]}, the model was trained on {expected}"
        for name, expected in types.items()
        if found.get(name.lower(), expected) != expected
    ]
    if differing:
        raise TypeMismatch(
            "; ".join(differing),
            where=where,
            hint="cast the column at its source, or train again on the new type",
        )


def _type_of(df: DataFrame, sql: str) -> DataType:
    return df.select(F.expr(sql).alias("value")).schema[0].dataType


def _reasons(rows: DataFrame, source: Source, used: Sequence[str]) -> Column:
    """array<string>: what is wrong with a row taken by itself.

    Of a row that breaks nothing no array is built: nearly all rows are such.
    """
    broken = list(_checks(rows, source, used))
    said = F.array(*(F.when(condition, reason) for condition, reason in broken))
    none = F.array(F.lit(None).cast("string"))
    found = F.array_except(said, none)
    any_broken = reduce(or_, (condition for condition, _ in broken), F.lit(False))
    return F.when(any_broken, found).otherwise(F.array_except(none, none))


def _checks(
    rows: DataFrame, source: Source, used: Sequence[str]
) -> Iterator[tuple[Column, Column]]:
    """What a row may break: a condition that is never null, and what is said where it is true."""
    for name in source.key:
        yield F.col(quoted(name)).isNull(), F.lit(f"key {name} is null")
    if source.prediction_time is not None:
        yield F.expr(source.prediction_time).isNull(), F.lit("prediction time is null")
    for name in _without(source.required, source.key):
        yield F.col(quoted(name)).isNull(), F.lit(f"{name} is null")
    for name, expression in source.expectations.items():
        met = F.coalesce(F.expr(expression), F.lit(False))
        yield ~met, F.lit(f"expectation '{name}' failed")
    if source.nan == "quarantine":
        for name in float_columns(rows, used):
            yield is_not_finite(name), F.lit(f"{name} is NaN or infinite")
    if CHANGE in rows.columns:
        yield F.col(CHANGE) != SCORE, F.col(CHANGE)


def _refuse_recent(
    checked: DataFrame, key: Sequence[str], recent: DataFrame, within: timedelta
) -> DataFrame:
    """One reason more for the rows whose key is among those of `recent`."""
    names = {name: f"_recent_{place}" for place, name in enumerate(key)}
    keys = recent.select(*(F.col(quoted(name)).alias(alias) for name, alias in names.items()))
    same = [F.col(quoted(name)) == F.col(alias) for name, alias in names.items()]
    reason = F.array(F.lit(f"key was predicted within {format_duration(within)}"))
    found = F.col(names[key[0]]).isNotNull()
    reasons = F.when(found, F.concat(F.col(REASONS), reason)).otherwise(F.col(REASONS))
    joined = checked.join(keys, same, "left")
    return joined.withColumn(REASONS, reasons).drop(*names.values())


def float_columns(rows: DataFrame, used: Sequence[str]) -> list[str]:
    """Of the columns `used` those that may hold NaN."""
    names = {name.lower() for name in used}
    return [
        field.name
        for field in rows.schema
        if field.name.lower() in names and field.dataType.simpleString() in ("float", "double")
    ]


def is_not_finite(name: str) -> Column:
    """True for NaN and infinity; false for null."""
    value = F.col(quoted(name)).cast("double")
    return F.coalesce(F.isnan(value) | (F.abs(value) == F.lit(float("inf"))), F.lit(False))


def told_apart_by(rows: DataFrame, key: Sequence[str]) -> list[str]:
    """The key's columns: of changed rows only like is compared with like."""
    return [*key, CHANGE] if CHANGE in rows.columns else list(key)


def _collapse_copies(checked: DataFrame, key: Sequence[str], content: Column) -> DataFrame:
    """One row per key and content, with `_copies`; keys with several contents get a reason.

    One shuffle, by key. Rows without a key go by their content, so that they spread.
    """
    keyed = checked.withColumn(ROW_HASH, content)
    groups = [F.col(quoted(name)) for name in told_apart_by(checked, key)]
    spread = F.when(_has_no_key(key), F.col(ROW_HASH))
    by_content = Window.partitionBy(*groups, spread).orderBy(ROW_HASH)
    whole = by_content.rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)
    peers = by_content.rangeBetween(Window.currentRow, Window.currentRow)
    conflicting = F.first(ROW_HASH).over(whole) != F.last(ROW_HASH).over(whole)
    judged = (
        keyed.withColumn("_conflicting", conflicting)
        .withColumn(COPIES, F.count(F.lit(1)).over(peers).cast("bigint"))
        .withColumn("_is_first", F.row_number().over(by_content) == F.rank().over(by_content))
        .where("_is_first")
    )
    reasons = F.when(
        F.col("_conflicting"), F.concat(F.col(REASONS), F.array(F.lit(_CONFLICT)))
    ).otherwise(F.col(REASONS))
    return judged.withColumn(REASONS, reasons).drop("_conflicting", "_is_first")
