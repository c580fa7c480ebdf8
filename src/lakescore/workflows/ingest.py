"""Ingest: an append-only Delta copy of files or of a catalog table, each part exactly once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, get_args

from lakescore.errors import UsageError
from lakescore.workflows.run_result import RunResult, Status, recorded_run

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakescore.config.settings import Settings
    from lakescore.lake.copies import IngestOutcome
    from lakescore.lake.ingest import Format

HIVE = "hive:"
_ENDINGS: dict[str, Format] = {
    "csv": "csv", "json": "json", "jsonl": "json", "parquet": "parquet", "orc": "orc",
}  # fmt: skip


def ingest(
    spark: SparkSession,
    settings: Settings,
    *,
    table: str,
    source: str,
    file_format: str | None = None,
) -> RunResult:
    """Append what `source` gained: new files below a path or glob, or partitions of `hive:NAME`.

    Running it again with nothing new says NOTHING_TO_DO. Raises UsageError for an unknown format
    and what `ingest_files` and `ingest_table` raise; then nothing was committed.
    """
    with recorded_run("ingest", table.replace("/", "_"), settings) as run:
        run.command = f"lakescore ingest {table} --from {source}"
        with run.phase("copy"):
            outcome = _copy(spark, settings, table, source, file_format)
        run.counts = {"found": outcome.found, "added": outcome.added, "rows": outcome.rows}
        if outcome.version is None:
            run.details["reason"] = f"all {outcome.found} files or partitions are in {table}"
            return run.finish(Status.NOTHING_TO_DO)
        run.details["table_version"] = outcome.version
        return run.finish(Status.DONE)


def _copy(
    spark: SparkSession, settings: Settings, table: str, source: str, file_format: str | None
) -> IngestOutcome:
    from lakescore.lake.ingest import ingest_files
    from lakescore.lake.ingest_table import ingest_table
    from lakescore.lake.log_stores import check_log_store
    from lakescore.lake.tables import Lake

    target = Lake(settings.lake).table(table)
    check_log_store(spark, target)
    if source.startswith(HIVE):
        return ingest_table(spark, target, source.removeprefix(HIVE))
    return ingest_files(spark, target, source, known_format(source, file_format))


def known_format(source: str, declared: str | None) -> Format:
    """The declared format, or the one of the source's ending. Raises UsageError."""
    from lakescore.lake import ingest as files

    known: tuple[Format, ...] = get_args(files.Format)
    if declared is not None:
        if declared not in known:
            raise UsageError(
                f"'{declared}' is not a file format", hint=f"known: {', '.join(known)}"
            )
        return known[known.index(declared)]
    endings = [suffix.lstrip(".").lower() for suffix in Path(source).suffixes]
    for ending in reversed(endings):
        if ending in _ENDINGS:
            return _ENDINGS[ending]
    raise UsageError(
        "the format of the files cannot be told from their name",
        where=source,
        hint=f"`lakescore ingest` takes it by --format: one of {', '.join(known)}",
    )
