"""What engines share: where they run, and a failure in its own words without a stack trace."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lakescore.errors import LakescoreError, TrainingFailed

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_MEMORY = "raise spark.driver_memory, or try a share of the rows with --sample"

#: What an engine says -> what to do. The first that is found counts.
_HINTS = {
    "OutOfMemoryError": _MEMORY,
    "MemoryError": _MEMORY,
    "bad_alloc": _MEMORY,
    "maxBins": "raise the parameter max_bins",
    "UnsatisfiedLinkError": "set the parameter backend: native",
    "Connection refused": "the workers could not reach each other: rerun, or set backend: native",
    "BarrierJobSlotsNumberCheckFailed": "fewer free slots than workers: rerun when they are free",
}
_JAVA = re.compile(
    r"^(?:Caused by: |: )((?:[\w$]+\.)+[\w$]*(?:Exception|Error)\b.*)$", re.MULTILINE
)
_LONGEST = 600


def is_local(spark: SparkSession) -> bool:
    """Whether driver and executors are one process ("local-cluster" is not)."""
    return str(spark.sparkContext.master).partition("[")[0] == "local"


@contextmanager
def in_engine_words(candidate: str) -> Iterator[None]:
    """Turn whatever an engine raises into TrainingFailed; lakescore's own errors pass."""
    try:
        yield
    except LakescoreError:
        raise
    except Exception as error:
        words = engine_words(error)
        raise TrainingFailed(f"{candidate} did not fit: {words}", hint=_hint(str(error))) from error


def engine_words(error: BaseException) -> str:
    """The innermost cause that a Java trace names, else the error's first paragraph."""
    causes = _JAVA.findall(str(error))
    text = causes[-1] if causes else str(error).split("\n\n")[0]
    return text.strip()[:_LONGEST] or type(error).__name__


def _hint(text: str) -> str | None:
    return next((advice for sign, advice in _HINTS.items() if sign in text), None)
