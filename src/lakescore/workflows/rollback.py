"""Rollback: the champion before this one is champion again; nothing is scored or deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lakescore.errors import UsageError
from lakescore.workflows.run_result import RunResult, Status, recorded_run

if TYPE_CHECKING:
    from lakescore.config.settings import Settings
    from lakescore.config.workload import Workload


def rollback(settings: Settings, workload: Workload) -> RunResult:
    """Move the champion alias one step back; repeat to go further.

    Raises UsageError when there is no earlier champion.
    """
    from lakescore.registry.store import Registry

    if not workload.trains:
        raise UsageError(
            f"'{workload.name}' scores {workload.model}: lakescore does not move its alias",
            hint="change `model` in the workload",
        )
    with recorded_run("rollback", workload.name, settings) as run:
        registry = Registry(settings.registry)
        name = registry.full_name(workload.name)
        before = registry.champion(name)
        now = registry.rollback(name)
        run.model_version = now.version
        was = before.version if before else "none"
        run.details["reason"] = f"champion is version {now.version} again; it was {was}"
        return run.finish(Status.DONE, next_command=f"lakescore score {workload.name}")
