"""Taking a scoring commit back: what it wrote goes, what it replaced comes from the version before.

Only rows of the commit's own workload are touched, in one commit of their own. An append is taken
back by deleting its rows; a replacement, and whatever was made in mode full, by replacing the same
part with what it was; another MERGE by merging back the rows whose content differs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from lakescore.config.base import quoted
from lakescore.config.predictions import WITHDRAWN
from lakescore.errors import ForeignTable, UsageError
from lakescore.lake.canonical import row_hash
from lakescore.lake.chain import WITHDRAWS, Chain
from lakescore.lake.history import TableCommit
from lakescore.lake.staging import ACTION
from lakescore.lake.writes import Merge, Replace

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from lakescore.lake.tables import Table

_HASH = "_content"


@dataclass(frozen=True)
class Withdrawal:
    """How one commit is taken back: `rows` (per session) are written `how`."""

    how: Replace | Merge
    rows: Callable[[SparkSession], DataFrame]


def commit_to_withdraw(
    chain: Chain, commit_seq: int | None, *, workload: str, where: str
) -> TableCommit | None:
    """The newest commit in force that scored; None when `commit_seq` was taken back before.

    Raises UsageError when there is none, when `commit_seq` is another one, and when the history
    no longer shows what stood before it; ForeignTable when a later commit of another writer
    changed rows: what it did cannot be told from what is to be taken back.
    """
    last = _last_scoring(chain, where)
    number = int(last.metadata["commit_seq"])
    if commit_seq is not None and commit_seq != number:
        if any(commit.metadata["commit_seq"] == commit_seq for commit in chain.in_force):
            raise UsageError(
                f"commit {commit_seq} is in force, but {number} came after it",
                where=where,
                hint=f"take {number} back first: --commit {number}",
            )
        if any(commit.metadata["commit_seq"] == commit_seq for commit in chain.own):
            return None
        raise UsageError(
            f"there is no commit {commit_seq}; the last one in force is {number}", where=where
        )
    if not chain.tells_before(last):
        raise UsageError(
            f"what stood before commit {number} is no longer in the history, which was cleaned",
            where=where,
            hint=f"make every prediction anew: lakescore score {workload} --full",
        )
    return last


def _last_scoring(chain: Chain, where: str) -> TableCommit:
    scoring = [c for c in chain.in_force if WITHDRAWS not in c.metadata]
    if not scoring or scoring[0].metadata.get("kind") != "predictions":
        raise UsageError(
            "there is no scoring commit to take back"
            if chain.complete
            else "the last scoring commit is no longer in the history, which was cleaned",
            where=where,
            hint="lakescore score NAME --full makes every prediction anew",
        )
    found = scoring[0]
    foreign = [
        commit
        for commit in chain.commits
        if commit.version > found.version and not commit.metadata and not commit.keeps_rows
    ]
    if foreign:
        named = ", ".join(commit.describe() for commit in foreign[:5])
        raise ForeignTable(
            f"another writer's commit stands in between: {named}",
            where=where,
            hint="take that one back first (RESTORE TABLE), or make every prediction anew: "
            "lakescore score NAME --full",
        )
    return found


def withdrawal(table: Table, own_rows: Callable[[str], str], commit: TableCommit) -> Withdrawal:
    """How to take `commit` back, the newest of the workload that is in force.

    `own_rows` gives the workload's rows as SQL, of the table under an alias (or none, "").
    """
    own, plan = own_rows(""), commit.metadata

    def before(spark: SparkSession) -> DataFrame:
        now = table.read(spark)
        rows = table.read(spark, commit.version - 1).where(own)
        types = {field.name: field.dataType for field in now.schema}
        return rows.select(
            *(
                F.col(quoted(name)) if name in rows.columns else F.lit(None).cast(kind).alias(name)
                for name, kind in types.items()
            )
        )

    key = tuple(plan.get("merge_by", ()))
    if key and plan["mode"] != "full":
        how = Merge(key, own_rows("t"), ACTION, WITHDRAWN)
        return Withdrawal(how, lambda spark: _difference(table, own, before(spark), key))
    replaces = "true" if plan["mode"] == "full" else plan.get("replaces")
    if replaces is None:
        number = int(plan["commit_seq"])
        return Withdrawal(
            Replace(f"{own} AND _commit_seq = {number}"), lambda spark: table.read(spark).limit(0)
        )
    return Withdrawal(
        Replace(f"{own} AND ({replaces})"), lambda spark: before(spark).where(replaces)
    )


def _difference(table: Table, own: str, before: DataFrame, key: Sequence[str]) -> DataFrame:
    """What turns the rows of now into those of before, by key: rows to write, keys to delete."""
    now = table.read(before.sparkSession).where(own).select(*map(quoted, before.columns))
    names = list(before.columns)
    then_hashed = before.withColumn(_HASH, row_hash(before, names))
    now_hashed = now.withColumn(_HASH, row_hash(now, names))
    same = [*key, _HASH]
    written = then_hashed.join(now_hashed.select(*map(quoted, same)), same, "left_anti")
    added = now.join(before.select(*map(quoted, key)), list(key), "left_anti")
    columns: list[Any] = [F.col(quoted(name)) for name in names]
    return written.select(*columns, F.lit("write").alias(ACTION)).unionByName(
        added.select(*columns, F.lit("delete").alias(ACTION))
    )
