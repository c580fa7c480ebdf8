"""Score one workload or many in one session; one that fails does not stop the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lakescore.cli.options import Project

if TYPE_CHECKING:
    from lakescore.config.workload import Workload
    from lakescore.workflows.steps import Request


def score_each(
    project: Project, workloads: Sequence[Workload], request: Request, *, as_json: bool
) -> int:
    """The exit code is the worst of them."""
    from lakescore.cli.output import print_error, print_result
    from lakescore.errors import LakescoreError
    from lakescore.workflows.score import score

    spark = project.spark("score")
    worst = 0
    for workload in workloads:
        try:
            result = score(
                spark,
                project.settings,
                workload,
                as_of=request.as_of,
                full=request.kind == "full",
            )
            print_result(result, as_json=as_json)
        except LakescoreError as error:
            if len(workloads) == 1:
                raise
            print_error(error)
            worst = max(worst, error.exit_code)
    return worst
