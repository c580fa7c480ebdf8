"""Scores trees 64 rows at a time, by bytes, without a branch that depends on a row.

A tree is usually walked row by row, and each split costs a branch that the processor cannot guess.
Here each value is replaced, once, by how many of its column's thresholds lie below it, which is all
that the trees ask of it and fits a byte; then every split of a tree is taken for 64 rows in a few
vector instructions, whether a row comes to it or not, and masks tell which rows do. After
QuickScorer (Lucchese et al., SIGIR 2015), which takes all splits of a tree for a row as masks, and
RapidScorer (Ye et al., KDD 2018), which does so for many rows at once.

Leaves are added tree by tree, each row's in the order of the trees: the sums are to the last bit
those of adding them one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lakescore.models.trees.columns import in_codes
from lakescore.models.trees.kernel import LANES, Kernel, kernel
from lakescore.models.trees.layout import Piece, laid_out
from lakescore.models.trees.tree import Tree

if TYPE_CHECKING:
    import numpy.typing as npt

    Doubles = npt.NDArray[np.float64]

#: Codes that stay in a core's second-level cache; as many rows are taken at once.
_CODES_BYTES = 256 * 1024
#: Trees are taken in groups of at least so many pieces, which stay in its first-level cache.
_GROUP_PIECES = 16
_THRESHOLDS = 256

_SPLIT = np.dtype(
    [("column", "i4"), ("come", "i4"), ("left", "i4"), ("right", "i4"), ("first_member", "i4"),
     ("end_member", "i4"), ("bound", "i1"), ("leaves", "u1"), ("unused", "u2")]
)  # fmt: skip
_MEMBER = np.dtype([("column", "i4"), ("code", "i1"), ("unused", "i1", 3)])


@dataclass(frozen=True)
class _Group:
    """Whole trees: pieces `first` to before `end`, and what they add to which output."""

    first: int
    end: int
    addends: npt.NDArray[np.int32]
    bounds: npt.NDArray[np.int32]


class Ensemble:
    """Trees whose leaves are summed into `outputs` sums.

    A tree whose values have one column adds to output ``its place % outputs``, as LightGBM's trees
    of several classes do; any other one has a column for each output.
    """

    def __init__(
        self, trees: Sequence[Tree], outputs: int, native: Kernel, *, tiny_is_zero: bool
    ) -> None:
        layout, splits = laid_out(trees), in_codes(trees, tiny_is_zero=tiny_is_zero)
        self._native, self._outputs, self._columns = native, outputs, splits.columns
        features = [column.feature for column in self._columns]
        if min(features, default=0) < 0:
            raise ValueError("a split names a column below 0")
        self._width = 1 + max(features, default=-1)
        self._splits = np.zeros(len(layout.order), _SPLIT)
        self._splits["column"] = splits.column[layout.order] * LANES
        self._splits["come"] = layout.come * LANES
        self._splits["left"] = layout.left * LANES
        self._splits["right"] = layout.right * LANES
        self._splits["leaves"] = layout.leaves
        for name in ("first_member", "end_member", "bound"):
            self._splits[name] = getattr(splits, name)[layout.order]
        self._members = np.zeros(len(splits.members), _MEMBER)
        self._members["column"] = splits.members[:, 0] * LANES
        self._members["code"] = splits.members[:, 1]
        rows = [(piece.first, piece.end, piece.root * LANES) for piece in layout.pieces]
        self._pieces = np.array(rows, np.int32).reshape(-1, 3)
        self._values, self._places = layout.values, layout.places
        self._thresholds = np.full((len(self._columns), _THRESHOLDS), np.inf)
        for row, column in zip(self._thresholds, self._columns, strict=True):
            row[: len(column.thresholds)] = column.thresholds
        self._groups = [_group(mine, trees, outputs) for mine in _grouped(layout.pieces)]

    @classmethod
    def of(
        cls, trees: Sequence[Tree], outputs: int = 1, *, tiny_is_zero: bool = False
    ) -> Ensemble | None:
        """None where this host cannot compile. With `tiny_is_zero` a value at most 1e-35 from 0
        counts as 0, as in the rows that LightGBM reads. Raises ValueError for trees that are none.
        """
        native = kernel()
        return None if native is None else cls(trees, outputs, native, tiny_is_zero=tiny_is_zero)

    def sums(self, matrix: Doubles) -> Doubles:
        """Of a matrix of doubles (rows, columns), the sums (outputs, rows).

        Raises ValueError where it lacks a column that a split names.
        """
        matrix = self._readable(matrix)
        blocks = -(-len(matrix) // LANES)
        sums = np.zeros((self._outputs, blocks * LANES))
        block_bytes = max(1, len(self._columns)) * LANES
        chunk = max(1, min(blocks, _CODES_BYTES // block_bytes))
        codes = _aligned(chunk * block_bytes)
        most = max((group.end - group.first for group in self._groups), default=0)
        reach, found = _aligned(self._places * LANES), _aligned(most * LANES)
        reach[:LANES] = -1
        for start in range(0, len(matrix), chunk * LANES):
            rows = matrix[start : start + chunk * LANES]
            self._encode(rows, codes, block_bytes)
            for group in self._groups:
                self._native.add_leaves(
                    _at(codes), -(-len(rows) // LANES), block_bytes,
                    _at(self._splits), _at(self._members), _at(self._pieces),
                    group.first, group.end, _at(reach), _at(found),
                    _at(group.addends), _at(group.bounds), self._outputs,
                    _at(self._values), sums.ctypes.data + start * sums.itemsize, sums.shape[1],
                )  # fmt: skip
        return sums[:, : len(matrix)]

    def _readable(self, matrix: Doubles) -> Doubles:
        """As the native code can read it: whole doubles, whole doubles apart."""
        matrix = np.asarray(matrix, np.float64)
        if matrix.ndim != 2 or matrix.shape[1] < self._width:
            raise ValueError(f"trees of {self._width} columns get a matrix of {matrix.shape}")
        apart = all(stride % matrix.itemsize == 0 for stride in matrix.strides)
        return matrix if apart and matrix.flags.aligned else np.ascontiguousarray(matrix)

    def _encode(self, rows: Doubles, codes: npt.NDArray[np.int8], block_bytes: int) -> None:
        stride = rows.strides[0] // rows.itemsize
        for place, column in enumerate(self._columns):
            self._native.encode(
                rows.ctypes.data + column.feature * rows.strides[1], stride, len(rows),
                _at(self._thresholds[place]), column.nan_code, column.zero, column.zero_code,
                _at(codes) + place * LANES, block_bytes,
            )  # fmt: skip


def exponentials(values: Doubles) -> Doubles:
    """e to the power of each value, as the C library gives it: LightGBM's doubles, not numpy's.

    Raises RuntimeError where this host cannot compile.
    """
    native, powers = kernel(), np.array(values, np.float64, order="C")
    if native is None:
        raise RuntimeError("no native code on this host")
    native.exponentials(_at(powers), powers.size)
    return powers


def _grouped(pieces: Sequence[Piece]) -> list[tuple[int, list[Piece]]]:
    """Pieces of whole trees, with the number of the first one."""
    groups: list[tuple[int, list[Piece]]] = []
    for number, piece in enumerate(pieces):
        held = groups[-1][1] if groups else []
        if not held or (len(held) >= _GROUP_PIECES and piece.tree != held[-1].tree):
            groups.append((number, []))
        groups[-1][1].append(piece)
    return groups


def _group(numbered: tuple[int, list[Piece]], trees: Sequence[Tree], outputs: int) -> _Group:
    first, pieces = numbered
    addends: list[tuple[int, int]] = []
    bounds = [0]
    for output in range(outputs):
        for place, piece in enumerate(pieces):
            width = trees[piece.tree].values.shape[1]
            if width > 1 or piece.tree % outputs == output:
                column = output if width > 1 else 0
                addends.append((place * LANES, piece.base + column * piece.size))
        bounds.append(len(addends))
    pairs = np.array(addends, np.int32).reshape(-1, 2)
    return _Group(first, first + len(pieces), pairs, np.array(bounds, np.int32))


def _aligned(size: int) -> npt.NDArray[np.int8]:
    """Zeros that begin where a vector may."""
    room = np.zeros(size + LANES, np.int8)
    return room[-room.ctypes.data % LANES :]


def _at(array: npt.NDArray[Any]) -> int:
    return int(array.ctypes.data)
