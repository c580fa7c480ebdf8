"""The pins of a run: every table that it reads, each pinned once, before any row is read."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lakescore.lake.snapshot import Snapshot, pin
from lakescore.lake.views import ViewSnapshot

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from lakescore.config.workload import Context, Label, Source
    from lakescore.lake.tables import Lake

_AT_ONCE = 4


@dataclass(frozen=True)
class Pins:
    """Snapshots of the source, of each context by name, and of the label's own table."""

    source: Snapshot
    contexts: Mapping[str, Snapshot]
    label: Snapshot | None = None

    @property
    def views(self) -> list[ViewSnapshot]:
        """Each table once that cannot be read as of a version."""
        found = {s.table.name: s for _, s in self._by_role() if isinstance(s, ViewSnapshot)}
        return list(found.values())

    def stored(self, spark: SparkSession, folder: str) -> Pins:
        """The same pins; views are pinned anew, with their rows stored below `folder`.

        Raises SourceChanged.
        """
        rows = {
            view.table.name: view.stored(spark, f"{folder}/{number}")
            for number, view in enumerate(self.views)
        }

        def now(snapshot: Snapshot) -> Snapshot:
            return rows.get(snapshot.table.name, snapshot)

        return replace(
            self,
            source=now(self.source),
            contexts={name: now(snapshot) for name, snapshot in self.contexts.items()},
            label=None if self.label is None else now(self.label),
        )

    def frames(self, spark: SparkSession) -> dict[str, DataFrame]:
        """The context tables at their pins, by context name."""
        return {name: snapshot.read(spark) for name, snapshot in self.contexts.items()}

    def frames_of(
        self, spark: SparkSession, lake: Lake, contexts: Mapping[str, Context]
    ) -> dict[str, DataFrame]:
        """The tables of other contexts: at these pins where they are pinned, else as they are."""
        pinned = {snapshot.table.name: snapshot for _, snapshot in self._by_role()}
        return {
            name: (pinned.get(context.table) or pin(spark, lake.table(context.table))).read(spark)
            for name, context in contexts.items()
        }

    def describe(self) -> list[dict[str, Any]]:
        """JSON-ready: one entry a table, with the roles that it has in the run."""
        roles: dict[str, list[str]] = {}
        found: dict[str, dict[str, Any]] = {}
        for role, snapshot in self._by_role():
            roles.setdefault(snapshot.table.name, []).append(role)
            found[snapshot.table.name] = dict(snapshot.describe())
        return [{**entry, "role": ", ".join(roles[name])} for name, entry in found.items()]

    def _by_role(self) -> list[tuple[str, Snapshot]]:
        pairs = [("source", self.source)]
        pairs += [(f"context {name}", snapshot) for name, snapshot in self.contexts.items()]
        return pairs + ([("label", self.label)] if self.label is not None else [])


def pin_tables(
    spark: SparkSession,
    lake: Lake,
    source: Source,
    contexts: Mapping[str, Context],
    label: Label | None = None,
    *,
    source_version: int | None = None,
    versions: Mapping[str, int] | None = None,
    pinned_source: Snapshot | None = None,
) -> Pins:
    """Pin at the newest versions (the source at its own); a table used twice has one pin.

    `versions` (by table) are those of other tables that are not to be the newest; the
    `pinned_source` is taken as it is. Raises TableNotFound for the first table that is not there,
    and VersionUnreadable.
    """
    names = [source.table, *(context.table for context in contexts.values())]
    labelled = label.table if label is not None else None
    names = list(dict.fromkeys([*names, *([labelled] if labelled else [])]))
    # Reading a table's log is mostly waiting: the tables are pinned side by side.
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        at = {source.table: source_version, **(versions or {})}
        pinned = {} if pinned_source is None else {source.table: pinned_source}
        names = [name for name in names if name not in pinned]
        snapshots = pool.map(lambda name: pin(spark, lake.table(name), at.get(name)), names)
        pinned |= zip(names, snapshots, strict=True)
    return Pins(
        source=pinned[source.table],
        contexts={name: pinned[context.table] for name, context in contexts.items()},
        label=pinned[labelled] if labelled else None,
    )
