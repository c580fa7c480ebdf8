"""Every error that lakescore raises on purpose: what was wrong, where, and what to do next."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class LakescoreError(Exception):
    """The root of all errors that a user can act on. `exit_code` is what the CLI ends with."""

    exit_code = 1

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        advice = f"\n  -> {self.hint}" if self.hint else ""
        return f"{place}{self.what}{advice}"


class ConfigError(LakescoreError):
    """A workload or environment file, or a `--set`, that cannot be used."""

    exit_code = 2


class UsageError(LakescoreError):
    """A command that does not fit the workload or its own arguments."""

    exit_code = 2


class ExpressionRefused(ConfigError):
    """A SQL expression that does not parse or is not a deterministic row expression."""


class LeakRefused(ConfigError):
    """A feature that is known only after the prediction time."""


class MissingExtra(UsageError):
    """An optional dependency that is not installed."""

    def __init__(self, package: str, *, extra: str, needed_for: str) -> None:
        super().__init__(
            f"{needed_for} needs the package '{package}', which is not installed",
            hint=f"pip install 'lakescore[{extra}]'",
        )


class EnvironmentProblem(LakescoreError):
    """Java, jars, disk or network are not as a run needs them."""


class TableNotFound(LakescoreError):
    """A table that is not in the lake, or is not a Delta table."""


class ColumnMissing(LakescoreError):
    """A column that a workload or model needs and a table lacks."""


class TypeMismatch(LakescoreError):
    """A column whose type does not fit; nothing is cast silently."""


class EmptyTable(LakescoreError):
    """A table, split or feature without the rows or values that the step needs."""


class OneClassLabel(LakescoreError):
    """A label with fewer than two classes in a split."""


class CorruptFile(LakescoreError):
    """A file that cannot be read as what it claims to be."""


class ContractViolated(LakescoreError):
    """More rows quarantined than the data contract allows. Nothing was made visible."""


class SourceChanged(LakescoreError):
    """The source has updates, deletes or an overwrite inside a range that must be appends."""


class StaleContext(LakescoreError):
    """A context table older than its declared `max_lag`."""


class StaleSource(LakescoreError):
    """A source whose newest row is older than its declared `freshness.error_after`."""


class ForeignTable(LakescoreError):
    """A predictions table that lakescore did not create, or a commit that it cannot tell apart."""


class FormatTooNew(LakescoreError):
    """A commit or table property in a format of a newer lakescore, which this one cannot read."""


class CommitConflict(LakescoreError):
    """Another run took the commit number and did not finish; safe to rerun."""


class RegistryUnavailable(LakescoreError):
    """The model registry did not answer before its deadline."""


class ModelNotFound(LakescoreError):
    """A model, version or alias that the registry or the path does not have."""


class ModelNotTrusted(UsageError):
    """A model that runs code when it is loaded, without `trust: runs-code`."""


class ModelBroken(LakescoreError):
    """A model whose artefacts are incomplete, altered, or do not fit its own description."""


class ParityFailed(LakescoreError):
    """A model that does not score the same after export or reload. Nothing was promoted."""


class TrainingFailed(LakescoreError):
    """A fit that ended without a model."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Advice for a wrong name: the closest known one, or the known ones in full."""
    known = sorted(known)
    close = get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'? known: {', '.join(known)}"
    return f"known: {', '.join(known) or 'none'}"


class ConfigErrors(ConfigError):
    """Several things wrong in the configuration, listed at once in `problems`."""

    def __init__(self, problems: Iterable[ConfigError]) -> None:
        self.problems = tuple(problems)
        listed = "\n".join(str(problem) for problem in self.problems)
        super().__init__(f"{len(self.problems)} problems in the configuration\n{listed}")


class VersionUnreadable(LakescoreError):
    """A pinned table version that can no longer be read: cleaned from the log, or vacuumed."""


class DuplicateKeys(LakescoreError):
    """A lookup, or a table to adopt, with several rows for one key."""
