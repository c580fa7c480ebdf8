"""Takes over a predictions table that lakescore did not make: what it must be, how it is marked.

The rows that stood in it have null lineage. The table's own properties say whose they are, so
that this outlives a cleaned history, and a RESTORE takes it back together with the columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from lakescore.config.base import quoted
from lakescore.errors import DuplicateKeys, ForeignTable, LakescoreError
from lakescore.lake.creation import LOG_RETENTION, ROLE, properties_sql
from lakescore.lake.history import metadata_json, parse_metadata, refuse_newer
from lakescore.lake.writes import past_races

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from lakescore.lake.tables import Table

#: The table property that says which workload the rows without lineage belong to.
ADOPTED = "lakescore.adopted"
_PREDICTIONS = "predictions"
_PROTOCOL = re.compile(r"UNSUPPORTED_FEATURES|InvalidProtocolVersion|INVALID_PROTOCOL_VERSION")


@dataclass(frozen=True)
class Adoption:
    """For which workload a table was taken over, and the progress of its starting commit."""

    workload: str
    source_version: int
    source_id: str
    commit_seq: int


def adoption_in(properties: Mapping[str, str]) -> Adoption | None:
    """What the properties say; None for a table that was not adopted. Raises FormatTooNew."""
    found = parse_metadata(properties.get(ADOPTED))
    if not found:
        return None
    refuse_newer(found, f"the table property {ADOPTED}")
    return Adoption(**{field.name: found[field.name] for field in fields(Adoption)})


def adoption_of(properties: Mapping[str, str], workload: str) -> Adoption | None:
    """The adoption by this workload, if it is the one."""
    found = adoption_in(properties)
    return found if found is not None and found.workload == workload else None


def refuse_made_by_lakescore(
    table: Table, properties: Mapping[str, str], workload: str
) -> Adoption | None:
    """The adoption by this workload; None for a table that is free to be adopted.

    Raises ForeignTable for a table that lakescore made, or that another workload adopted.
    """
    adopted = adoption_in(properties)
    if adopted is not None and adopted.workload != workload:
        raise ForeignTable(
            f"workload '{adopted.workload}' adopted it: its rows belong to that one",
            where=table.name,
            hint="score into a table of its own; or into this one without adopting it, where "
            "the rows of both stand side by side",
        )
    if adopted is None and ROLE in properties:
        raise ForeignTable(
            f"there is nothing to adopt: lakescore made it as a {properties[ROLE]} table",
            where=table.name,
            hint=f"lakescore score {workload}",
        )
    return adopted


def refuse_append_only(table: Table, properties: Mapping[str, str]) -> None:
    """Raise ForeignTable for a table in which no prediction could ever be replaced."""
    if properties.get("delta.appendOnly", "false").lower() != "true":
        return
    raise ForeignTable(
        "it is append-only (delta.appendOnly), so that no prediction could be replaced",
        where=table.name,
        hint=f"ALTER TABLE {table.sql_name} UNSET TBLPROPERTIES (delta.appendOnly)",
    )


def check_rows(rows: DataFrame, key: Sequence[str], *, where: str) -> int:
    """How many rows there are, once each has a key of its own and none has a workload's label.

    One shuffle by key. Raises DuplicateKeys with counts, and ForeignTable.
    """
    names = [quoted(name) for name in key]
    labelled = [column for column in rows.columns if column.lower() == "_workload"]
    named = F.count(F.col(labelled[0])) if labelled else F.lit(0)
    by_key = rows.groupBy(*names).agg(F.count(F.lit(1)).alias("_n"), named.alias("_labelled"))
    unnamed = F.greatest(*(F.col(name).isNull() for name in names), F.lit(False))
    doubled = ~unnamed & (F.col("_n") > 1)
    found = by_key.agg(
        F.coalesce(F.sum("_n"), F.lit(0)).alias("rows"),
        F.coalesce(F.sum("_labelled"), F.lit(0)).alias("labelled"),
        F.coalesce(F.sum(F.when(unnamed, F.col("_n"))), F.lit(0)).alias("unnamed"),
        F.count(F.when(doubled, F.lit(1))).alias("keys"),
        F.coalesce(F.sum(F.when(doubled, F.col("_n"))), F.lit(0)).alias("doubled"),
    ).collect()[0]
    if found.labelled:
        raise ForeignTable(
            f"{found.labelled} of its {found.rows} rows say in _workload whose they are",
            where=where,
            hint="a table is adopted whole: name another one, or set _workload to null in them",
        )
    if found.unnamed or found.doubled:
        raise DuplicateKeys(
            f"{found.keys} keys ({', '.join(key)}) stand in {found.doubled} of its {found.rows} "
            f"rows, and {found.unnamed} rows have no key: a workload has one prediction a key",
            where=where,
            hint="delete the rows that no longer count, or name in source.key the columns that "
            "tell the rows apart. A table with every night's scores stays as it is: name a new "
            "predictions.table with `mode: snapshot`",
        )
    return int(found.rows)


def mark_adopted(spark: SparkSession, table: Table, adoption: Adoption) -> None:
    """Mark the table as lakescore's predictions; from here on `score` takes it.

    Its own log retention is kept, if it has one. Raises ForeignTable when another workload was
    faster, and CommitConflict when other writers kept changing the table.
    """

    def mark() -> None:
        properties = table.properties(spark)
        if refuse_made_by_lakescore(table, properties, adoption.workload) is not None:
            return
        declared = {ROLE: _PREDICTIONS, ADOPTED: metadata_json(asdict(adoption))}
        retention = {name: text for name, text in LOG_RETENTION.items() if name not in properties}
        listed = properties_sql({**retention, **declared})
        spark.sql(f"ALTER TABLE {table.sql_name} SET TBLPROPERTIES ({listed})")

    past_races(mark, table)


@contextmanager
def refuse_unwritable(spark: SparkSession, table: Table) -> Iterator[None]:
    """Say in words that this Delta cannot write the table, when the block fails for that.

    Only Delta knows which features it writes, and it refuses before it writes anything.
    """
    try:
        yield
    except LakescoreError:
        raise
    except Exception as error:
        if _PROTOCOL.search(str(error)) is None:
            raise
        detail = table.detail(spark)
        raise ForeignTable(
            f"this Delta cannot write it: its protocol is reader {detail.reader_version}, writer "
            f"{detail.writer_version}: {str(error).strip().splitlines()[0]}",
            where=table.name,
            hint="run where its writers run, or copy the table once (CREATE TABLE … AS SELECT) "
            "and adopt the copy",
        ) from error
