"""The JSON schemas of the files that people and programs read and write."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from lakescore.errors import UsageError, did_you_mean


def schema_text(of: str) -> str:
    """The schema of `workload`, `settings`, `run-result` or `report`, as JSON text."""
    makers: Mapping[str, Callable[[], dict[str, Any]]] = {
        "workload": _workload,
        "settings": _settings,
        "run-result": _run_result,
        "report": _report,
    }
    if of not in makers:
        raise UsageError(f"there is no schema of '{of}'", hint=did_you_mean(of, makers))
    return json.dumps(makers[of](), indent=2)


def _workload() -> dict[str, Any]:
    from lakescore.config.json_schema import workload_schema

    return workload_schema()


def _settings() -> dict[str, Any]:
    from lakescore.config.json_schema import settings_schema

    return settings_schema()


def _run_result() -> dict[str, Any]:
    from lakescore.workflows.run_result import RunResult

    return RunResult.model_json_schema()


def _report() -> dict[str, Any]:
    from lakescore.evaluation.report import report_schema

    return report_schema()
