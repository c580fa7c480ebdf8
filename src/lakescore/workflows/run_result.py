"""The run result: one JSON file a run that says what ran, on which rows, with which model."""

from __future__ import annotations

import json
import logging
import os
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from lakescore.config.settings import Settings
from lakescore.errors import LakescoreError
from lakescore.version import code_version

log = logging.getLogger("lakescore")

#: Of the JSON file. A newer one is not read.
FORMAT = 1


class Status(str, Enum):
    """How a run ended. All of these are results; a failed run has `FAILED` and an error."""

    DONE = "DONE"
    NOTHING_TO_DO = "NOTHING_TO_DO"
    ALREADY_DONE = "ALREADY_DONE"
    PROMOTED = "PROMOTED"
    NOT_PROMOTED = "NOT_PROMOTED"
    FAILED = "FAILED"


class RunResult(BaseModel):
    """What one run did. `lakescore schema --of run-result` publishes the schema of this file."""

    model_config = ConfigDict(extra="forbid")

    format: int = Field(default=FORMAT, le=FORMAT, description="Of this file.")
    run_id: str = Field(description="The name of the run's folder; sortable by time.")
    workflow: str = Field(description="What ran: train, score, restore …")
    workload: str
    status: Status = Status.DONE
    started_at: datetime = Field(description="UTC.")
    seconds: float = Field(default=0.0, description="From start to end.")
    code_version: str = Field(description="Of lakescore.")
    command: str = Field(default="", description="What would run it again.")
    pins: list[dict[str, Any]] = Field(default=[], description="Every table and its version.")
    counts: dict[str, int] = Field(default={}, description="Rows, by what became of them.")
    model_version: str | None = Field(default=None, description="The model made or used.")
    metrics: dict[str, float] = Field(default={}, description="By SPLIT.METRIC.")
    timings: dict[str, float] = Field(default={}, description="Seconds by phase.")
    details: dict[str, Any] = Field(default={}, description="`reason`, and what else there is.")
    artefacts: dict[str, str] = Field(default={}, description="What was written, and where.")
    warnings: list[str] = []
    error: str | None = Field(default=None, description="Of a failed run: what, where, what next.")
    next_command: str | None = Field(default=None, description="What one would run next.")

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time spent in the block to `timings[name]`, in seconds."""
        started = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - started
            self.timings[name] = round(self.timings.get(name, 0.0) + spent, 3)

    def finish(self, status: Status, *, next_command: str | None = None) -> RunResult:
        self.status = status
        self.next_command = next_command
        return self


def new_run_id() -> str:
    """Sortable by time and unique: ``20131201T060000Z-1f9c2a``."""
    return f"{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


@contextmanager
def recorded_run(workflow: str, workload: str, settings: Settings) -> Iterator[RunResult]:
    """Give a fresh result, and write it below `settings.runs` however the block ends."""
    result = RunResult(
        run_id=new_run_id(),
        workflow=workflow,
        workload=workload,
        started_at=datetime.now(timezone.utc),
        code_version=code_version(),
    )
    started = time.perf_counter()
    try:
        yield result
    except LakescoreError as error:
        result.status, result.error = Status.FAILED, settings.redact(str(error))
        raise
    except BaseException as error:
        text = f"{type(error).__name__}: {error}"[:2000]
        result.status, result.error = Status.FAILED, settings.redact(text)
        raise
    finally:
        result.seconds = round(time.perf_counter() - started, 3)
        try:
            write_result(result, settings.runs)
        except OSError as error:
            # What the run did stands, and its own error matters more.
            log.warning("the result of the run could not be written: %s", error)


def run_folder(folder: str, workload: str, run_id: str) -> Path:
    return Path(folder) / workload / run_id


def write_result(result: RunResult, folder: str) -> Path:
    """Write `result.json` atomically into the run's own folder."""
    target = run_folder(folder, result.workload, result.run_id)
    target.mkdir(parents=True, exist_ok=True)
    path = target / "result.json"
    handle, temporary = tempfile.mkstemp(dir=target, suffix=".json")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(result.model_dump(mode="json"), file, indent=2)
    Path(temporary).replace(path)
    return path


def read_results(folder: str, workload: str | None = None) -> list[RunResult]:
    """All readable results, oldest first; of one workload, or of all.

    Warns of those that a newer lakescore wrote.
    """
    root = Path(folder)
    paths = sorted(root.glob(f"{workload or '*'}/*/result.json"), key=lambda p: p.parent.name)
    found, newer = [], 0
    for path in paths:
        text = path.read_text(encoding="utf-8")
        try:
            found.append(RunResult.model_validate_json(text))
        except ValueError:
            newer += _is_newer(text)  # or half-written by a dying disk: history goes on without
    if newer:
        log.warning(
            "%d run results were written by a newer lakescore and are left out: upgrade lakescore",
            newer,
        )
    return found


def _is_newer(text: str) -> bool:
    try:
        content = json.loads(text)
    except ValueError:
        return False
    written_in = content.get("format") if isinstance(content, dict) else None
    return isinstance(written_in, int) and written_in > FORMAT
