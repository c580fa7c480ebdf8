"""Run a command for one workload, or for many in one session: one that fails stops no other."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from lakescore.cli.options import Project

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakescore.config.loader import Selected
    from lakescore.config.workload import Workload
    from lakescore.workflows.run_result import RunResult

Check = Callable[["Workload"], None]
Work = Callable[["SparkSession", "Workload"], "RunResult"]


def run_each(
    project: Project,
    name: str | None,
    select: str | None,
    work: Work,
    *,
    check: Check,
    command: str,
    as_json: bool,
    require_promotion: bool = False,
) -> int:
    """`check`, start the session, `work`, and print the result; of `name`, or of each selected.

    Returns the exit code, of several the worst. With `as_json` several give one list, in the
    order of their names; one that failed, or whose file cannot be read, stands in it with
    `status` FAILED and `error`. A single workload's error is raised.
    """
    from lakescore.cli.output import print_result
    from lakescore.errors import UsageError

    if name is None and select is None:
        raise UsageError("name a workload, or several with --select", hint="lakescore status")
    selected = project.selected(name, select)
    if select is not None:
        fleet = _Fleet(project, command, as_json=as_json, require_promotion=require_promotion)
        return fleet.run(selected, check, work)
    (workload,) = selected.workloads
    check(workload)
    result = work(project.spark(f"{command} {name}"), workload)
    return print_result(result, as_json=as_json, require_promotion=require_promotion)


class _Fleet:
    """Several workloads under one command, and what became of them so far."""

    def __init__(
        self, project: Project, command: str, *, as_json: bool, require_promotion: bool
    ) -> None:
        self.project, self.command = project, command
        self.as_json, self.require_promotion = as_json, require_promotion
        self.told: dict[str, Mapping[str, Any]] = {}
        self.worst = 0

    def run(self, selected: Selected, check: Check, work: Work) -> int:
        from lakescore.cli.output import print_json
        from lakescore.errors import LakescoreError

        for name, problem in selected.broken.items():
            self._failed(name, problem)
        spark = None
        for workload in selected.workloads:
            try:
                check(workload)
                spark = spark or self.project.spark(self.command)
                self._done(work(spark, workload))
            except Exception as error:
                if os.environ.get("LAKESCORE_DEBUG") and not isinstance(error, LakescoreError):
                    raise
                self._failed(workload.name, error)
        if self.as_json:
            print_json([self.told[name] for name in sorted(self.told)])
        return self.worst

    def _done(self, result: RunResult) -> None:
        from lakescore.cli.output import exit_code, print_result

        self.told[result.workload] = result.model_dump(mode="json")
        self.worst = max(self.worst, exit_code(result, require_promotion=self.require_promotion))
        if not self.as_json:
            print_result(result, as_json=False)

    def _failed(self, name: str, error: Exception) -> None:
        from lakescore.cli.failures import in_one_text, report

        self.worst = max(self.worst, report(error, workload=name))
        self.told[name] = {
            "workflow": self.command,
            "workload": name,
            "status": "FAILED",
            "error": in_one_text(error),
        }
