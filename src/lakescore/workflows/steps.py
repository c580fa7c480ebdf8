"""What the next commit of a workload is to do: decided from progress and pins, before any work."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any, Literal

from lakescore.config.base import quoted
from lakescore.config.predictions import AS_OF
from lakescore.errors import ColumnMissing, CommitConflict, UsageError, did_you_mean
from lakescore.lake.schemas import string_literal
from lakescore.lake.views import refuse_following
from lakescore.workflows.as_of import today

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from pyspark.sql.types import StructField

    from lakescore.config.workload import Predictions, Workload
    from lakescore.lake.chain import Progress
    from lakescore.lake.chunks import Chunk, FileGroup
    from lakescore.lake.snapshot import Snapshot

Kind = Literal["new", "full", "backfill", "retry"]
Reads = Literal["appended", "changed", "all", "refused"]


@dataclass(frozen=True)
class Request:
    """What the user asked of a scoring run: what is new, or again everything, a range, the refused.

    `as_of` is the run's day. A range is of `predictions.backfill_by`, both ends included.
    `restates` says whether `rescore: all` may bring old rows to the run's model: not after another
    run committed in between, whose model stands.
    """

    as_of: date
    kind: Kind = "new"
    first: str | None = None
    last: str | None = None
    restates: bool = True

    @property
    def is_at_progress(self) -> bool:
        """Whether the source is read as of what is scored so far, not at its newest version."""
        return self.kind in ("backfill", "retry")


def requested(
    as_of: str | None,
    *,
    full: bool = False,
    retry: bool = False,
    first: str | None = None,
    last: str | None = None,
) -> Request:
    """The request that options make. Raises UsageError for a day that is none, or two requests."""
    try:
        day = today() if as_of is None else date.fromisoformat(as_of)
    except ValueError as error:
        raise UsageError(
            f"'{as_of}' is not a day", where="--as-of", hint="write it like 2024-01-31"
        ) from error
    ranged = first is not None or last is not None
    asked: dict[Kind, bool] = {"full": full, "retry": retry, "backfill": ranged}
    kinds = [kind for kind, is_asked in asked.items() if is_asked]
    if len(kinds) > 1:
        raise UsageError(f"{' and '.join(kinds)} are asked for at once", hint="choose one")
    return Request(day, kinds[0] if kinds else "new", first, last)


@dataclass(frozen=True)
class Step:
    """One commit: which source rows it reads, and which predictions it replaces.

    `reads` says how the source is read: what was appended or changed since `after_version`, or
    all of its pinned version (those rows that meet `rows_where`), or of that version the rows
    that stand refused; of a catch-up `files` alone, and `more` says that it goes on after this
    commit. `replaces` and `closes` are as in CommitPlan; `because` and `read_by` (by what the rows
    of a catch-up are told) are for people.
    """

    mode: str
    reads: Reads
    because: str
    after_version: int | None = None
    read_by: str | None = None
    rows_where: str | None = None
    replaces: str | None = None
    closes: str | None = None
    merge_by: tuple[str, ...] = ()
    on_delete: str = "delete"
    as_of: date | None = None
    generation: int = 0
    files: FileGroup | None = None
    more: bool = False

    def describe(self) -> dict[str, Any]:
        """JSON-ready: what a plan says of the step."""
        told = {name: value for name, value in vars(self).items() if value not in (None, ())}
        if self.as_of is not None:
            told["as_of"] = self.as_of.isoformat()
        if self.files is not None:
            told["files"] = self.files.describe()
        return told

    @property
    def catches_up(self) -> bool:
        """Whether it brings progress on, and so may be cut into several commits."""
        return self.reads in ("appended", "changed")

    def of_chunk(self, chunk: Chunk) -> Step:
        """The step for one commit of the catch-up."""
        if not chunk.more and chunk.files is None:
            return self
        files = chunk.files
        place = f" up to @{chunk.source.version}"
        if files is not None:
            place += f", {files.rows} rows in {len(files.paths)} files"
            place += f" (then {files.done} of {files.of} are done)"
        return replace(self, because=self.because + place, files=files, more=chunk.more)


def predictions_of(workload: Workload) -> Predictions:
    """Raises UsageError for a workload that only trains."""
    if workload.predictions is None:
        raise UsageError(
            f"workload '{workload.name}' does not say where predictions go",
            hint="add `predictions: {table: …}`",
        )
    return workload.predictions


def next_step(
    workload: Workload,
    request: Request,
    progress: Progress,
    *,
    source: Snapshot,
    model_version: str,
) -> Step | None:
    """The step that `request` asks for now; None when there is nothing to do.

    For a backfill or a retry `source` is pinned at the progress version. Raises UsageError for a
    request that does not fit the mode.
    """
    predictions = predictions_of(workload)
    if predictions.mode == "snapshot":
        _refuse_other_mode_than_snapshot(progress)
        return _snapshot(request, progress, source, model_version)
    if progress.mode not in (None, predictions.mode) and request.kind != "full":
        raise UsageError(
            f"the predictions were made in mode {progress.mode}, and the mode is "
            f"{predictions.mode} now",
            where="predictions.mode",
            hint=f"lakescore score {workload.name} --full starts over in the new mode",
        )
    if request.kind != "new":
        return _as_asked(workload, predictions, request, progress, source)
    if request.restates and _is_restated(predictions, progress, model_version):
        return _restated(workload, predictions, progress, model_version)
    if progress.source_id == source.table_id and progress.source_version == source.version:
        return None
    refuse_following(source, predictions.mode)
    return _catch_up(workload, predictions, progress)


def _as_asked(
    workload: Workload,
    predictions: Predictions,
    request: Request,
    progress: Progress,
    source: Snapshot,
) -> Step:
    if request.kind == "full":
        return _everything(progress, "everything again, as asked")
    if progress.part is not None:
        raise CommitConflict(
            f"source version {progress.part.version} is scored in part: another run is at it, or "
            "was stopped",
            where=predictions.table,
            hint=f"lakescore score {workload.name}, then this again",
        )
    if request.kind == "backfill":
        return _backfill(predictions, request, progress, source)
    return _retry(workload, predictions, progress)


def _refuse_other_mode_than_snapshot(progress: Progress) -> None:
    """Rows that were made in another mode belong to no day, so none would ever replace them."""
    if progress.mode not in (None, "snapshot"):
        raise UsageError(
            f"the predictions were made in mode {progress.mode}, and the mode is snapshot now",
            where="predictions.mode",
            hint="name a new predictions.table: rows of the old one belong to no day, and would "
            "stand beside the day's for ever",
        )


def _catch_up(workload: Workload, predictions: Predictions, progress: Progress) -> Step:
    since = progress.source_version
    because = "every row" if since is None else f"what changed since @{since}"
    if predictions.mode == "append":
        because = "every row" if since is None else f"rows appended since @{since}"
        return Step("append", "appended", because, since, generation=progress.generation)
    return Step(
        "upsert", "changed", because, since,
        merge_by=workload.source.key,
        on_delete=predictions.when_deleted,
        generation=progress.generation,
    )  # fmt: skip


def _snapshot(
    request: Request, progress: Progress, source: Snapshot, model_version: str
) -> Step | None:
    if request.kind != "new":
        raise UsageError(
            f"mode snapshot has no {request.kind}: each day is replaced as a whole",
            hint="lakescore score NAME --as-of YYYY-MM-DD scores a day again",
        )
    same_rows = progress.source_id == source.table_id and progress.source_version == source.version
    if same_rows and progress.model_version == model_version:
        return None
    day = f"{AS_OF} = DATE'{request.as_of.isoformat()}'"
    return Step(
        "snapshot", "all", f"the whole table as of {request.as_of}",
        replaces=day, closes=day, as_of=request.as_of, generation=progress.generation,
    )  # fmt: skip


def _everything(progress: Progress, because: str) -> Step:
    return Step(
        "full", "all", because,
        replaces="true", closes="true", generation=progress.generation + 1,
    )  # fmt: skip


def _is_restated(predictions: Predictions, progress: Progress, model_version: str) -> bool:
    stands_under = progress.stands_under
    moved = stands_under is not None and stands_under != model_version
    return predictions.rescore == "all" and moved


def _restated(
    workload: Workload, predictions: Predictions, progress: Progress, model_version: str
) -> Step:
    """Every row by the new model; predictions of rows that the source lost stay as they were."""
    because = f"rescore: all, and the model is version {model_version} now"
    if predictions.when_deleted in ("ignore", "keep", "mark"):
        return Step(
            "full", "all", because,
            merge_by=workload.source.key, on_delete="keep", closes="true",
            generation=progress.generation + 1,
        )  # fmt: skip
    return _everything(progress, because)


def _backfill(
    predictions: Predictions, request: Request, progress: Progress, source: Snapshot
) -> Step:
    by = predictions.backfill_by
    if predictions.when_deleted in ("ignore", "mark", "keep"):
        raise UsageError(
            f"on_delete: {predictions.when_deleted} keeps predictions whose source row is gone, "
            "and a backfill would replace its range without them",
            where="predictions.on_delete",
            hint="keep such a range as it is, or set on_delete to refuse (append) or delete "
            "(upsert) and backfill",
        )
    if by is None:
        raise UsageError(
            "a backfill needs a column whose range it recomputes",
            where="predictions.backfill_by",
            hint="name one of passthrough or the key, like `backfill_by: order_date`",
        )
    column = _column(source, by)
    name, kind = quoted(column.name), column.dataType.simpleString()
    told = _range(name, kind, request)
    payload = f"cast(from_json(_payload, {string_literal(f'{name} string')}).{name} as {kind})"
    return Step(
        "backfill", "all", f"{by} from {request.first} to {request.last}",
        rows_where=told, replaces=told, closes=_range(payload, kind, request),
        generation=progress.generation,
    )  # fmt: skip


def _retry(workload: Workload, predictions: Predictions, progress: Progress) -> Step:
    """What stands refused, judged again; what a key was predicted from is replaced by key."""
    return Step(
        "retry", "refused", "the refused rows again",
        merge_by=workload.source.key if predictions.mode == "upsert" else (),
        generation=progress.generation,
    )  # fmt: skip


def _column(source: Snapshot, name: str) -> StructField:
    """The source's column of this name, whatever its case. Raises ColumnMissing."""
    for field in source.schema:
        if field.name.lower() == name.lower():
            return field
    raise ColumnMissing(
        f"missing: '{name}'", where=str(source), hint=did_you_mean(name, source.schema.names)
    )


def refuse_unreadable_bounds(
    spark: SparkSession, predictions: Predictions, request: Request, source: Snapshot
) -> None:
    """Raise UsageError for an end of the range that is no value of the column's type."""
    if predictions.backfill_by is None:
        return
    kind = _column(source, predictions.backfill_by).dataType.simpleString()
    for option, bound in (("--from", request.first), ("--to", request.last)):
        if bound is None:
            continue
        value = spark.range(1).selectExpr(f"{_literal(bound, kind)} AS bound").collect()[0].bound
        if value is None:
            raise UsageError(
                f"'{bound}' is not a {kind}, which '{predictions.backfill_by}' is", where=option
            )


def _literal(bound: str, kind: str) -> str:
    return f"cast({string_literal(bound)} as {kind})"


def _range(value: str, kind: str, request: Request) -> str:
    """SQL: value in [first, last]; literals are cast to the column's type, so it is pruned by."""
    bounds = []
    for sign, bound in ((">=", request.first), ("<=", request.last)):
        if bound is not None:
            bounds.append(f"{value} {sign} {_literal(bound, kind)}")
    if not bounds:
        raise UsageError("a backfill needs --from, --to or both")
    return " AND ".join(bounds)
