"""What well-known Spark failures mean: files that are missing, corrupt or of another shape, and
disks that take none.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote

from lakescore.errors import (
    ColumnMissing,
    CorruptFile,
    EnvironmentProblem,
    LakescoreError,
    TypeMismatch,
)

# Paths may hold blanks, so each pattern says what ends one.
_PATH = r"(?:[a-z][a-z0-9+.-]*:)?/[^\n:]*?"
_NOT_PARQUET = re.compile(
    rf"(?P<a>{_PATH}) is not a Parquet file"
    r"|Could not read footer for file:? (?:FileStatus\{path=)?(?P<b>[^\n;]+?)(?:;|\. Please|\n|$)"
    r"|Malformed ORC file (?P<c>[^\n]+?)(?:\. Invalid|\n|$)"
    r"|ChecksumException: Checksum error: (?P<d>[^\n]+?) at \d+ exp"
)
_MISSING = re.compile(
    rf"File (?P<a>{_PATH}) (?:does not exist|referenced in the transaction log cannot be found)"
    rf"|FileNotFoundException:?\s+(?:File )?(?P<b>{_PATH})(?: \(| does not exist|\n|$)"
    rf"|Path does not exist: (?P<c>{_PATH})(?:\.?\n|\.?$|;)"
)
_OTHER_TYPES = re.compile(
    r"Parquet column cannot be converted in file (?P<a>[^\n]+?)\. "
    r"Column: (?P<column>\[[^\]]*\]), Expected: (?P<expected>[^\n]+?), Found: (?P<found>\w+)"
)
_CSV_HEADER = re.compile(
    r"CSV header does not conform to the schema\.\s*(?P<detail>.*?)CSV file: (?P<a>[^\n]+)",
    re.DOTALL,
)
_CSV_COLUMNS = re.compile(
    r"(?P<detail>Number of column in CSV header.*?)CSV file: (?P<a>[^\n]+)", re.DOTALL
)
_MALFORMED = re.compile(r"[Mm]alformed records? (?:is|are) detected")
_WHILE_READING = re.compile(
    r"(?:Encountered error|Error) while reading file (?P<a>[^\n]+?)(?:\. Details|\.?\n|\.?$)"
)
_DISK_FULL = re.compile(r"No space left on device|Disk quota exceeded")
_FORBIDDEN = re.compile(
    rf"(?P<a>{_PATH})(?::| \()\s?(?P<why>Read-only file system|Permission denied)"
)
_GONE = re.compile(r"FileNotFoundException|DELTA_FILE_NOT_FOUND|does not exist")


def translate_spark_error(error: BaseException, where: str) -> LakescoreError | None:
    """The lakescore error that a Spark failure stands for; None when it is not a known one.

    `where` is the table (and version) that was being read. Reads the exception's text only,
    which is all that py4j and Spark Connect have in common.
    """
    if isinstance(error, OSError):
        return _of_the_disk(error, where)
    if not type(error).__module__.startswith(("pyspark", "py4j", "delta")):
        return None
    text = str(error)
    for judge in _JUDGES:
        found = judge(text, where)
        if found is not None:
            return found
    return None


@contextmanager
def reading(where: object) -> Iterator[None]:
    """Turn well-known Spark failures inside the block into lakescore errors.

    `where` is a Table, a Snapshot or a text; Spark is lazy, so wrap the action, not the read.
    """
    try:
        yield
    except LakescoreError:
        raise
    except Exception as error:
        known = translate_spark_error(error, str(where))
        if known is None:
            raise
        raise known from error


def _file(match: re.Match[str]) -> str:
    path = next(value for name, value in match.groupdict().items() if len(name) == 1 and value)
    return unquote(path).rstrip(".,;")


def _wrong_header(text: str, where: str) -> LakescoreError | None:
    match = _CSV_HEADER.search(text) or _CSV_COLUMNS.search(text)
    if match is None:
        return None
    detail = " ".join(match["detail"].split())
    return ColumnMissing(
        f"the header of {_file(match)} is not that of the files before it: {detail}",
        where=where,
        hint="bring the columns into the table's order, or ingest the file into another table",
    )


def _wrong_types(text: str, where: str) -> LakescoreError | None:
    match = _OTHER_TYPES.search(text)
    if match is None:
        return None
    return TypeMismatch(
        f"column {match['column']} of {_file(match)} is {match['found']}, "
        f"expected {match['expected']}",
        where=where,
        hint="write the file again with the expected type; nothing is cast silently",
    )


def _not_the_format(text: str, where: str) -> LakescoreError | None:
    match = _NOT_PARQUET.search(text)
    if match is None:
        return None
    return CorruptFile(
        f"the file {_file(match)} is corrupt: its content is not what was written",
        where=where,
        hint="restore the file from its source or a backup, then run again; nothing was committed",
    )


def _gone(text: str, where: str) -> LakescoreError | None:
    match = _MISSING.search(text)
    if match is None and _GONE.search(text):
        match = _WHILE_READING.search(text)
    if match is None:
        return None
    return CorruptFile(
        f"the file {_file(match)} is named by the table but is not there",
        where=where,
        hint="it was removed by VACUUM or by hand: run again on the table's newest version, "
        "or RESTORE the table to a version that is whole",
    )


def _unreadable(text: str, where: str) -> LakescoreError | None:
    match = _WHILE_READING.search(text)
    if match is None:
        return None
    if _MALFORMED.search(text):
        return _malformed_record(f" in {_file(match)}", where)
    return CorruptFile(
        f"the file {_file(match)} cannot be read: {_cause(text)}",
        where=where,
        hint="restore the file from its source or a backup, then run again; nothing was committed",
    )


def _malformed(text: str, where: str) -> LakescoreError | None:
    return _malformed_record("", where) if _MALFORMED.search(text) else None


def _malformed_record(place: str, where: str) -> LakescoreError:
    return CorruptFile(
        f"a record{place} does not fit the schema",
        where=where,
        hint="mend the record, or give a schema in which the column is a string",
    )


def _cause(text: str) -> str:
    """The innermost `Caused by:` line, which names the reason."""
    causes = re.findall(r"Caused by: ([^\n]+)", text)
    return causes[-1].strip() if causes else "it is corrupt"


def _of_the_disk(error: OSError, where: str) -> LakescoreError | None:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _disk_full(where)
    if error.errno in (errno.EROFS, errno.EACCES):
        return _not_opened(f"{error.filename}", f"{error.strerror}", where)
    return None


def _full(text: str, where: str) -> LakescoreError | None:
    return _disk_full(where) if _DISK_FULL.search(text) else None


def _forbidden(text: str, where: str) -> LakescoreError | None:
    match = _FORBIDDEN.search(text)
    return None if match is None else _not_opened(_file(match), match["why"], where)


def _disk_full(where: str) -> LakescoreError:
    return EnvironmentProblem(
        "the disk is full: a file could not be written",
        where=where,
        hint="make room where the tables, `staging` and Spark's temporary files are, then run "
        "again: what was not committed is not visible",
    )


def _not_opened(file: str, why: str, where: str) -> LakescoreError:
    return EnvironmentProblem(
        f"{file} cannot be opened: {why.lower()}",
        where=where,
        hint="give the user of this run the right to read and write there, then run again",
    )


_JUDGES = (
    _full,
    _forbidden,
    _wrong_header,
    _wrong_types,
    _not_the_format,
    _gone,
    _unreadable,
    _malformed,
)
