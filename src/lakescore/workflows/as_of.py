"""The day that a run is for: what `:as_of` in a workload's expressions stands for."""

from __future__ import annotations

from datetime import date, datetime, timezone
from typing import TYPE_CHECKING

from lakescore.config.expressions import bind_as_of

if TYPE_CHECKING:
    from lakescore.config.workload import Workload


def today() -> date:
    """The day that a run is for unless it is told another, in UTC."""
    return datetime.now(timezone.utc).date()


def on_day(workload: Workload, as_of: date | None = None) -> Workload:
    """The workload with every ``:as_of`` as a literal; today (UTC) when no day is given."""
    day = as_of or today()
    source = workload.source
    bound = {name: bind_as_of(sql, day) for name, sql in source.expectations.items()}
    changes: dict[str, object] = {"source": source.model_copy(update={"expectations": bound})}
    predictions = workload.predictions
    if predictions is not None and predictions.where is not None:
        where = bind_as_of(predictions.where, day)
        changes["predictions"] = predictions.model_copy(update={"where": where})
    return workload.model_copy(update=changes)
