"""The options that commands share, and what they open."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakescore.config.loader import Selected
    from lakescore.config.settings import Settings
    from lakescore.config.workload import Workload


class LogFormat(str, Enum):
    """How progress is written to stderr."""

    TEXT = "text"
    JSON = "json"


Name = Annotated[str, typer.Argument(help="The workload: conf/workloads/NAME.yml.")]
OptionalName = Annotated[str | None, typer.Argument(help="The workload; all without a name.")]
NameOrSelect = Annotated[
    str | None, typer.Argument(help="The workload, unless --select names several.")
]
Select = Annotated[
    str | None, typer.Option("--select", help="Several workloads: tag:nightly, or a glob.")
]
Env = Annotated[
    str, typer.Option("--env", envvar="LAKESCORE_ENV", help="Environment: conf/ENV.yml.")
]
Conf = Annotated[
    Path | None, typer.Option("--conf", envvar="LAKESCORE_CONF", help="Configuration folder.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override one key of workload or environment."),
]
Log = Annotated[LogFormat, typer.Option("--log-format", help="Progress on stderr.")]
AsOf = Annotated[
    str | None,
    typer.Option("--as-of", metavar="YYYY-MM-DD", help="The day that the run is for; today (UTC)."),
]
Full = Annotated[
    bool, typer.Option("--full", help="Every row again, in place of all that was predicted.")
]
First = Annotated[
    str | None, typer.Option("--from", help="First value of predictions.backfill_by.")
]
Last = Annotated[str | None, typer.Option("--to", help="Last value, included.")]
Version = Annotated[str | None, typer.Option(help="Model version; the champion when absent.")]
AsJson = Annotated[bool, typer.Option("--json", help="The result as JSON on stdout.")]


def default_env() -> str:
    """Databricks clusters say so in their environment; anything else is local unless told."""
    return "databricks" if "DATABRICKS_RUNTIME_VERSION" in os.environ else "local"


DEFAULT_ENV = default_env()


@dataclass(frozen=True)
class Project:
    """The configuration that one command works with, and the session it starts at need."""

    conf: Path
    settings: Settings
    workload_overrides: dict[str, str] = field(default_factory=dict)

    def workload(self, name: str) -> Workload:
        from lakescore.config.loader import load_workload

        return load_workload(self.conf, name, self.workload_overrides)

    def workloads(self, name: str | None, select: str | None) -> list[Workload]:
        """The one named, or the selected ones. Raises for a file that cannot be read."""
        from lakescore.config.loader import load_workloads

        if name is not None:
            return list(self.selected(name, select).workloads)
        return load_workloads(self.conf, select, self.workload_overrides)

    def selected(self, name: str | None, select: str | None) -> Selected:
        """The same, with the files that cannot be read beside those that can; raises for `name`."""
        from lakescore.config.loader import Selected, select_workloads
        from lakescore.errors import UsageError

        if name is None:
            return select_workloads(self.conf, select, self.workload_overrides)
        if select is not None:
            raise UsageError("name one workload or give --select, not both")
        return Selected((self.workload(name),))

    def spark(self, app_name: str) -> SparkSession:
        from lakescore.session import spark_session

        return spark_session(self.settings, f"lakescore {app_name}")


def open_project(
    env: Env = DEFAULT_ENV,
    conf: Conf = None,
    overrides: Set = None,
    log_format: Log = LogFormat.TEXT,
) -> Project:
    """Read the environment and set up logging. Starts nothing."""
    from lakescore.cli.failures import hide_secrets
    from lakescore.cli.logs import start_logging
    from lakescore.config.loader import find_conf, load_settings, split_overrides

    start_logging(log_format.value)
    for_settings, for_workload = split_overrides(overrides or ())
    folder = find_conf(conf)
    settings = load_settings(folder, env, for_settings)
    hide_secrets(settings.redact)
    return Project(folder, settings, for_workload)


def with_project(command: Callable[..., int | None]) -> Callable[..., int | None]:
    """A command whose first parameter, the project, is opened by the options of `open_project`.

    They stand before its last parameter, `as_json`.
    """
    shared = signature(open_project, eval_str=True).parameters
    _, *before, last = signature(command, eval_str=True).parameters.values()

    @wraps(command)
    def opened(**given: Any) -> int | None:
        project = open_project(**{name: given.pop(name) for name in shared})
        return command(project, **given)

    keywords = [
        one.replace(kind=Parameter.KEYWORD_ONLY) for one in (*before, *shared.values(), last)
    ]
    opened.__signature__ = Signature(keywords)  # type: ignore[attr-defined]
    return opened
