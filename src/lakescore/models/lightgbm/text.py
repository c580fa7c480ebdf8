"""LightGBM's text format: what a model file says of itself, checked before native code reads it.

LightGBM trusts the indexes in a model file: a damaged one can make it read outside its memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lakescore.errors import ModelBroken, UsageError
from lakescore.matrix import Task
from lakescore.models.trees.tree import Missing, Tree

if TYPE_CHECKING:
    import numpy.typing as npt

_END = "end of trees"
#: Of a split's decision type: a bit for codes, a bit for left, two bits for `Missing`.
_CATEGORICAL, _DEFAULT_LEFT, _MISSING_BITS = 1, 2, 2
_WORD_BITS = 32
_CLASSES = {"binary", "cross_entropy", "xentropy", "cross_entropy_lambda", "xentlambda"}


@dataclass(frozen=True)
class TreeText:
    """One tree, and whether its leaves hold linear functions, which `tree` leaves out."""

    tree: Tree
    is_linear: bool


@dataclass(frozen=True)
class ModelText:
    """A LightGBM model, as its text describes it."""

    header: Mapping[str, str]
    trees: tuple[TreeText, ...]

    @property
    def feature_names(self) -> tuple[str, ...]:
        return tuple(self.header["feature_names"].split(" "))

    @property
    def objective(self) -> str:
        """Its first word, such as "binary"; "" when the text names none."""
        return (self.header.get("objective") or " ").split(" ")[0]

    @property
    def classes(self) -> int:
        """How many numbers a row gets, where it is more than one; else 0."""
        outputs = int(self.header["num_tree_per_iteration"])
        return outputs if outputs > 1 else 0

    @property
    def task(self) -> Task:
        if self.classes:
            return Task.MULTICLASS
        return Task.BINARY if self.objective in _CLASSES else Task.REGRESSION

    @property
    def is_linear(self) -> bool:
        return any(one.is_linear for one in self.trees)


def read_model_text(text: str, where: str) -> ModelText:
    """Parse and check a model.

    Raises ModelBroken when it is truncated or contradicts itself.
    """
    try:
        return _parse(text)
    except (ValueError, KeyError, IndexError) as error:
        raise ModelBroken(
            f"not a whole LightGBM text model: {error}",
            where=where,
            hint="save it again with Booster.save_model",
        ) from error


def refuse_several_outputs(model: ModelText, where: str) -> None:
    """Raises UsageError for a model of several classes that was trained elsewhere.

    It does not tell what they are called.
    """
    if model.classes:
        raise UsageError(
            f"the model has {model.classes} outputs; of models that were trained elsewhere "
            "lakescore scores those with one",
            where=where,
        )


def _parse(text: str) -> ModelText:
    blocks = _blocks(text)
    header = _pairs(next(blocks, []))
    columns = int(header["max_feature_idx"]) + 1
    names = header["feature_names"].split(" ")
    if columns < 1 or len(names) != columns:
        raise ValueError(f"it names {len(names)} columns and states {columns}")
    outputs = int(header["num_tree_per_iteration"])
    if outputs < 1:
        raise ValueError("it states no tree an iteration")
    if int(header["num_class"]) != outputs:
        raise ValueError(
            f"it states {header['num_class']} classes and {outputs} trees an iteration"
        )
    trees: list[TreeText] = []
    for block in blocks:
        if block[0] == _END:
            break
        if block[0] != f"Tree={len(trees)}":
            raise ValueError(f"tree {len(trees)} is missing")
        trees.append(_tree(_pairs(block), columns))
    else:
        raise ValueError("it ends within its trees")
    if len(trees) != len(header["tree_sizes"].split()):
        raise ValueError(f"it has {len(trees)} of {len(header['tree_sizes'].split())} trees")
    if len(trees) % outputs:
        raise ValueError(f"its {len(trees)} trees are no whole iterations of {outputs}")
    if "\nparameters:" in text and "end of parameters" not in text:
        raise ValueError("it ends within its parameters")
    return ModelText(header, tuple(trees))


def _blocks(text: str) -> Iterator[list[str]]:
    """The blocks of lines that empty lines part."""
    if not text.startswith("tree\n"):
        raise ValueError("it does not start with 'tree'")
    block: list[str] = []
    for line in text.split("\n"):
        if line:
            block.append(line)
        elif block:
            yield block
            block = []
    if block:
        yield block


def _pairs(block: list[str]) -> dict[str, str]:
    return {key: value for key, _, value in (line.partition("=") for line in block)}


def _tree(pairs: Mapping[str, str], columns: int) -> TreeText:
    leaves = int(pairs["num_leaves"])
    feature, decision = _integers(pairs, "split_feature"), _integers(pairs, "decision_type")
    threshold, values = _doubles(pairs, "threshold"), _doubles(pairs, "leaf_value")
    left, right = _integers(pairs, "left_child"), _integers(pairs, "right_child")
    if {len(one) for one in (feature, decision, threshold, left, right)} != {leaves - 1}:
        raise ValueError(f"a tree of {leaves} leaves has {len(feature)} splits")
    if len(values) != leaves:
        raise ValueError(f"a tree of {leaves} leaves lacks leaf values")
    children = sorted([*left.tolist(), *right.tolist()])
    below = all((one[one >= 0] > np.flatnonzero(one >= 0)).all() for one in (left, right))
    if leaves > 1 and (children != [*range(-leaves, 0), *range(1, leaves - 1)] or not below):
        raise ValueError("the nodes of a tree do not form a tree")
    if np.isnan(threshold).any() or np.isnan(values).any():
        raise ValueError("a threshold or a value of a tree is no number")
    if len(feature) and not 0 <= feature.min() <= feature.max() < columns:
        raise ValueError("a split names a column that it does not have")
    missing = decision >> _MISSING_BITS & 3
    if missing.max(initial=0) > max(Missing):
        raise ValueError("a split states a kind of missing values that there is not")
    coded = (decision & _CATEGORICAL) != 0
    tree = Tree(
        feature=feature.astype(np.int32),
        threshold=np.where(coded, 0.0, threshold),
        missing=missing.astype(np.uint8),
        default_left=(decision & _DEFAULT_LEFT) != 0,
        left=left.astype(np.int32),
        right=right.astype(np.int32),
        values=values[:, None],
        members=_members(pairs, np.flatnonzero(coded).tolist(), threshold),
    )
    return TreeText(tree, is_linear=pairs.get("is_linear", "0") != "0")


def _members(
    pairs: Mapping[str, str], splits: Sequence[int], threshold: npt.NDArray[np.float64]
) -> dict[int, npt.NDArray[np.int64]]:
    """The codes that go left at each categorical split, whose `threshold` names a table of bits."""
    if not splits:
        return {}
    bounds = _integers(pairs, "cat_boundaries")
    words = _integers(pairs, "cat_threshold")
    if bounds.tolist() != sorted(bounds.tolist()) or bounds[-1] != len(words) or bounds[0] != 0:
        raise ValueError("the category tables of a tree do not fit")
    tables = threshold[splits].astype(np.int64)
    if not 0 <= tables.min() <= tables.max() < len(bounds) - 1:
        raise ValueError("a split names a category table that its tree lacks")
    bits = words[:, None] >> np.arange(_WORD_BITS) & 1
    return {
        split: np.flatnonzero(bits[bounds[table] : bounds[table + 1]])
        for split, table in zip(splits, tables.tolist(), strict=True)
    }


def _integers(pairs: Mapping[str, str], key: str) -> npt.NDArray[np.int64]:
    return np.array(_words(pairs, key), np.int64)


def _doubles(pairs: Mapping[str, str], key: str) -> npt.NDArray[np.float64]:
    return np.array(_words(pairs, key), np.float64)


def _words(pairs: Mapping[str, str], key: str) -> list[str]:
    value = pairs.get(key, "")
    if "_" in value:  # which Python reads within a number
        raise ValueError(f"{key} is no list of numbers")
    return value.split()
