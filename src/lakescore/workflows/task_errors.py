"""What a Spark job raises, in words: a lakescore error from a task, or a well-known failure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lakescore.errors import LakescoreError


@contextmanager
def task_errors(where: str) -> Iterator[None]:
    """Turn failures of the block's Spark jobs into the leaves of LakescoreError.

    What is not known passes unchanged: it is a defect, and its trace is worth more than a guess.
    """
    from lakescore.lake.spark_errors import translate_spark_error
    from lakescore.scoring.arrow import error_from_task

    try:
        yield
    except LakescoreError:
        raise
    except Exception as error:
        found = error_from_task(error) or translate_spark_error(error, where)
        if found is None:
            raise
        raise found from error
