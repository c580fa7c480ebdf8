"""`lakescore bundle`: the workloads as a Databricks asset bundle, written or checked."""

from __future__ import annotations

from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from lakescore.cli.options import AsJson, Conf

_STEPS = ("ingest", "train", "promote", "rollback", "restore", "score", "backfill", "maintain")


def bundle(
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit 1 where something is wrong.")
    ] = False,
    root: Annotated[
        Path | None, typer.Option(help="Folder of databricks.yml; that of conf/ when absent.")
    ] = None,
    env: Annotated[
        str, typer.Option("--env", help="Environment of the jobs: conf/ENV.yml.")
    ] = "databricks",
    conf: Conf = None,
    as_json: AsJson = False,
) -> int:
    """Write the jobs of all workloads as a Databricks asset bundle, or check one."""
    from lakescore.cli.output import print_bundle, print_problems
    from lakescore.config.loader import load_settings, load_workloads
    from lakescore.errors import UsageError
    from lakescore.workflows.bundle.check import check_bundle
    from lakescore.workflows.bundle.files import job_files, write_bundle
    from lakescore.workflows.bundle.jobs import ENVIRONMENT, Deployment

    folder = _own_conf(conf)
    place = (root or folder.parent).resolve()
    if not folder.is_relative_to(place):
        raise UsageError(
            f"{folder} is not below {place}: a deployed bundle would not have it",
            where="--root",
            hint="leave --root out, or name a folder above the configuration",
        )
    settings = load_settings(folder, env, environ=ENVIRONMENT)
    workloads = load_workloads(folder, environ=ENVIRONMENT)
    if not workloads:
        raise UsageError(
            "there is no workload", where=str(folder / "workloads"), hint="lakescore init NAME …"
        )
    library = settings.job_defaults.package or _library(place)
    where = Deployment(
        env=env,
        conf=f"${{workspace.file_path}}/{folder.relative_to(place).as_posix()}",
        library=library,
        catalog=settings.lake.catalog or ENVIRONMENT["LAKESCORE_CATALOG"],
    )
    wanted = job_files(workloads, settings.job_defaults, where)
    if check:
        today = datetime.now(timezone.utc).date()
        problems = check_bundle(place, wanted, _options(), today)
        print_problems(problems, of=f"the {len(wanted)} jobs in {place}", as_json=as_json)
        return 1 if problems else 0
    print_bundle(write_bundle(place, wanted, library=library), place, as_json=as_json)
    return 0


def _own_conf(conf: Path | None) -> Path:
    """Never the configuration that is shipped: its jobs would stand beside the package."""
    from lakescore.config.loader import find_conf
    from lakescore.errors import UsageError

    if conf is None and not Path("conf").is_dir():
        raise UsageError(
            "there is no folder conf/ here", where=str(Path.cwd()), hint="cd to it, or --conf DIR"
        )
    return find_conf(conf).resolve()


def _library(root: Path) -> str:
    """The wheel that a checkout of lakescore builds; elsewhere this very version."""
    from lakescore.workflows.bundle.jobs import WHEEL

    project = root / "pyproject.toml"
    if project.exists() and '\nname = "lakescore"\n' in project.read_text(encoding="utf-8"):
        return WHEEL
    return f"lakescore=={version('lakescore')}"


def _options() -> dict[str, frozenset[str]]:
    """Entry point of the wheel -> the options that it takes."""
    from lakescore.cli.app import app

    root: Any = typer.main.get_command(app)
    return {f"lakescore-{step}": _of(root.commands[step], step) for step in _STEPS}


def _of(command: Any, step: str) -> frozenset[str]:
    given = (option for one in command.params for option in (*one.opts, *one.secondary_opts))
    subject = "table" if step == "ingest" else "workload"
    return frozenset({subject, *(name.lstrip("-") for name in given if name.startswith("--"))})
