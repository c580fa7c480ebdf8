"""MLlib's trees as the text of a LightGBM model, which is what this host can compile.

Both go left where ``value <= threshold``, or where a code is in the split's set, so each row ends
in the same leaf; and both add the leaves tree by tree. NaN goes right, as in MLlib.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from lakescore.models.mllib.forest_scorer import Trees

#: LightGBM's decision types: a number whose NaN is a missing value that goes right; a set of codes.
_NUMBER, _CODES = 8, 1
_WORD_BITS = 32


def lightgbm_text(trees: Trees, values: npt.NDArray[np.float64], columns: int) -> str:
    """A regression model whose raw score is the sum of `values` (nodes,) over the leaves reached.

    `columns` is how wide the matrix is.
    """
    blocks = [_block(number, _Tree(trees, root, values)) for number, root in enumerate(trees.roots)]
    header = [
        "tree", "version=v4", "num_class=1", "num_tree_per_iteration=1", "label_index=0",
        f"max_feature_idx={columns - 1}", "objective=regression",
        f"feature_names={' '.join(f'c{place}' for place in range(columns))}",
        f"feature_infos={' '.join(_kinds(trees, columns))}",
        f"tree_sizes={' '.join(str(len(block)) for block in blocks)}", "", "",
    ]  # fmt: skip
    return "\n".join(header) + "".join(blocks) + "end of trees\n\nparameters:\nend of parameters\n"


def _kinds(trees: Trees, columns: int) -> Iterator[str]:
    """What LightGBM notes of each column's values: codes, or a range, by which lleaves goes."""
    coded = set(trees.feature[trees.category_start >= 0].tolist())
    return ("0:1" if place in coded else "[-1e300:1e300]" for place in range(columns))


@dataclass
class _Tree:
    """One tree's splits in pre-order, the root first; children as LightGBM numbers them."""

    trees: Trees
    root: int
    values: npt.NDArray[np.float64]
    splits: list[int] = field(default_factory=list)
    leaves: list[int] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    right: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        waiting: list[tuple[int, list[int] | None, int]] = [(int(self.root), None, 0)]
        while waiting:
            node, side, place = waiting.pop()
            is_leaf = self.trees.left[node] == node
            if side is not None:
                side[place] = ~len(self.leaves) if is_leaf else len(self.splits)
            if is_leaf:
                self.leaves.append(node)
                continue
            own = len(self.splits)
            self.splits.append(node)
            self.left.append(0)
            self.right.append(0)
            waiting.append((int(self.trees.right[node]), self.right, own))
            waiting.append((int(self.trees.left[node]), self.left, own))

    def codes(self) -> Iterator[npt.NDArray[np.int64]]:
        """Of each split by codes, those that go left."""
        starts, table = self.trees.category_start, self.trees.category_left
        ends = {*starts[starts >= 0].tolist(), len(table)}
        for node in self.splits:
            start = int(starts[node])
            if start >= 0:
                yield np.flatnonzero(table[start : min(end for end in ends if end > start)])


def _block(number: int, tree: _Tree) -> str:
    lines = [f"Tree={number}", f"num_leaves={len(tree.leaves)}"]
    values = _texts(tree.values[tree.leaves])
    if not tree.splits:
        lines += ["num_cat=0", f"leaf_value={values}", "is_linear=0", "shrinkage=1", "", "", ""]
        return "\n".join(lines)
    nodes, sets = np.array(tree.splits), list(tree.codes())
    coded = tree.trees.category_start[nodes] >= 0
    thresholds = tree.trees.threshold[nodes].astype(object)
    thresholds[coded] = list(range(len(sets)))
    zeros, some = " ".join(["0"] * len(nodes)), " ".join(["0"] * len(tree.leaves))
    lines += [
        f"num_cat={len(sets)}",
        f"split_feature={_texts(tree.trees.feature[nodes])}",
        f"split_gain={zeros}",
        f"threshold={_texts(thresholds)}",
        f"decision_type={_texts(np.where(coded, _CODES, _NUMBER))}",
        f"left_child={_texts(tree.left)}",
        f"right_child={_texts(tree.right)}",
        f"leaf_value={values}",
        f"leaf_weight={some}",
        f"leaf_count={some}",
        f"internal_value={zeros}",
        f"internal_weight={zeros}",
        f"internal_count={zeros}",
    ]
    if sets:
        words = [_bits(one) for one in sets]
        bounds = np.cumsum([0, *(len(one) for one in words)])
        lines += [
            f"cat_boundaries={_texts(bounds)}",
            f"cat_threshold={_texts(word for one in words for word in one)}",
        ]
    return "\n".join([*lines, "is_linear=0", "shrinkage=1", "", "", ""])


def _bits(codes: npt.NDArray[np.int64]) -> list[int]:
    """The codes as a set of bits, in words of 32."""
    words = [0] * (int(codes.max(initial=0)) // _WORD_BITS + 1)
    for code in codes.tolist():
        words[code // _WORD_BITS] |= 1 << code % _WORD_BITS
    return words


def _texts(values: Sequence[object] | Iterator[object] | npt.NDArray[np.generic]) -> str:
    """Numbers as Python writes them: shortest texts that give the same doubles."""
    plain = values.tolist() if isinstance(values, np.ndarray) else values
    return " ".join(repr(value) for value in plain)
