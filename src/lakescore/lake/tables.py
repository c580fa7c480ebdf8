"""Tables of the lake: a Delta folder below one root, or a name in a catalog."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from lakescore.config.base import quoted
from lakescore.config.settings import LakeSettings
from lakescore.errors import ConfigError, TableNotFound, did_you_mean

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, DataFrameWriter, SparkSession

#: Of a URL, with the colon.
SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*:")
_UNSAFE = re.compile(r"[`;\x00-\x1f]")


def qualified(catalog: str, parts: list[str]) -> list[str]:
    """The parts of a table's full name: a is CATALOG.default.a, a.b is CATALOG.a.b."""
    prefix = {1: [catalog, "default"], 2: [catalog]}
    full = [*prefix.get(len(parts), []), *parts]
    return full[1:] if full[0] == "spark_catalog" else full


@dataclass(frozen=True)
class TableDetail:
    """What Delta says of a table at its newest version; `size` of its `files` is in bytes."""

    table_id: str
    location: str
    partition_columns: tuple[str, ...]
    properties: Mapping[str, str]
    reader_version: int
    writer_version: int
    files: int = 0
    size: int = 0

    @property
    def has_change_feed(self) -> bool:
        return self.properties.get("delta.enableChangeDataFeed", "false").lower() == "true"


@dataclass(frozen=True)
class Table:
    """A Delta table by path or by catalog name; exactly one of `path` and `identifier` is set."""

    name: str
    path: str | None
    identifier: str | None
    root: str | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return self.name

    @property
    def sql_name(self) -> str:
        """The table as it stands in SQL text."""
        return f"delta.{quoted(self.path)}" if self.path is not None else str(self.identifier)

    @property
    def location(self) -> str:
        """Where a message says that the table is."""
        return self.path if self.path is not None else str(self.identifier)

    def find(self, spark: SparkSession) -> TableDetail | None:
        """What Delta says of the table; None where there is no Delta table."""
        from pyspark.sql.utils import AnalysisException

        try:
            # Delta 2.3 fails without a message when it is asked for details of nothing.
            self._frame(spark, None)
            row = spark.sql(f"DESCRIBE DETAIL {self.sql_name}").first()
        except AnalysisException:
            return None
        except Exception as error:
            # Delta 2.3 answers so for a folder that is not there.
            if "NoSuchElementException: None.get" in str(error):
                return None
            raise
        if row is None or row["format"] != "delta":
            return None
        return TableDetail(
            table_id=row["id"],
            location=row["location"],
            partition_columns=tuple(row["partitionColumns"]),
            properties=dict(row["properties"]),
            reader_version=row["minReaderVersion"],
            writer_version=row["minWriterVersion"],
            files=int(row["numFiles"] or 0),
            size=int(row["sizeInBytes"] or 0),
        )

    def detail(self, spark: SparkSession) -> TableDetail:
        """What Delta says of the table. Raises TableNotFound with the tables that are there."""
        found = self.find(spark)
        if found is None:
            raise self._not_found(spark)
        return found

    def exists(self, spark: SparkSession) -> bool:
        return self.find_properties(spark) is not None

    def find_properties(self, spark: SparkSession) -> Mapping[str, str] | None:
        """The table's properties; None where there is no Delta table.

        Unlike `find` this does not read the table's state, whose cost follows its files.
        """
        from pyspark.sql.utils import AnalysisException

        try:
            self._frame(spark, None)
            rows = spark.sql(f"SHOW TBLPROPERTIES {self.sql_name}").collect()
        except AnalysisException:
            return None
        found = {row["key"]: row["value"] for row in rows}
        return found if "delta.minReaderVersion" in found else None

    def properties(self, spark: SparkSession) -> Mapping[str, str]:
        """The table's properties. Raises TableNotFound."""
        found = self.find_properties(spark)
        if found is None:
            raise self._not_found(spark)
        return found

    def read(self, spark: SparkSession, version: int | None = None) -> DataFrame:
        """The rows, at a version if one is given. Raises TableNotFound."""
        from pyspark.sql.utils import AnalysisException

        try:
            return self._frame(spark, version)
        except AnalysisException:
            self.detail(spark)
            raise

    def save(self, writer: DataFrameWriter) -> None:
        """Let a writer of format delta write to the table."""
        if self.path is not None:
            writer.save(self.path)
        else:
            writer.saveAsTable(str(self.identifier))

    def known(self, spark: SparkSession) -> list[str]:
        """Names of the tables beside this one, as they would be written, sorted."""
        if self.path is None:
            return _known_in_catalog(spark, str(self.identifier))
        folder = self.root if self.root is not None else self.path.rpartition("/")[0]
        found = _delta_folders(spark, folder)
        if self.root is None:
            return [f"{folder}/{name}" for name in found]
        return [name.replace("/", ".") for name in found]

    def _frame(self, spark: SparkSession, version: int | None) -> DataFrame:
        if self.path is not None:
            reader = spark.read.format("delta")
            if version is not None:
                reader = reader.option("versionAsOf", version)
            return reader.load(self.path)
        if version is None:
            return spark.table(str(self.identifier))
        statement = f"SELECT * FROM {self.sql_name} VERSION AS OF {int(version)}"  # noqa: S608
        return spark.sql(statement)

    def _not_found(self, spark: SparkSession) -> TableNotFound:
        if self.path is not None and _holds_parquet(spark, self.path):
            return TableNotFound(
                f"{self.location} holds Parquet files but is not a Delta table",
                where=self.name,
                hint="make a Delta copy of the files with `lakescore ingest`",
            )
        return TableNotFound(
            f"there is no Delta table at {self.location}",
            where=self.name,
            hint=did_you_mean(self.name, self.known(spark)),
        )


class Lake:
    """Resolves the table names of workloads.

    'a.b' is ROOT/a/b, or CATALOG.a.b; a name in one part lies in the catalog's `default` schema,
    a name in three parts brings its own catalog. Names of the session's own `spark_catalog` are
    written in two parts, for DESCRIBE DETAIL of Delta 2.3 takes no more. A name with a slash or a
    scheme is a path; relative ones are below the root.
    """

    def __init__(self, settings: LakeSettings) -> None:
        self._catalog = settings.catalog
        self._root = None if settings.root is None else absolute_folder(settings.root)

    def table(self, name: str) -> Table:
        """Raises ConfigError for a name that is empty, unsafe to quote, or leaves the root."""
        if not name.strip() or _UNSAFE.search(name):
            raise ConfigError(f"'{name}' is not a table name: it is empty or has one of ` ;")
        if "/" in name or SCHEME.match(name):
            return Table(name, self._path(name), None)
        parts = name.split(".")
        if len(parts) > 3 or not all(part.strip() for part in parts):
            raise ConfigError(
                f"'{name}' is not a table name",
                hint="one to three parts with dots between, or a path",
            )
        if self._root is not None:
            return Table(name, f"{self._root}/{'/'.join(parts)}", None, self._root)
        return Table(
            name, None, ".".join(quoted(part) for part in qualified(str(self._catalog), parts))
        )

    def _path(self, name: str) -> str:
        if SCHEME.match(name) or name.startswith("/"):
            return name.rstrip("/") or "/"
        if self._root is None:
            raise ConfigError(
                f"'{name}' is a relative path, and tables of this environment are in a catalog",
                hint="write a full path, or a name with dots",
            )
        steps = [step for step in name.split("/") if step not in ("", ".")]
        if ".." in steps:
            raise ConfigError(
                f"'{name}' leads out of the lake ({self._root})", hint="write a full path"
            )
        return "/".join([self._root, *steps])


def absolute_folder(folder: str) -> str:
    """A folder or URL without a trailing slash; a relative local one made absolute."""
    if SCHEME.match(folder):
        return folder.rstrip("/")
    return str(Path(folder).expanduser().absolute()).rstrip("/")


def local_folder(path: str) -> Path | None:
    """The path as one of this machine's file system; None when another file system has it."""
    bare = re.sub(r"^file:/*(?=/)", "", path)
    return None if SCHEME.match(bare) else Path(bare)


def local_files(rows: DataFrame) -> list[str] | None:
    """The data files of a frame over one table, as paths of this machine's file system.

    None where one of them lies elsewhere, like those of a shallow clone may.
    """
    found = [local_folder(path) for path in rows.inputFiles()]
    return None if None in found else [_as_stored(str(path)) for path in found]


def _as_stored(path: str) -> str:
    """Spark's own listings escape a path, Delta's do not."""
    return path if Path(path).exists() else unquote(path)


def _known_in_catalog(spark: SparkSession, identifier: str) -> list[str]:
    from pyspark.sql.utils import AnalysisException

    schema = identifier.rpartition(".")[0]
    try:
        rows = spark.sql(f"SHOW TABLES IN {schema}").select("tableName").limit(200).collect()
    except AnalysisException:
        return []
    return sorted(f"{schema.replace('`', '')}.{row.tableName}" for row in rows)


def _delta_folders(spark: SparkSession, folder: str) -> list[str]:
    """Delta tables up to three levels below a folder, relative to it (at most 200)."""
    local = local_folder(folder)
    if local is not None and local.is_dir():
        logs = [log for depth in range(1, 4) for log in local.glob("*/" * depth + "_delta_log")]
        return sorted(str(log.parent.relative_to(local)) for log in logs)[:200]
    found: set[str] = set()
    for depth in range(1, 4):
        files = _files(spark, f"{folder}/{'*/' * depth}_delta_log/*0.json", 200)
        folders = (file.split("/_delta_log/")[0].split("/") for file in files)
        found |= {"/".join(steps[-depth:]) for steps in folders}
    return sorted(found)


def _holds_parquet(spark: SparkSession, path: str) -> bool:
    local = local_folder(path)
    if local is not None and local.is_dir():
        return next(local.glob("**/*.parquet"), None) is not None
    return bool(_files(spark, f"{path}/*.parquet", 1))


def _files(spark: SparkSession, pattern: str, limit: int) -> list[str]:
    """Files that match, by Spark's own listing, which knows every storage; contents stay unread."""
    from pyspark.sql.utils import AnalysisException

    try:
        listing = spark.read.format("binaryFile").load(pattern)
    except AnalysisException:
        return []
    return [row.path for row in listing.select("path").limit(limit).collect()]
