"""Find the reports of earlier runs."""

from __future__ import annotations

from pathlib import Path

from lakescore.errors import UsageError, did_you_mean


def find_report(runs: str, workload: str, run_id: str | None = None) -> Path:
    """The HTML report of a run; of the newest that has one when `run_id` is None.

    Raises UsageError naming what is there.
    """
    found = {path.parent.name: path for path in Path(runs).glob(f"{workload}/*/report.html")}
    if not found:
        raise UsageError(
            f"no run of '{workload}' has a report yet", hint=f"lakescore train {workload}"
        )
    if run_id is None:
        return found[max(found)]
    if run_id not in found:
        raise UsageError(f"run '{run_id}' has no report", hint=did_you_mean(run_id, found))
    return found[run_id]
