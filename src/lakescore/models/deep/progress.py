"""How far a training is, on the terminal that waits for it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from lakescore.models.deep.job import TrainingJob

log = logging.getLogger("lakescore")


def is_watched() -> bool:
    """Whether stderr is a terminal; what is forced to be one by the environment is none."""
    return sys.stderr is not None and sys.stderr.isatty()


@contextmanager
def progress_bar(
    job: TrainingJob, console: Console | None = None
) -> Iterator[Callable[[Mapping[str, Any] | None], None]]:
    """A bar of epochs on stderr, gone when the block ends; nothing for a job that is not watched.

    It is shown what rank 0 told last: `epochs` done, a fraction, and `loss`, the last validation
    loss. What cannot be drawn is not, and disturbs nothing.
    """
    if not job.is_watched:
        yield lambda told: None
        return
    most = int(job.parameters["epochs"])
    columns = (
        TextColumn("  deep_tabular"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.description}"),
        TimeRemainingColumn(),
    )
    bar = Progress(
        *columns,
        console=console or Console(stderr=True),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    task = bar.add_task("starting", total=most)

    def show(told: Mapping[str, Any] | None) -> None:
        if told is None:
            return
        epoch = min(most, int(told["epochs"]) + 1)
        loss = "" if told["loss"] is None else f", validation loss {told['loss']:.4g}"
        bar.update(task, completed=told["epochs"], description=f"epoch {epoch} of {most}{loss}")

    with _undisturbed():
        bar.start()
    try:
        yield lambda told: _shown(show, told)
    finally:
        with _undisturbed():
            bar.stop()


def _shown(
    show: Callable[[Mapping[str, Any] | None], None], told: Mapping[str, Any] | None
) -> None:
    with _undisturbed():
        show(told)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """A terminal that went away, or half a message, must not end a training."""
    try:
        yield
    except Exception as error:
        log.debug("progress is not shown: %s", error)
