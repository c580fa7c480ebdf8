"""The ranked scores of one bucket: sums behind the metrics, and groups for curves and bins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]

#: The columns of `RankedBucket.groups`.
COLUMNS = ("quantile", "interval", "lowest", "rows", "positives", "score_sum")
#: The entries of `RankedBucket.sums`.
SUMS = ("wins", "steps", "log_loss", "brier")

#: scikit-learn's: the machine precision of the scores.
LOG_LOSS_EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class RankedBucket:
    """Scores in descending order, of one bucket or, joined, of a whole series.

    groups: (n, len(COLUMNS)): scores that lie in the same quantile of the rows (0 = highest;
    equal scores lie where the last of them does) and in the same equal interval of [0, 1]; the
    highest scores each on their own. See `Resolution`.
    sums: wins = positive-negative pairs in the right order, ties half (AUC x pairs, Hanley &
    McNeil, Radiology 143, 1982); steps = precision at each positive, equal scores together
    (average precision x positives); log_loss and brier = sums over rows.
    """

    groups: Floats
    sums: Floats

    def column(self, name: str) -> Floats:
        """One column of the groups."""
        return self.groups[:, COLUMNS.index(name)]

    def total(self, name: str) -> float:
        """One of the sums."""
        return float(self.sums[SUMS.index(name)])

    @property
    def rows(self) -> int:
        return int(self.column("rows").sum())

    @property
    def positives(self) -> int:
        return int(self.column("positives").sum())

    @property
    def roc_auc(self) -> float | None:
        """Equal to scikit-learn's; None for one class."""
        pairs = self.positives * (self.rows - self.positives)
        return self.total("wins") / pairs if pairs else None

    @property
    def average_precision(self) -> float | None:
        """Equal to scikit-learn's; None without a positive."""
        return self.total("steps") / self.positives if self.positives else None


@dataclass(frozen=True)
class Place:
    """The rows and positives in buckets with higher scores, and all rows of the series."""

    before_rows: int
    before_positives: int
    all_rows: int


@dataclass(frozen=True)
class Resolution:
    """What groups tell apart: so many quantiles of all rows, so many equal intervals of [0, 1],
    and each score among so many rows at the top, where every row counts for the precision."""

    quantiles: int = 1
    intervals: int = 1
    top_rows: int = 0


def rank_bucket(
    scores: Floats, rows: Ints, positives: Ints, place: Place, resolution: Resolution
) -> RankedBucket:
    """Rank scores with their counts of rows and positives; one score may come in several parts."""
    order = np.argsort(-scores, kind="stable")
    scores = scores[order]
    starts = np.flatnonzero(np.append(True, scores[1:] != scores[:-1]))
    scores = scores[starts]
    rows = np.add.reduceat(rows[order], starts)
    positives = np.add.reduceat(positives[order], starts)
    above_rows = place.before_rows + np.cumsum(rows)
    above_positives = place.before_positives + np.cumsum(positives)
    # In whole numbers, so that every coarser division is a union of these.
    quantile = (resolution.quantiles * above_rows - 1) // place.all_rows
    interval = np.floor(scores * resolution.intervals).astype(np.int64)
    interval = np.minimum(interval, resolution.intervals - 1)
    starts, ends = _runs(quantile, interval, np.minimum(above_rows, resolution.top_rows + 1))
    added = [np.add.reduceat(value, starts) for value in (rows, positives, scores * rows)]
    groups = np.column_stack([quantile[starts], interval[starts], scores[ends], *added])
    return RankedBucket(groups, _sums(scores, rows, positives, above_rows, above_positives))


def _sums(
    scores: Floats, rows: Ints, positives: Ints, above_rows: Ints, above_positives: Ints
) -> Floats:
    negatives = rows - positives
    if_positive, if_negative = log_losses(scores)
    values = (
        negatives * (above_positives - positives / 2),
        positives * (above_positives / above_rows),
        positives * if_positive + negatives * if_negative,
        positives * (1 - scores) ** 2 + negatives * scores**2,
    )
    return np.array([value.sum() for value in values])


def join_buckets(buckets: Sequence[RankedBucket], resolution: Resolution) -> RankedBucket:
    """The buckets of one series, by descending scores; where they were cut leaves no trace."""
    groups = np.concatenate([bucket.groups for bucket in buckets])
    above_rows = groups[:, COLUMNS.index("rows")].cumsum()
    top = np.minimum(above_rows, resolution.top_rows + 1)
    starts, ends = _runs(groups[:, 0], groups[:, 1], top)
    added = np.add.reduceat(groups[:, 3:], starts)
    joined = np.column_stack([groups[starts, :2], groups[ends, 2], added])
    return RankedBucket(joined, np.sum([bucket.sums for bucket in buckets], axis=0))


def log_losses(scores: Floats) -> tuple[Floats, Floats]:
    """The log loss of each score if its row is positive, and if it is negative."""
    kept = np.clip(scores, LOG_LOSS_EPSILON, 1 - LOG_LOSS_EPSILON)
    return -np.log(kept), -np.log1p(-kept)


def _runs(*columns: npt.NDArray[Any]) -> tuple[Ints, Ints]:
    """The first and last positions of each run of equal rows."""
    changes = np.any([np.diff(column) != 0 for column in columns], axis=0)
    starts = np.flatnonzero(np.append(True, changes))
    return starts, np.append(starts[1:], len(columns[0])) - 1
