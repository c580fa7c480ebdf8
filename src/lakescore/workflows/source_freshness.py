"""How fresh a source is, against what its workload declares."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Literal

from lakescore.config.base import format_duration
from lakescore.errors import StaleSource

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from lakescore.config.workload import Freshness
    from lakescore.lake.freshness import Newest


@dataclass(frozen=True)
class SourceFreshness:
    """The newest value of the declared column, when it was looked at, and what that means."""

    declared: Freshness
    newest: Newest
    checked_at: datetime
    where: str

    @property
    def age(self) -> timedelta | None:
        """None when the column has no value that counts."""
        if self.newest.moment is None:
            return None
        return max(self.checked_at - self.newest.moment, timedelta(0))

    @property
    def state(self) -> Literal["fresh", "late", "stale"]:
        """`late` is past warn_after, `stale` past error_after."""
        if self._is_past(self.declared.error_after):
            return "stale"
        return "late" if self._is_past(self.declared.warn_after) else "fresh"

    def require(self) -> None:
        """Raise StaleSource when it is past `error_after`."""
        if self.state == "stale":
            raise StaleSource(
                self._sentence(),
                where=self.where,
                hint="nothing was scored: find out what loads the table, and run again when it "
                "has caught up; or raise source.freshness.error_after",
            )

    def warnings(self) -> list[str]:
        """What to tell although the run goes on."""
        told = [f"{self.where}: {self._sentence()}"] if self.state == "late" else []
        if self.newest.ahead:
            told.append(
                f"{self.where}: `{self.declared.column}` of {self.newest.ahead} rows is more than "
                "a day ahead, which says nothing about freshness"
            )
        return told

    def describe(self) -> dict[str, Any]:
        """JSON-ready."""
        moment = self.newest.moment
        return {
            "state": self.state,
            "newest": None if moment is None else moment.isoformat(),
            "age_seconds": None if self.age is None else int(self.age.total_seconds()),
            "ahead": self.newest.ahead,
            **self.declared.model_dump(mode="json"),
        }

    def __str__(self) -> str:
        return f"{self.state}: {self._sentence()}"

    def _is_past(self, bound: timedelta | None) -> bool:
        return bound is not None and (self.age is None or self.age > bound)

    def _sentence(self) -> str:
        column, moment, age = self.declared.column, self.newest.moment, self.age
        limits = "; ".join(
            f"{name} is {format_duration(bound)}"
            for name in ("warn_after", "error_after")
            if (bound := getattr(self.declared, name)) is not None
        )
        if moment is None or age is None:
            return (
                f"no row has a `{column}` that counts (the table is empty, or it is null or in the "
                f"future in every row); {limits}"
            )
        return (
            f"the newest `{column}` is {moment:%Y-%m-%d %H:%M:%S} UTC, {_text(age)} ago; {limits}"
        )


def source_freshness(rows: DataFrame, declared: Freshness, *, where: str) -> SourceFreshness:
    """Look at the newest rows. Raises ColumnMissing and TypeMismatch."""
    from lakescore.lake.freshness import newest_moment

    now = datetime.now(timezone.utc)
    newest = newest_moment(rows, declared.column, now=now, within=declared.longest, where=where)
    return SourceFreshness(declared, newest, now, where)


def _text(age: timedelta) -> str:
    """The two largest units: ``2 d 3 h``, ``3 h 20 min``."""
    minutes = int(age.total_seconds()) // 60
    days, hours = minutes // 1440, minutes // 60 % 24
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"
