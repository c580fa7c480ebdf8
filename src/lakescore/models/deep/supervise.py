"""The driver's side of a training: ranks start in time and show that they live, or it is ended.

Engines wait for ever for a rank that finds no slot or stands still. So while the launcher runs, a
thread looks at what the ranks leave in the job's folder, and ends a training that is late. The
launcher keeps the caller's thread: Horovod's sets signal handlers, which the main one alone may.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lakescore.models.deep.progress import progress_bar
from lakescore.models.deep.watch import Signs, end_ranks, failure, progress_of
from lakescore.models.engines import engine_words

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakescore.errors import TrainingFailed
    from lakescore.models.deep.job import TrainingJob

_POLL_SECONDS = 0.2
#: A rank ends itself at its deadline; one that cannot is ended so much later.
_GRACE_SECONDS = 4.0


def supervised(
    spark: SparkSession,
    job: TrainingJob,
    run: Callable[[], Any],
    cancel: Callable[[], None] = lambda: None,
) -> None:
    """Run a launcher to its end; `cancel` ends what it has started beside Spark's jobs.

    Raises TrainingFailed, with what became of each rank: when the launcher fails, or when a rank
    has not started in `start_seconds` or made no step in `step_seconds`. Of a training that
    failed no rank of this machine is left.
    """
    context, group = spark.sparkContext, f"lakescore-deep-{uuid.uuid4().hex}"

    def end() -> None:
        context.cancelJobGroup(group)
        cancel()
        end_ranks(job)

    watcher = _Watcher(job, end)
    context.setJobGroup(group, "train deep_tabular", interruptOnCancel=True)
    watcher.start()
    try:
        run()
    except Exception as error:
        raise watcher.found or failure(job, engine_words(error)) from error
    finally:
        watcher.over.set()
        watcher.join()
        end_ranks(job)
        context._jsc.clearJobGroup()
    if watcher.found is not None:
        raise watcher.found


class _Watcher(threading.Thread):
    """Ends a training that is late; `found` is what was, and what became of each rank."""

    def __init__(self, job: TrainingJob, end: Callable[[], None]) -> None:
        super().__init__(name="lakescore-deep", daemon=True)
        self.found: TrainingFailed | None = None
        self.over = threading.Event()
        self._job, self._end = job, end

    def run(self) -> None:
        late = self._late()
        if late:
            self.found = failure(self._job, late)
            self._end()

    def _late(self) -> str:
        """What was late; nothing where it ended in time."""
        start_seconds = float(self._job.parameters["start_seconds"])
        began, signs = time.monotonic(), Signs(self._job)
        with progress_bar(self._job) as show:
            while not self.over.wait(_POLL_SECONDS):
                started = signs.look()
                show(progress_of(self._job))
                if started < self._job.ranks and time.monotonic() - began > start_seconds:
                    of = f"{started} of {self._job.ranks}"
                    return f"{of} ranks started within {start_seconds:.0f} s"
                if signs.overdue(_GRACE_SECONDS):
                    return "a rank showed no sign of life"
        return ""
