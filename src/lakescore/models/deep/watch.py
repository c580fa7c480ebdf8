"""How a rank that fails says so, and how the driver tells what became of each.

Engines blame the wrong rank, say nothing of one that was killed, and wait for ever for one that
stalls. So each rank leaves files below `<folder>/ranks`:

    <rank>.started      once, when it starts: host, process and when that began; a second start is
                        refused. Its time of change is the rank's last sign of life
    <rank>.error.json   what it raised, and where
    <rank>.trace        where it was when it had made no step for too long; it then ends itself
    <rank>.done.json    what it trained
    progress.json       how far rank 0 is
"""

from __future__ import annotations

import faulthandler
import json
import os
import platform
import re
import signal
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lakescore.errors import LakescoreError, TrainingFailed
from lakescore.models.deep.job import TrainingJob
from lakescore.models.deep.ranks import RankLost

#: The watchdog is set anew at most so often: to do it each step would cost more than a step.
_ARM_SECONDS = 0.5
_PROGRESS = "progress.json"
_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+) in (?P<function>\S+)')
#: Functions in which a rank waits for the others.
_WAITING = "_sum"


class Watch:
    """Ends this process when it makes no step in time: even one that hangs outside of Python."""

    def __init__(self, job: TrainingJob, alive: Path, trace: Path, progress: Path | None) -> None:
        self._alive, self._progress = alive, progress
        self._step_seconds = float(job.parameters["step_seconds"])
        self._deadline = job.deadline
        self._total_seconds = job.parameters["total_seconds"]
        self._file = trace.open("w")
        self._armed = 0.0
        self._arm(float(job.parameters["start_seconds"]))

    def step(self, epochs: float | None = None, loss: float | None = None) -> None:
        """A step was made. Raises TrainingFailed past the deadline of the whole training.

        `epochs` are done, a fraction; `loss` is the last validation loss.
        """
        if time.monotonic() - self._armed > _ARM_SECONDS:
            self._arm(self._step_seconds)
            if self._progress is not None and epochs is not None:
                with suppress(OSError):  # it is only shown
                    _write(self._progress, {"epochs": epochs, "loss": loss})
        if time.time() > self._deadline:
            raise TrainingFailed(
                f"not trained within {self._total_seconds} s",
                hint="raise total_seconds, or train fewer epochs; --resume goes on from the last",
            )

    def close(self) -> None:
        faulthandler.cancel_dump_traceback_later()
        self._file.close()

    def _arm(self, seconds: float) -> None:
        self._armed = time.monotonic()
        os.utime(self._alive)
        faulthandler.dump_traceback_later(seconds, exit=True, file=self._file)


@contextmanager
def watched(job: TrainingJob, rank: int) -> Iterator[Watch]:
    """The life of one rank: what it raises is written down before it is raised.

    Raises TrainingFailed at once where this rank was started before: Spark runs a failed stage
    again, and half of a training that goes on beside another would end in one result.
    """
    folder = _folder(job)
    started = folder / f"{rank}.started"
    try:
        with started.open("x") as file:
            file.write(f"{platform.node()} {os.getpid()} {_born(os.getpid())}")
    except FileExistsError:
        raise TrainingFailed(f"rank {rank} was started before, and failed") from None
    progress = folder / _PROGRESS if rank == 0 and job.is_watched else None
    watch = Watch(job, started, folder / f"{rank}.trace", progress)
    try:
        yield watch
    except BaseException as error:
        _write(folder / f"{rank}.error.json", _told(error))
        raise
    finally:
        watch.close()


def done(job: TrainingJob, rank: int, told: Mapping[str, Any]) -> None:
    """This rank trained to the end."""
    _write(_folder(job) / f"{rank}.done.json", told)


def make_ready(job: TrainingJob) -> None:
    """The folder in which the ranks say how they are."""
    _folder(job).mkdir(parents=True, exist_ok=True)


def progress_of(job: TrainingJob) -> dict[str, Any] | None:
    """What rank 0 told last of how far it is; None before it did, and where it cannot be read."""
    try:
        return _read(_folder(job) / _PROGRESS)
    except (OSError, ValueError):
        return None


def results(job: TrainingJob) -> list[dict[str, Any]]:
    """What each rank trained, in the order of ranks. Raises TrainingFailed where one did not."""
    folder = _folder(job)
    found = [folder / f"{rank}.done.json" for rank in range(job.ranks)]
    if not all(path.exists() for path in found):
        raise failure(job)
    return [json.loads(path.read_text(encoding="utf-8")) for path in found]


def failure(job: TrainingJob, engine: str = "") -> TrainingFailed:
    """What became of the ranks, the cause first; `engine` is what the engine says of it."""
    states = [_state(job, rank) for rank in range(job.ranks)]
    ranked = sorted(states, key=lambda state: state.order)
    causes = [state for state in ranked if state.order == ranked[0].order]
    told = "; ".join(state.text for state in causes)
    return TrainingFailed(
        told + (f" ({engine})" if engine and ranked[0].order > 0 else ""), hint=ranked[0].hint
    )


class Signs:
    """The signs of life of all ranks, by the driver's clock."""

    def __init__(self, job: TrainingJob) -> None:
        self._job = job
        self._seen: dict[int, tuple[float, float]] = {}
        self._stepped: set[int] = set()

    def look(self) -> int:
        """Look at them; how many ranks have started."""
        folder, now = _folder(self._job), time.monotonic()
        for rank in range(self._job.ranks):
            try:
                changed = (folder / f"{rank}.started").stat().st_mtime
            except OSError:
                continue
            before = self._seen.get(rank)
            if before is None or before[0] != changed:
                self._seen[rank] = (changed, now)
                if before is not None:
                    self._stepped.add(rank)
        return len(self._seen)

    def overdue(self, grace: float) -> bool:
        """Whether a rank that is not done has shown none for longer than it may."""
        parameters, now = self._job.parameters, time.monotonic()
        for rank, (_, at) in self._seen.items():
            name = "step_seconds" if rank in self._stepped else "start_seconds"
            done_file = _folder(self._job) / f"{rank}.done.json"
            if now - at > float(parameters[name]) + grace and not done_file.exists():
                return True
        return False


def end_ranks(job: TrainingJob) -> None:
    """End every rank that is on this machine and still there, even one that was stopped."""
    for started in _folder(job).glob("*.started"):
        host, _, told = started.read_text(encoding="utf-8").partition(" ")
        process, _, born = told.partition(" ")
        if host == platform.node() and born and born == _born(int(process)) != "?":
            with suppress(ProcessLookupError):
                os.kill(int(process), signal.SIGKILL)


def _born(process: int) -> str:
    """When a process began, as this machine counts it: with its number it names one process."""
    try:
        told = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except OSError:
        return "?"
    return told.rpartition(")")[2].split()[19]


class _State:
    """What one rank left. The lower the `order`, the likelier it is the cause."""

    def __init__(self, order: int, text: str, hint: str | None = None) -> None:
        self.order, self.text, self.hint = order, text, hint


def _state(job: TrainingJob, rank: int) -> _State:
    folder, again = _folder(job), "lakescore train NAME --resume goes on from the last epoch"
    if (folder / f"{rank}.done.json").exists():
        return _State(9, f"rank {rank} was done")
    error = _read(folder / f"{rank}.error.json")
    if error is not None and not error["waited"]:
        return _State(0, f"rank {rank}: {error['message']}", error["hint"])
    trace = folder / f"{rank}.trace"
    frames = _FRAME.findall(trace.read_text()) if trace.exists() else []
    if frames and not any(function == _WAITING for *_, function in frames):
        file, line, function = frames[0]
        return _State(
            1,
            f"rank {rank} made no step for too long: it was in {function} "
            f"({Path(file).name}:{line})",
            "raise step_seconds (or start_seconds) if it only needs longer",
        )
    if not (folder / f"{rank}.started").exists():
        return _State(3, f"rank {rank} did not start", "are there as many free slots as workers?")
    if error is None and not frames:
        return _State(2, f"rank {rank} ended, or stopped, without a word: killed?", again)
    return _State(8, f"rank {rank} waited for another", again)


def _told(error: BaseException) -> dict[str, Any]:
    message, hint = f"{type(error).__name__}: {error}", None
    if isinstance(error, LakescoreError):
        message, hint = error.what, error.hint
    return {
        "message": message,
        "hint": hint,
        "waited": isinstance(error, RankLost),
        "traceback": "".join(traceback.format_exception(error)),
    }


def _folder(job: TrainingJob) -> Path:
    return Path(job.folder) / "ranks"


def _write(path: Path, content: Mapping[str, Any]) -> None:
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_text(json.dumps(content), encoding="utf-8")
    scratch.rename(path)


def _read(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
