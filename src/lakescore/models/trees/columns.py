"""What a value is to the trees: how many of a column's thresholds lie below it, in one byte."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lakescore.models.trees.tree import Missing, Tree

if TYPE_CHECKING:
    import numpy.typing as npt

#: Codes of values: -128, with no threshold below, to 126; 127 is above any bound.
LOWEST, _ABOVE_ALL = -128, 127
#: Thresholds of one byte, and the codes that a split tells apart with as many: two edges each.
_MOST = 254
_MOST_MEMBERS = _MOST // 2
#: LightGBM's kZeroThreshold, a float.
_ZERO = float(np.float32(1e-35))


@dataclass(frozen=True)
class CodeColumn:
    """One byte a row: `thresholds` (at most 254) of `feature`, and the codes of what is special.

    Values within `zero` of 0 get `zero_code`; none where it is negative.
    """

    feature: int
    thresholds: npt.NDArray[np.float64]
    nan_code: int
    zero: float
    zero_code: int


@dataclass(frozen=True)
class Splits:
    """The splits of all trees, one after another, in terms of `columns`; arrays are (splits,).

    A number goes left where the code in `column` is below `bound`. For a split by codes `members`
    has pairs (column, code), from `first_member` to before `end_member`.
    """

    columns: tuple[CodeColumn, ...]
    column: npt.NDArray[np.int32]
    bound: npt.NDArray[np.int8]
    first_member: npt.NDArray[np.int32]
    end_member: npt.NDArray[np.int32]
    members: npt.NDArray[np.int32]


def in_codes(trees: Sequence[Tree], *, tiny_is_zero: bool) -> Splits:
    """A feature gets a column for each way in which its missing values go, and more than one where
    it has more thresholds than a byte tells apart. With `tiny_is_zero` what is at most 1e-35 from
    0 counts as 0.
    """
    feature = joined([tree.feature for tree in trees], np.int32)
    count = len(feature)
    sets = _sets(trees)
    by_code = np.zeros(count, np.bool_)
    by_code[list(sets)] = True
    column, bound = np.zeros(count, np.int32), np.full(count, LOWEST, np.int8)
    first, end = np.zeros(count, np.int32), np.zeros(count, np.int32)
    columns: list[CodeColumn] = []
    members = [np.empty((0, 2), np.int32)]

    threshold = joined([tree.threshold for tree in trees], np.float64)
    missing = joined([tree.missing for tree in trees], np.int32)
    left = joined([tree.default_left for tree in trees], np.int32) * (missing != Missing.NONE)
    for of, kind, goes_left in np.unique(np.stack([feature, missing, left], 1)[~by_code], axis=0):
        alike = (feature == of) & (missing == kind) & (left == goes_left) & ~by_code
        table, rank = np.unique(threshold[alike], return_inverse=True)
        column[alike] = len(columns) + rank // _MOST
        bound[alike] = LOWEST + 1 + rank % _MOST
        columns += _of_numbers(int(of), table, Missing(kind), bool(goes_left), tiny_is_zero)

    for of in np.unique(feature[by_code]):
        mine = [split for split in sets if feature[split] == of]
        ends = sum(map(len, members)) + np.cumsum([0, *(len(sets[split]) for split in mine)])
        first[mine], end[mine] = ends[:-1], ends[1:]
        known, places = np.unique(
            np.concatenate([sets[split] for split in mine]), return_inverse=True
        )
        made = _of_codes(int(of), known)
        codes = [
            LOWEST + np.searchsorted(column.thresholds, known[start : start + _MOST_MEMBERS])
            for column, start in zip(made, range(0, len(known), _MOST_MEMBERS), strict=True)
        ]
        of_member = np.concatenate([np.empty(0, np.int64), *codes])[places]
        members.append(np.stack([len(columns) + places // _MOST_MEMBERS, of_member], axis=1))
        columns += made
    pairs = np.concatenate(members).astype(np.int32)
    return Splits(tuple(columns), column, bound, first, end, pairs)


def joined(arrays: Sequence[npt.NDArray[Any]], dtype: type[Any]) -> npt.NDArray[Any]:
    """One after another; of no arrays, none."""
    together: npt.NDArray[Any] = np.concatenate([np.empty(0, dtype), *arrays]).astype(dtype)
    return together


def _sets(trees: Sequence[Tree]) -> dict[int, npt.NDArray[np.int64]]:
    """The members of each split by codes, by its place among all splits."""
    starts = np.cumsum([0, *(len(tree.feature) for tree in trees)]).tolist()
    return {
        start + split: values
        for start, tree in zip(starts, trees, strict=False)
        for split, values in tree.members.items()
    }


def _of_numbers(
    feature: int,
    table: npt.NDArray[np.float64],
    missing: Missing,
    goes_left: bool,
    tiny_is_zero: bool,
) -> Iterator[CodeColumn]:
    """Where missing values go left their code is below any bound, else above all."""
    special = LOWEST if goes_left else _ABOVE_ALL
    for start in range(0, len(table), _MOST):
        thresholds = table[start : start + _MOST]
        zero_code = _code(thresholds, 0.0)
        yield CodeColumn(
            feature,
            thresholds,
            nan_code=zero_code if missing is Missing.NONE else special,
            zero=_ZERO if tiny_is_zero or missing is Missing.ZERO else -1.0,
            zero_code=special if missing is Missing.ZERO else zero_code,
        )


def _of_codes(feature: int, known: npt.NDArray[np.int64]) -> list[CodeColumn]:
    """A value with the whole part c lies above the edge below c, and not above that below c + 1.

    Of 0 the edge is -1: what lies between has no whole part.
    """
    columns = []
    for start in range(0, len(known), _MOST_MEMBERS):
        page = known[start : start + _MOST_MEMBERS].astype(np.float64)
        lower = np.where(page == 0, -1.0, np.nextafter(page, -np.inf))
        edges = np.unique(np.concatenate([lower, np.nextafter(page + 1, -np.inf)]))
        columns.append(CodeColumn(feature, edges, _ABOVE_ALL, zero=-1.0, zero_code=0))
    return columns


def _code(thresholds: npt.NDArray[np.float64], value: float) -> int:
    """Of a number that is not special."""
    return LOWEST + int(np.searchsorted(thresholds, value, side="left"))
