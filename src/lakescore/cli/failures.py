"""What a command that failed says on stderr: a sentence for people, or JSON lines for machines."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace

from lakescore.cli.logs import writes_json
from lakescore.errors import ConfigErrors, LakescoreError

_DEFECT = (
    "this is a defect of lakescore: run again with LAKESCORE_DEBUG=1 for the details. "
    "Rerunning is safe."
)

#: Takes the secrets of the environment out of a message; set once the environment is read.
_redact: Callable[[str], str] = str


def hide_secrets(redact: Callable[[str], str]) -> None:
    """From now on messages leave through `redact`."""
    global _redact  # noqa: PLW0603 - one process is one command
    _redact = redact


@dataclass(frozen=True)
class Failure:
    """One thing that went wrong. `kind` is the error's class; `workload` that of a fleet."""

    kind: str
    what: str
    where: str | None = None
    hint: str | None = None
    exit_code: int = 1
    workload: str | None = None


def report(error: Exception, *, workload: str | None = None) -> int:
    """Say on stderr what went wrong, and return the exit code that it stands for.

    `workload` names the one of a fleet that failed.
    """
    known = error if isinstance(error, LakescoreError) else _lost()
    if known is not None and not writes_json():
        _print(f"{workload}: {known}" if workload else str(known))
        return known.exit_code
    told = [_unexpected(error)] if known is None else list(_failures(known))
    for failure in told:
        report_failure(replace(failure, workload=workload))
    return max(failure.exit_code for failure in told)


def report_failure(failure: Failure) -> None:
    """Write one failure: a JSON line with its fields, or a sentence and what to do."""
    if writes_json():
        fields = {
            name: _redact(value) if isinstance(value, str) else value
            for name, value in asdict(failure).items()
        }
        logging.getLogger("lakescore").error("%s", fields["what"], extra={"fields": fields})
        return
    told = LakescoreError(failure.what, where=failure.where, hint=failure.hint)
    _print(f"{failure.workload}: {told}" if failure.workload else str(told))


def in_one_text(error: Exception) -> str:
    """The error as a run result holds it, without secrets."""
    if isinstance(error, LakescoreError):
        return _redact(str(error))
    return _redact(_unexpected(error).what)


def _lost() -> LakescoreError | None:
    """What is behind an unexpected error when the session's Java process is gone."""
    from lakescore.session import lost_session

    return lost_session()


def _failures(error: LakescoreError) -> Iterator[Failure]:
    for one in error.problems if isinstance(error, ConfigErrors) else (error,):
        yield Failure(type(one).__name__, one.what, one.where, one.hint, one.exit_code)


def _unexpected(error: Exception) -> Failure:
    first = str(error).strip().splitlines()[:1] or [""]
    kind = type(error).__name__
    return Failure(kind, f"unexpected {kind}: {first[0]}", hint=_DEFECT)


def _print(message: str) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(Text("error: ", "bold red"), Text(_redact(message)), sep="")
