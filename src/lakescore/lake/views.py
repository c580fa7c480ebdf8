"""Views, and other tables that cannot be read as of a version: pinned through their base tables.

Such a table has as its version the sum of its base tables' versions. These never go down, so as
long as the definition and the base tables are the same ones, an equal sum says that none of them
moved. Its rows are stored once for the run, between two looks at those versions.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lakescore.config.base import quoted
from lakescore.errors import SourceChanged, TableNotFound, UsageError, VersionUnreadable
from lakescore.hashing import json_sha256
from lakescore.lake.schemas import schema_hash
from lakescore.lake.snapshot import Snapshot
from lakescore.lake.tables import Table, TableDetail

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_TRIES = 3
_DETAILS = "# Detailed Table Information"
#: How Unity Catalog says that a row filter or a column mask forbids time travel.
_FILTERED = re.compile(r"ROW_COLUMN|ROW_FILTER|COLUMN_MASK|row filter|column mask", re.IGNORECASE)


@dataclass(frozen=True)
class ViewSnapshot(Snapshot):
    """A pin whose rows are those of now, until `stored` has them in a folder of the run.

    `bases` are the snapshots that its version is made of; `unpinned` names what it reads that has
    no version: with any, every pin has a new version.
    """

    bases: tuple[Snapshot, ...] = ()
    unpinned: tuple[str, ...] = ()
    folder: str | None = field(default=None, compare=False)

    def read(self, spark: SparkSession) -> DataFrame:
        """The stored rows; the rows of now as long as none are stored."""
        if self.folder is None:
            return self.table.read(spark)
        return spark.read.schema(self.schema).parquet(self.folder)

    def at(self, spark: SparkSession, version: int) -> Snapshot:
        """The same pin when it is of that version. Raises VersionUnreadable."""
        return _of_version(self, version)

    def describe(self) -> dict[str, Any]:
        told: dict[str, Any] = {**super().describe(), "bases": [b.describe() for b in self.bases]}
        return told | ({"unpinned": list(self.unpinned)} if self.unpinned else {})

    def how(self) -> str:
        """For people: what it is pinned by."""
        by = ", ".join(str(base) for base in self.bases) or "no table"
        more = f"; {', '.join(self.unpinned)} cannot be pinned" if self.unpinned else ""
        return f"pinned by {by}{more}; its rows are stored once for the run"

    def stored(self, spark: SparkSession, folder: str) -> ViewSnapshot:
        """Pinned anew, with its rows of that pin in `folder`.

        Raises SourceChanged when its base tables move faster than its rows can be stored.
        """
        for _ in range(_TRIES):
            before = self._again(spark)
            before.table.read(spark).write.mode("overwrite").parquet(folder)
            after = self._again(spark)
            if self.unpinned or before == after:
                return replace(before, folder=folder)
        raise SourceChanged(
            f"its base tables changed each of the {_TRIES} times that its rows were stored",
            where=self.table.name,
            hint="run again when fewer writers are at work; nothing was written",
        )

    def _again(self, spark: SparkSession) -> ViewSnapshot:
        found = find_view(spark, self.table)
        return found or filtered_table(spark, self.table)


def find_view(spark: SparkSession, table: Table, version: int | None = None) -> ViewSnapshot | None:
    """The pin of a view of the catalog; None for anything else.

    Raises VersionUnreadable for another version than that of now.
    """
    described = _described(spark, table)
    if "VIEW" not in described.get("Type", "") or "View Text" not in described:
        return None
    text, namespace = described["View Text"], described.get("View Catalog and Namespace", "")
    bases, unpinned = _bases(spark, text, namespace)
    identity = {
        "text": text,
        "namespace": namespace,
        "bases": [base.table_id for base in bases],
        "unpinned": unpinned,
    }
    found = _pinned(spark, table, json_sha256(identity), tuple(bases), tuple(unpinned))
    return found if version is None else _of_version(found, version)


def is_filtered(error: BaseException | None) -> bool:
    """Whether a row filter or a column mask is why a table cannot be read as of a version."""
    return error is not None and _FILTERED.search(str(error)) is not None


def filtered_table(spark: SparkSession, table: Table) -> ViewSnapshot:
    """The pin of a table that only its newest version can be read of. Raises TableNotFound."""
    from lakescore.lake.history import recent_commits

    detail = table.detail(spark)
    version, schema = recent_commits(spark, table, 1)[0].version, table.read(spark).schema
    itself = Snapshot(table, detail.table_id, version, schema_hash(schema), schema, detail)
    return _pinned(spark, table, detail.table_id, (itself,), ())


def refuse_following(source: Snapshot, mode: str) -> None:
    """Raise UsageError for a mode that follows the commits of its source where it has none."""
    if isinstance(source, ViewSnapshot):
        raise UsageError(
            f"mode {mode} follows the commits of its source, and {source.table.name} cannot be "
            "read as of a version: it is a view, or a table with a row filter",
            where="predictions.mode",
            hint="name its base table under source.table, or take mode snapshot; "
            "lakescore score --full scores every row of it again",
        )


@dataclass(frozen=True)
class NamesIn:
    """What a query reads: `tables`, each as its parts, and table functions as SQL in `others`.

    A name among `withs` may be one of the query's own WITH clauses.
    """

    tables: tuple[tuple[str, ...], ...]
    withs: frozenset[str]
    others: tuple[str, ...] = ()


def names_in(text: str) -> NamesIn | None:
    """What a query reads, by its text; None when that cannot be told."""
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    try:
        query = sqlglot.parse_one(text, dialect="databricks")
    except SqlglotError:
        return None
    if not isinstance(query, exp.Query):
        return None
    tables, others = set(), set()
    for one in query.find_all(exp.Table):
        if isinstance(one.this, exp.Identifier):
            tables.add(tuple(part for part in (one.catalog, one.db, one.name) if part))
        else:
            others.add(one.this.sql(dialect="databricks"))
    withs = frozenset(clause.alias.lower() for clause in query.find_all(exp.CTE))
    return NamesIn(tuple(sorted(tables)), withs, tuple(sorted(others)))


def _bases(spark: SparkSession, text: str, namespace: str) -> tuple[list[Snapshot], list[str]]:
    from lakescore.lake.snapshot import pin

    named = names_in(text)
    if named is None:
        return [], ["what its query reads"]
    bases, unpinned = [], list(named.others)
    for parts in named.tables:
        base = _base(parts, namespace)
        try:
            found = pin(spark, base)
        except TableNotFound:
            # Of another format than Delta, or not to be seen by who reads the view.
            if len(parts) > 1 or parts[0].lower() not in named.withs:
                unpinned.append(base.name)
            continue
        bases.append(found)
        unpinned += found.unpinned if isinstance(found, ViewSnapshot) else ()
    return bases, unpinned


def _base(parts: Sequence[str], namespace: str) -> Table:
    """A table as the view's own query names it."""
    if len(parts) == 2 and parts[0].lower() == "delta" and "/" in parts[1]:
        return Table(parts[1], parts[1], None)
    within = [part.strip("`") for part in namespace.split(".") if part]
    full = [*within[: max(3 - len(parts), 0)], *parts]
    if full[0] == "spark_catalog":
        full = full[1:]
    return Table(".".join(full), None, ".".join(quoted(part) for part in full))


def _pinned(
    spark: SparkSession,
    table: Table,
    table_id: str,
    bases: tuple[Snapshot, ...],
    unpinned: tuple[str, ...],
) -> ViewSnapshot:
    version = time.time_ns() // 1_000_000 if unpinned else sum(base.version for base in bases)
    schema = table.read(spark).schema
    return ViewSnapshot(
        table, table_id, version, schema_hash(schema), schema,
        TableDetail(table_id, table.location, (), {}, 1, 1),
        bases=bases, unpinned=unpinned,
    )  # fmt: skip


def _of_version(found: ViewSnapshot, version: int) -> ViewSnapshot:
    if version == found.version:
        return found
    raise VersionUnreadable(
        f"it is at version {found.version} and cannot be read as it was at {version}: a view, or a "
        "table with a row filter, shows the rows of now",
        where=found.table.name,
        hint="run without the pin to use the rows of now, or name its base table",
    )


def _described(spark: SparkSession, table: Table) -> dict[str, str]:
    """What DESCRIBE TABLE EXTENDED says beyond the columns; empty when there is no such table."""
    from pyspark.sql.utils import AnalysisException

    if table.identifier is None:
        return {}
    try:
        rows = spark.sql(f"DESCRIBE TABLE EXTENDED {table.sql_name}").collect()
    except AnalysisException:
        return {}
    return dict(_details((row["col_name"], row["data_type"]) for row in rows))


def _details(rows: Iterator[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    below = False
    for name, value in rows:
        if below:
            yield name, value or ""
        below = below or name == _DETAILS
