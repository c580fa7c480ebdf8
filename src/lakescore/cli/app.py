"""The commands. Each opens the project, calls one workflow, and prints what it returned."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lakescore.cli.bundle import bundle
from lakescore.cli.options import (
    DEFAULT_ENV,
    AsJson,
    AsOf,
    Conf,
    Env,
    First,
    Full,
    Last,
    Log,
    LogFormat,
    Name,
    NameOrSelect,
    OptionalName,
    Project,
    Select,
    Set,
    Version,
    open_project,
    with_project,
)
from lakescore.cli.quarantine import quarantine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import SparkSession

    from lakescore.config.workload import Workload
    from lakescore.workflows.run_result import RunResult

app = typer.Typer(
    name="lakescore",
    help="Batch machine learning on a data lake: pin, train, promote, score exactly once.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rendering help with rich takes longer than everything else
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(quarantine, name="quarantine")
app.command()(bundle)

#: Click's root of usage errors; typer brings its own copy of click from 0.27 on.
_CommandLineError: Any = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)


def run(argv: Sequence[str]) -> int:
    """Run one command; every failure becomes a message and an exit code."""
    from lakescore.cli.failures import Failure, report, report_failure
    from lakescore.cli.logs import start_logging, writes_json
    from lakescore.errors import LakescoreError

    # Options that do not parse are said in the format that was asked for, too.
    start_logging(LogFormat.JSON if _asks_for_json(argv) else LogFormat.TEXT)
    try:
        code = app(list(argv), standalone_mode=False, prog_name="lakescore")
    except typer.Abort:
        return 130
    except _CommandLineError as error:
        if writes_json():
            report_failure(Failure("UsageError", error.format_message(), exit_code=2))
        else:
            error.show()
        return 2
    except KeyboardInterrupt:
        what = "interrupted; it is safe to run the same command again"
        if writes_json():
            report_failure(Failure("KeyboardInterrupt", what, exit_code=130))
        else:
            typer.echo(what, err=True)
        return 130
    except Exception as error:
        if os.environ.get("LAKESCORE_DEBUG") and not isinstance(error, LakescoreError):
            raise
        return report(error)
    return code if isinstance(code, int) else 0


def flags_of(command: str) -> frozenset[str]:
    """The options of a command that take no value."""
    found: Any = typer.main.get_command(app)
    parameters = found.commands[command].params
    return frozenset(
        name for one in parameters if getattr(one, "is_flag", False) for name in one.opts
    )


def _asks_for_json(argv: Sequence[str]) -> bool:
    return "--log-format=json" in argv or ("--log-format", "json") in pairwise(argv)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        from lakescore.version import code_version

        typer.echo(f"lakescore {code_version()}")
        raise typer.Exit


@app.command()
def demo(
    replay_december: Annotated[
        bool, typer.Option("--replay-december", help="Land and score all 31 days one by one.")
    ] = False,
    env: Env = DEFAULT_ENV,
    conf: Conf = None,
    overrides: Set = None,
    log_format: Log = LogFormat.TEXT,
    as_json: AsJson = False,
) -> None:
    """Real flights, from raw files to scored rows in the lake."""
    from lakescore.cli.output import print_demo
    from lakescore.workflows.demo.demo import prepare_conf, run_demo

    project = open_project(env, prepare_conf(conf), overrides, log_format)
    spark = project.spark("demo")
    results = run_demo(
        spark, project.settings, project.workload("flight_delays"), replay_december=replay_december
    )
    print_demo(results, project.settings, as_json=as_json)


@app.command()
def init(
    name: Annotated[str, typer.Argument(help="Name of the new workload.")],
    source: Annotated[Path, typer.Option("--from", help="CSV, JSON, Parquet or ORC file.")],
    label: Annotated[
        str, typer.Option(help="Column to predict, or an expression: \"churned = 'yes'\".")
    ],
    key: Annotated[list[str], typer.Option(help="Column that identifies a row; repeat for more.")],
    env: Env = DEFAULT_ENV,
    conf: Conf = None,
    overrides: Set = None,
    log_format: Log = LogFormat.TEXT,
    as_json: AsJson = False,
) -> None:
    """Ingest a file and write a workload for it."""
    from lakescore.cli.output import print_result
    from lakescore.workflows.init import init as workflow
    from lakescore.workflows.init import workload_file

    target = conf or Path("conf")
    workload_file(target, name, source, key, label)  # before Spark starts
    project = open_project(env, conf if conf and conf.is_dir() else None, overrides, log_format)
    result = workflow(
        project.spark("init"),
        project.settings,
        name=name,
        source=source,
        label=label,
        key=tuple(key),
        conf=target,
    )
    print_result(result, as_json=as_json)


@app.command()
def doctor(
    env: Env = DEFAULT_ENV,
    conf: Conf = None,
    overrides: Set = None,
    log_format: Log = LogFormat.TEXT,
    as_json: AsJson = False,
) -> int:
    """Check Python, Java, jars, engines, configuration, lake and registry of this machine."""
    from lakescore.cli.output import print_checks
    from lakescore.workflows.doctor import examine

    return print_checks(examine(env, conf, overrides or ()), as_json=as_json)


@app.command()
@with_project
def validate(
    project: Project,
    name: OptionalName = None,
    select: Select = None,
    against_lake: Annotated[
        bool, typer.Option("--against-lake", help="Resolve every expression in the real tables.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check workload files; without Spark unless --against-lake."""
    from lakescore.cli.output import print_validated
    from lakescore.workflows.validate import check_parameters, validate_against_lake

    workloads = project.workloads(name, select)
    for workload in workloads:
        check_parameters(workload)
    if against_lake:
        spark = project.spark("validate")
        for workload in workloads:
            validate_against_lake(spark, project.settings, workload)
    print_validated([workload.name for workload in workloads], as_json=as_json)


@app.command()
@with_project
def plan(
    project: Project,
    name: Name,
    as_of: AsOf = None,
    full: Full = False,
    first: First = None,
    last: Last = None,
    version: Version = None,
    retry: Annotated[bool, typer.Option("--retry", help="As `quarantine retry` would.")] = False,
    training: Annotated[bool, typer.Option("--train", help="As `train` would.")] = False,
    as_json: AsJson = False,
) -> None:
    """What the next `score` would read, with which model, into which commit. Changes nothing.

    With --from, --to (and --version) what `backfill` would, with --retry what `quarantine retry`,
    with --train what `train` would read and by what it would fit each candidate.
    """
    from lakescore.cli.output import print_plan
    from lakescore.workflows.plan import plan_scoring
    from lakescore.workflows.steps import requested
    from lakescore.workflows.training_plan import plan_training

    workload = project.workload(name)
    request = requested(as_of, full=full, retry=retry, first=first, last=last)
    if training:
        _refuse_scoring_options(as_of, full, first, last, version, retry)
        trained = plan_training(project.spark("plan"), project.settings, workload)
        print_plan(trained, as_json=as_json)
        return
    planned = plan_scoring(
        project.spark("plan"), project.settings, workload, request, version=version
    )
    print_plan(planned, as_json=as_json)


def _refuse_scoring_options(*given: object) -> None:
    from lakescore.errors import UsageError

    if any(option not in (None, False) for option in given):
        raise UsageError("--train plans a training", hint="leave out the options of a scoring run")


@app.command()
@with_project
def ingest(
    project: Project,
    table: Annotated[str, typer.Argument(help="Target table, like bronze.customers.")],
    source: Annotated[
        str, typer.Option("--from", help="Files (a path or glob), or hive:db.table.")
    ],
    file_format: Annotated[
        str | None, typer.Option("--format", help="csv, json, parquet or orc; else by the ending.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Copy new files or partitions into a Delta table, each exactly once."""
    from lakescore.cli.output import print_result
    from lakescore.workflows.ingest import ingest as workflow

    spark = project.spark("ingest")
    result = workflow(spark, project.settings, table=table, source=source, file_format=file_format)
    print_result(result, as_json=as_json)


@app.command()
@with_project
def train(
    project: Project,
    name: NameOrSelect = None,
    select: Select = None,
    sample: Annotated[
        float | None,
        typer.Option(min=0.001, max=1, help="Share of rows for a quick try; never promoted."),
    ] = None,
    no_promote: Annotated[
        bool, typer.Option("--no-promote", help="Leave promotion to `lakescore promote`.")
    ] = False,
    require_promotion: Annotated[
        bool, typer.Option("--require-promotion", help="Exit 1 when the gate says no.")
    ] = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on where a training that was stopped had come to."),
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Train the candidates, register the best as challenger, and promote it if it passes."""
    from lakescore.cli.fleet import run_each
    from lakescore.cli.job_values import tell_job
    from lakescore.errors import UsageError
    from lakescore.workflows.train import train as workflow
    from lakescore.workflows.validate import check_parameters

    if resume and sample is not None:
        raise UsageError("--resume and --sample do not go together", hint="leave one out")

    def work(spark: SparkSession, workload: Workload) -> RunResult:
        promote = not no_promote and workload.promotion == "auto"
        result = workflow(
            spark, project.settings, workload, sample=sample, promote=promote, resume=resume
        )
        tell_job(spark, result)
        return result

    return run_each(
        project,
        name,
        select,
        work,
        check=check_parameters,
        command="train",
        as_json=as_json,
        require_promotion=require_promotion,
    )


@app.command()
@with_project
def promote(
    project: Project,
    name: NameOrSelect = None,
    select: Select = None,
    version: Annotated[
        str | None, typer.Option(help="Model version; the challenger when absent.")
    ] = None,
    require_promotion: Annotated[
        bool, typer.Option("--require-promotion", help="Exit 1 when the gate says no.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Run the gate on a registered model and, if it passes, move the champion alias."""
    from lakescore.cli.fleet import run_each
    from lakescore.errors import UsageError
    from lakescore.workflows.promote import promote as workflow
    from lakescore.workflows.validate import check_parameters

    if select is not None and version is not None:
        raise UsageError("a version is that of one workload: name it", where="--version")

    def work(spark: SparkSession, workload: Workload) -> RunResult:
        return workflow(spark, project.settings, workload, version=version)

    return run_each(
        project,
        name,
        select,
        work,
        check=check_parameters,
        command="promote",
        as_json=as_json,
        require_promotion=require_promotion,
    )


@app.command()
@with_project
def rollback(project: Project, name: Name, as_json: AsJson = False) -> None:
    """Move the champion alias back to the version before."""
    from lakescore.cli.output import print_result
    from lakescore.workflows.rollback import rollback as workflow

    print_result(workflow(project.settings, project.workload(name)), as_json=as_json)


@app.command()
@with_project
def score(
    project: Project,
    name: NameOrSelect = None,
    select: Select = None,
    as_of: AsOf = None,
    full: Full = False,
    as_json: AsJson = False,
) -> int:
    """Score what has landed and is not yet scored, each row exactly once."""
    from lakescore.cli.fleet import run_each
    from lakescore.workflows.score import score as workflow
    from lakescore.workflows.scoring_model import require_model
    from lakescore.workflows.steps import requested

    day = requested(as_of).as_of

    def check(workload: Workload) -> None:
        require_model(project.settings, workload)

    def work(spark: SparkSession, workload: Workload) -> RunResult:
        return workflow(spark, project.settings, workload, as_of=day, full=full)

    return run_each(project, name, select, work, check=check, command="score", as_json=as_json)


@app.command()
@with_project
def backfill(
    project: Project,
    name: Name,
    first: First = None,
    last: Last = None,
    version: Version = None,
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> None:
    """Score a range again and replace exactly that range, after scoring what is new."""
    from lakescore.cli.output import print_result
    from lakescore.workflows.score import backfill as workflow
    from lakescore.workflows.steps import requested

    workload, spark = project.workload(name), project.spark("backfill")
    result = workflow(
        spark,
        project.settings,
        workload,
        first=first,
        last=last,
        version=version,
        as_of=requested(as_of).as_of,
    )
    print_result(result, as_json=as_json)


@app.command()
@with_project
def restore(
    project: Project,
    name: Name,
    commit: Annotated[
        int | None, typer.Option(help="Only if this commit is the last; safe to repeat.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Take the last scoring commit back: its predictions and its refused rows."""
    from lakescore.cli.output import print_result
    from lakescore.workflows.restore import restore as workflow

    workload, spark = project.workload(name), project.spark("restore")
    result = workflow(spark, project.settings, workload, commit_seq=commit)
    print_result(result, as_json=as_json)


@app.command()
@with_project
def adopt(
    project: Project,
    name: Name,
    table: Annotated[
        str | None, typer.Option("--table", help="Take over this predictions table instead.")
    ] = None,
    source_version: Annotated[
        int | None,
        typer.Option(min=0, help="Version of the source that the table's rows were made from."),
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Only report its scores against the model's.")
    ] = False,
    inputs: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="What a model without signature takes, in its order."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Register a model that exists without retraining it, after showing parity on real rows.

    With --table, take over a predictions table that exists instead, without rewriting it.
    """
    from lakescore.cli.output import print_adopted, print_result
    from lakescore.errors import UsageError
    from lakescore.workflows.adopt import adopt as adopt_model
    from lakescore.workflows.adopt_table import adopt_table

    workload = project.workload(name)
    if table is None:
        if source_version is not None or compare:
            raise UsageError("--source-version and --compare are about a table", where="--table")
        stated = None if inputs is None else [column.strip() for column in inputs.split(",")]
        spark = project.spark(f"adopt {name}")
        print_result(adopt_model(spark, project.settings, workload, inputs=stated), as_json=as_json)
        return
    if inputs is not None:
        raise UsageError("--inputs is about a model, --table about its rows", where="--inputs")
    if source_version is None:
        raise UsageError(
            "say which version of the source the table's rows were made from",
            where="--source-version",
            hint="DESCRIBE HISTORY of the source tells when each version was committed",
        )
    result = adopt_table(
        project.spark(f"adopt {name}"),
        project.settings,
        workload,
        table=table,
        source_version=source_version,
        compare=compare,
    )
    print_adopted(result, as_json=as_json)


@app.command()
@with_project
def maintain(
    project: Project,
    name: OptionalName = None,
    select: Select = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do what is due; without it nothing is changed.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Small files, files out of use and leftovers of the predictions: what is due, and why."""
    from lakescore.cli.output import print_plan, print_result
    from lakescore.workflows.maintain import maintain as workflow
    from lakescore.workflows.maintain import plan_maintenance

    workloads, spark = project.workloads(name, select), project.spark("maintain")
    if yes:
        print_result(workflow(spark, project.settings, workloads), as_json=as_json)
    else:
        print_plan(plan_maintenance(spark, project.settings, workloads), as_json=as_json)


@app.command()
@with_project
def status(
    project: Project, name: OptionalName = None, select: Select = None, as_json: AsJson = False
) -> int:
    """One line a workload: last run, rows, model version, age of the source."""
    from lakescore.cli.failures import report
    from lakescore.cli.output import print_status
    from lakescore.workflows.status import status as workflow
    from lakescore.workflows.status import unreadable

    found = project.selected(name, select)
    codes = [report(problem, workload=broken) for broken, problem in found.broken.items()]
    lines = [unreadable(broken, problem) for broken, problem in found.broken.items()]
    if found.workloads:
        lines += workflow(project.spark("status"), project.settings, found.workloads)
    print_status(sorted(lines, key=lambda line: line.workload), as_json=as_json)
    return max(codes, default=0)


@app.command()
@with_project
def history(project: Project, name: Name, as_json: AsJson = False) -> None:
    """The runs of a workload, newest first."""
    from lakescore.cli.output import print_history
    from lakescore.workflows.run_result import read_results

    results = read_results(project.settings.runs, project.workload(name).name)
    print_history(list(reversed(results)), as_json=as_json)


@app.command()
@with_project
def report(
    project: Project,
    name: Name,
    run_id: Annotated[
        str | None, typer.Option("--run", help="A run; the newest otherwise.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print where the report of a run is (or the report itself as JSON)."""
    from lakescore.workflows.reports import find_report

    found = find_report(project.settings.runs, project.workload(name).name, run_id)
    typer.echo(found.with_suffix(".json").read_text(encoding="utf-8") if as_json else str(found))


@app.command()
@with_project
def preview(
    project: Project,
    name: Name,
    rows: Annotated[int, typer.Option(min=1, max=200)] = 20,
    as_json: AsJson = False,
) -> None:
    """Encoded rows beside their source columns, as a model sees them."""
    from lakescore.cli.output import print_rows
    from lakescore.workflows.preview import as_line
    from lakescore.workflows.preview import preview as workflow

    workload = project.workload(name)
    found = workflow(project.spark("preview"), project.settings, workload, rows=rows)
    print_rows(found if as_json else [as_line(row) for row in found], as_json=as_json)


@app.command()
def schema(
    of: Annotated[str, typer.Option(help="workload, settings, run-result or report.")] = "workload",
    out: Annotated[Path | None, typer.Option(help="Write to a file instead of stdout.")] = None,
) -> None:
    """The JSON schema of a file, so that editors complete it."""
    from lakescore.workflows.schemas import schema_text

    text = schema_text(of)
    if out is None:
        typer.echo(text)
    else:
        out.write_text(text + "\n", encoding="utf-8")
        typer.echo(str(out))
