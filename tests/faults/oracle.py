"""What the predictions and the quarantine must say, in plain Python over the source's history."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from tests.linear import COEFFICIENTS

#: The source's row: x, day of January 2024, and how many identical copies there are; with a minus
#: so many rows that share the key and differ in x.
Row = tuple[float, int, int]
#: The key of a refused row that has none.
KEYLESS = '{"id":null}'
#: Two rows of one key with different values.
CONFLICT = -2


def keyless_in_one(refused: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    """(key, copies), sorted: of rows without a key, which commits share out, only the sum."""
    rows = list(refused)
    keyless = sum(copies for key, copies in rows if key == KEYLESS)
    return sorted([row for row in rows if row[0] != KEYLESS] + [(KEYLESS, keyless)] * (keyless > 0))


@dataclass
class SourceHistory:
    """Every version of the source: all of its rows, and the ids that the version wrote.

    A row whose id is negative here has no key in the source. `written` is the last content of
    every id that ever was.

    With `readings` (day -> hour from midnight at which it was known -> value) rows are scored by
    the newest reading of their day known at midnight, or by 0; without, by their own x. What is
    not `strict` takes a negative x. `columns` are those that were added to the source.
    """

    rows: dict[int, Row] = field(default_factory=dict)
    rows_at: dict[int, dict[int, Row]] = field(default_factory=dict)
    written_at: dict[int, set[int]] = field(default_factory=dict)
    written: dict[int, Row] = field(default_factory=dict)
    columns: frozenset[str] = frozenset()
    columns_at: dict[int, frozenset[str]] = field(default_factory=dict)
    next_id: int = 1
    readings: dict[int, dict[int, float]] | None = None
    strict: bool = True

    def judge(self, rows: dict[int, Row], model: str) -> tuple[dict[int, float], dict[int, int]]:
        """What a run that judges these rows scores, and copies of what it refuses."""
        scores, refused = dict[int, float](), dict[int, int]()
        for one, (x, at, copies) in rows.items():
            if one < 0 or copies < 0 or (self.strict and x < 0):
                refused[one] = copies
            else:
                scores[one] = self._score(x, at, model)
        return scores, refused

    def _score(self, x: float, at: int, model: str) -> float:
        a, b = COEFFICIENTS[int(model) - 1]
        if self.readings is None:
            return a * x + b
        known = {hour: z for hour, z in self.readings.get(at, {}).items() if hour <= 0}
        return a * known[max(known)] + b if known else b

    def counts(self, rows: dict[int, Row], model: str) -> dict[str, int]:
        """What a run says that judged these rows in one commit.

        Of rows without a key those alike are copies of one.
        """
        scores, refused = self.judge(rows, model)
        read = sum(abs(copies) for *_, copies in rows.values())
        kept = len({rows[one][:2] for one in refused if one < 0})
        kept += sum(max(1, -copies) for one, copies in refused.items() if one > 0)
        return {
            "read": read,
            "predicted": len(scores),
            "quarantined": kept,
            "duplicates": read - len(scores) - kept,
            "out_of_scope": 0,
            "deleted": 0,
        }

    def commit(self, version: int, written: Iterable[int] = ()) -> None:
        """The source is at a version now: a new one, unless there was nothing to do."""
        self.rows_at[version] = dict(self.rows)
        self.columns_at[version] = self.columns
        self.written |= self.rows
        self.written_at.setdefault(version, set()).update(written)

    def at(self, version: int) -> dict[int, Row]:
        return self.rows_at[version] if version >= 0 else {}

    def feed_covers(self, since: int) -> bool:
        """Whether Delta gives a feed of what came after a version: not where a column was lost."""
        later = (columns for at, columns in self.columns_at.items() if at > since)
        return all(columns <= self.columns for columns in later)

    def of_days(self, version: int, first: int, last: int) -> dict[int, Row]:
        return {i: row for i, row in self.at(version).items() if first <= row[1] <= last}

    def written_since(self, version: int) -> set[int]:
        later = (ids for at, ids in self.written_at.items() if at > version)
        return set().union(*later)

    def landed_since(self, version: int) -> dict[int, Row]:
        """What was appended after the version, whether it is still there or not."""
        return {one: self.written[one] for one in self.written_since(version)}

    def gone_since(self, version: int, *, feed: bool) -> set[int]:
        """Keys that were there at `version`, or with a `feed` at any later one, and are not now."""
        since = [at for at in self.rows_at if (at >= version if feed else at == version)]
        return {one for at in since for one in self.rows_at[at] if one > 0} - set(self.rows)

    def new_ids(self, count: int) -> list[int]:
        first, self.next_id = self.next_id, self.next_id + count
        return list(range(first, self.next_id))


@dataclass(frozen=True)
class Belief:
    """What the lake says: id -> (score, model version), refused ids, source version reached."""

    scores: dict[int, tuple[float, str]] = field(default_factory=dict)
    refused: dict[int, int] = field(default_factory=dict)
    reached: int = -1
    stands_under: str | None = None

    def judged(self, source: SourceHistory, rows: dict[int, Row], model: str) -> Belief:
        """After these rows were judged and scored by a version of the model."""
        scores, refused = source.judge(rows, model)
        before = self.without(rows)
        return replace(
            self,
            scores={**before.scores, **{one: (score, model) for one, score in scores.items()}},
            refused={**before.refused, **refused},
        )

    def without(self, ids: Iterable[int]) -> Belief:
        gone = set(ids)
        return replace(
            self,
            scores={one: score for one, score in self.scores.items() if one not in gone},
            refused={one: copies for one, copies in self.refused.items() if one not in gone},
        )

    def caught_up(
        self,
        source: SourceHistory,
        version: int,
        model: str,
        *,
        feed: bool,
        rescore: str,
        keeps: bool = False,
    ) -> Belief:
        """After a run that scored what is new up to `version`.

        It `keeps` predictions whose source row was deleted, and makes those of rows that came and
        went meanwhile.
        """
        rows = source.at(version)
        if rescore == "all" and self.stands_under not in (None, model):
            new = self.everything(source, version, model)
            gone = {one: score for one, score in self.scores.items() if keeps and one not in rows}
            return replace(new, scores={**gone, **new.scores})
        if keeps and self.reached >= 0:
            new = self.judged(source, source.landed_since(self.reached), model)
            return replace(new, reached=version, stands_under=model)
        new = self.without(set(source.at(self.reached)) - set(rows))
        new = new.judged(source, self.changed(source, version, feed=feed), model)
        return replace(new, reached=version, stands_under=model)

    def changed(self, source: SourceHistory, version: int, *, feed: bool) -> dict[int, Row]:
        """What a run up to `version` judges: without a `feed`, what differs from before."""
        rows, before = source.at(version), source.at(self.reached)
        written = source.written_since(self.reached)
        return {
            i: row for i, row in rows.items() if (i in written if feed else before.get(i) != row)
        }

    def everything(self, source: SourceHistory, version: int, model: str) -> Belief:
        """After a run that scored every row anew."""
        new = Belief().judged(source, source.at(version), model)
        return replace(new, reached=version, stands_under=model)

    def quarantined(self) -> list[tuple[str, int]]:
        """(key, copies) of each refused row; those without a key in one."""
        rows = list[tuple[str, int]]()
        for one, copies in self.refused.items():
            key = f'{{"id":{one}}}' if one > 0 else KEYLESS
            rows += [(key, copies)] if copies > 0 else [(key, 1)] * -copies
        return keyless_in_one(rows)

    def backfilled(self, source: SourceHistory, model: str, first: int, last: int) -> Belief:
        return self.judged(source, source.of_days(self.reached, first, last), model)

    def retried(self, source: SourceHistory, model: str) -> Belief:
        """After the refused rows that have a key were judged again."""
        rows = source.at(self.reached)
        again = {one: rows[one] for one in self.refused if one > 0 and one in rows}
        return self.judged(source, again, model)

    def retriable(self, source: SourceHistory) -> bool:
        """Whether a more lenient contract would take a refused row."""
        rows = source.at(self.reached)
        return any(one > 0 and one in rows and n > 0 for one, n in self.refused.items())
