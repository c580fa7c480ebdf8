"""What commands print on stdout: their results, for people or as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from pathlib import Path

    from lakescore.config.settings import Settings
    from lakescore.workflows.bundle.check import Problem
    from lakescore.workflows.bundle.files import Written
    from lakescore.workflows.doctor import Check
    from lakescore.workflows.quarantine import RefusedRows
    from lakescore.workflows.run_result import RunResult
    from lakescore.workflows.status import WorkloadStatus


class Plan(Protocol):
    """What a command would do: of a scoring run, a training or a maintenance."""

    def describe(self) -> object:
        """JSON-ready."""

    def lines(self) -> Iterator[str]:
        """For people."""


_STYLES = {
    "DONE": "green",
    "PROMOTED": "green",
    "NOTHING_TO_DO": "green",
    "ALREADY_DONE": "green",
    "NOT_PROMOTED": "yellow",
    "FAILED": "red",
}


def out() -> Console:
    """Stdout, as wide as it is; long values wrap and are never cut."""
    return Console(soft_wrap=True, highlight=False)


def print_json(value: object) -> None:
    print(json.dumps(value, indent=2, default=str))


def print_result(result: RunResult, *, as_json: bool, require_promotion: bool = False) -> int:
    """Print a run's result, and return its exit code."""
    if as_json:
        print_json(result.model_dump(mode="json"))
    else:
        _print_summary(result)
    return exit_code(result, require_promotion=require_promotion)


def exit_code(result: RunResult, *, require_promotion: bool = False) -> int:
    """1 only for a promotion that is required and was not given."""
    return 1 if require_promotion and result.status.value == "NOT_PROMOTED" else 0


def _print_summary(result: RunResult) -> None:
    console = out()
    status = Text(result.status.value, f"bold {_STYLES[result.status.value]}")
    version = f", model version {result.model_version}" if result.model_version else ""
    console.print(
        Text.assemble(
            status, f"  {result.workflow} {result.workload}{version}  ({result.seconds:.1f} s)"
        )
    )
    reason = result.details.get("reason")
    if reason:
        console.print(f"  {reason}")
    for name, rows in _facts(result):
        console.print(f"  {name:<22} {rows}")
    for warning in result.warnings:
        console.print(f"  warning: {warning}", style="yellow")
    for name, path in result.artefacts.items():
        console.print(f"  {name:<22} {path}")
    if result.next_command:
        console.print(f"  next: {result.next_command}", style="cyan")


def _facts(result: RunResult) -> Iterable[tuple[str, str]]:
    for name, count in result.counts.items():
        yield name.replace("_", " "), f"{count:,}"
    for name, value in result.metrics.items():
        yield name, f"{value:.4f}"


def print_adopted(result: RunResult, *, as_json: bool) -> None:
    """A run's result and, after a comparison, the keys whose scores differ most."""
    print_result(result, as_json=as_json)
    worst = result.details.get("worst")
    if worst and not as_json:
        print_rows(worst, as_json=False, title="furthest apart")


def print_rows(
    rows: Sequence[Mapping[str, Any]], *, as_json: bool, title: str | None = None
) -> None:
    """A table with one column per key of the first row."""
    if as_json:
        print_json(list(rows))
        return
    if not rows:
        out().print("no rows")
        return
    table = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for name in rows[0]:
        numeric = all(isinstance(row[name], (int, float)) or row[name] is None for row in rows)
        table.add_column(name, justify="right" if numeric else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    Console(highlight=False, width=max(out().width, 40 * len(rows[0]))).print(table)


def _cell(value: object) -> Text:
    if value is None:
        return Text("-", "dim")
    if isinstance(value, float):
        return Text(f"{value:.6g}")
    if isinstance(value, int) and not isinstance(value, bool):
        return Text(f"{value:,}")
    text = str(value)
    return Text(text, _STYLES.get(text, ""))


def print_plan(plan: Plan, *, as_json: bool) -> None:
    if as_json:
        print_json(plan.describe())
        return
    console = out()
    for line in plan.lines():
        console.print(line)


def print_status(lines: Sequence[WorkloadStatus], *, as_json: bool) -> None:
    print_rows([line.describe() for line in lines], as_json=as_json)


def print_history(results: Sequence[RunResult], *, as_json: bool) -> None:
    if as_json:
        print_json([result.model_dump(mode="json") for result in results])
        return
    print_rows(
        [
            {
                "run": result.run_id,
                "workflow": result.workflow,
                "status": result.status.value,
                "model": result.model_version,
                "read": result.counts.get("read"),
                "predicted": result.counts.get("predicted"),
                "seconds": result.seconds,
                "error": (result.error or "").splitlines()[0] if result.error else None,
            }
            for result in results
        ],
        as_json=False,
    )


def print_refused(refused: RefusedRows, *, as_json: bool) -> None:
    """Reasons with their counts, then each row over three lines: key, why, payload."""
    if as_json:
        print_json(refused.describe())
        return
    console = out()
    if not refused.refused:
        console.print(f"nothing is refused: no row of {refused.table} is in force")
        return
    stands = f"{refused.refused:,} refused, standing for {refused.copies:,} rows of the source"
    console.print(Text.assemble((refused.workload, "bold"), f"  {stands}"))
    for reason, count in refused.reasons.items():
        console.print(Text(f"  {count:>10,}  {reason}"))
    for row in refused.rows:
        day = f", as of {row.as_of}" if row.as_of else ""
        copies = f", {row.copies:,} copies" if row.copies > 1 else ""
        console.print()
        console.print(
            Text.assemble(
                (json.dumps(row.key), "bold"),
                f"  {row.refused_at}, source version {row.source_version}{day}{copies}",
            )
        )
        console.print(Text(f"  {'; '.join(row.reasons)}"))
        console.print(Text(f"  {json.dumps(row.payload) if row.payload else 'payload purged'}"))
    if refused.refused > len(refused.rows):
        console.print(f"\nthe newest {len(refused.rows)} of {refused.refused:,}; more with --limit")
    console.print(f"  next: lakescore quarantine retry {refused.workload}", style="cyan")


def print_validated(names: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        print_json({"valid": list(names)})
    else:
        out().print(f"valid: {', '.join(names)}")


def print_checks(checks: Sequence[Check], *, as_json: bool) -> int:
    """One line a check; the exit code is 1 when one failed."""
    if as_json:
        print_json([check.describe() for check in checks])
    else:
        console = out()
        for check in checks:
            mark = Text("ok     ", "green") if check.passed else Text("problem", "bold red")
            console.print(Text.assemble(mark, f"  {check.name:<14} {check.detail}"))
            if check.hint and not check.passed:
                console.print(f"  -> {check.hint}")
    return 0 if all(check.passed for check in checks) else 1


def print_demo(results: Sequence[RunResult], settings: Settings, *, as_json: bool) -> None:
    """The last thing that a newcomer sees: what ran, where things are, what to try next."""
    if as_json:
        print_json([result.model_dump(mode="json") for result in results])
        return
    rows = [
        {
            "step": f"{result.workflow} {result.details.get('label', '')}".strip(),
            "status": result.status.value,
            "rows": _first_count(result, "predicted", "rows", "labelled"),
            "model": result.model_version,
            "seconds": round(result.seconds, 1),
        }
        for result in results
    ]
    console = out()
    console.print()
    print_rows(rows, as_json=False)
    console.print()
    for name, path in _demo_paths(results, settings):
        console.print(f"{name:<12} {path}")
    console.print("\nTry next:")
    for command in (
        "lakescore status",
        "lakescore score flight_delays        # finds nothing to do: rerunning is safe",
        "lakescore train arrival_delay        # a second workload, YAML only",
    ):
        console.print(f"  {command}", style="cyan")


def _first_count(result: RunResult, *names: str) -> int | None:
    return next((result.counts[name] for name in names if name in result.counts), None)


def _demo_paths(results: Sequence[RunResult], settings: Settings) -> Iterable[tuple[str, str]]:
    for result in results:
        if result.workflow == "train" and "report" in result.artefacts:
            yield "report", result.artefacts["report"]
    yield "lake", str(settings.lake.root)
    yield "predictions", "gold.flight_delays_predictions"


def print_problems(problems: Sequence[Problem], *, of: str, as_json: bool) -> None:
    """What is wrong with a bundle, or that nothing is."""
    if as_json:
        print_json([asdict(one) for one in problems])
        return
    console = out()
    for one in problems:
        console.print(Text(str(one)))
    if not problems:
        console.print(f"{of} are what the workloads say, and nothing is wrong with the bundle")


def print_bundle(made: Written, root: Path, *, as_json: bool) -> None:
    """The files that were written and removed."""
    if as_json:
        print_json({"root": str(root), **asdict(made)})
        return
    console = out()
    for name in made.written:
        console.print(f"wrote    {name}")
    for name in made.removed:
        console.print(f"removed  {name}")
    if not made.written and not made.removed:
        console.print(f"the bundle in {root} is what the workloads say")
    else:
        console.print(f"in       {root}")
        console.print("next     databricks bundle deploy --target dev")
