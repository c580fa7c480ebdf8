"""`lakescore quarantine`: what was refused, and another try."""

from __future__ import annotations

from typing import Annotated

import typer

from lakescore.cli.options import AsJson, AsOf, Name, Project, with_project

quarantine = typer.Typer(
    help="The rows that were refused: list them, or judge them again.", no_args_is_help=True
)


@quarantine.command("list")
@with_project
def list_refused(
    project: Project,
    name: Name,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Newest rows to show.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Refused rows in force: how many for which reason, and the newest."""
    from lakescore.cli.output import print_refused
    from lakescore.workflows.quarantine import quarantine_list as workflow

    workload = project.workload(name)
    refused = workflow(project.spark("quarantine"), project.settings, workload, limit=limit)
    print_refused(refused, as_json=as_json)


@quarantine.command()
@with_project
def retry(project: Project, name: Name, as_of: AsOf = None, as_json: AsJson = False) -> None:
    """Judge the refused rows again, by today's contract and champion, after scoring what is new."""
    from lakescore.cli.output import print_result
    from lakescore.workflows.score import quarantine_retry as workflow
    from lakescore.workflows.steps import requested

    workload, request = project.workload(name), requested(as_of)
    spark = project.spark("quarantine")
    result = workflow(spark, project.settings, workload, as_of=request.as_of)
    print_result(result, as_json=as_json)
