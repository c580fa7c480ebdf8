"""LightGBM's text format: what a model file says of itself, checked before native code reads it.

LightGBM trusts the indexes in a model file: a damaged one can make it read outside its memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from lakescore.errors import ModelBroken, UsageError
from lakescore.matrix import Task

_END = "end of trees"
_CATEGORICAL = 1
_CLASSES = {"binary", "cross_entropy", "xentropy", "cross_entropy_lambda", "xentlambda"}


@dataclass(frozen=True)
class TreeText:
    """One tree's splits, as written: column, threshold (or table number), whether categorical."""

    features: tuple[int, ...]
    thresholds: tuple[float, ...]
    categorical: tuple[bool, ...]
    category_words: int
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
        return any(tree.is_linear for tree in self.trees)

    @cached_property
    def categorical_indexes(self) -> frozenset[int]:
        """The columns that a tree splits by sets of codes."""
        return frozenset(
            feature
            for tree in self.trees
            for feature, categorical in zip(tree.features, tree.categorical, strict=True)
            if categorical
        )


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
    if int(header["num_tree_per_iteration"]) < 1:
        raise ValueError("it states no tree an iteration")
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
    features = _integers(pairs, "split_feature")
    decisions = _integers(pairs, "decision_type")
    thresholds = tuple(float(word) for word in pairs.get("threshold", "").split())
    children = [*_integers(pairs, "left_child"), *_integers(pairs, "right_child")]
    if not len(features) == len(decisions) == len(thresholds) == leaves - 1:
        raise ValueError(f"a tree of {leaves} leaves has {len(features)} splits")
    if len(pairs["leaf_value"].split()) != leaves:
        raise ValueError(f"a tree of {leaves} leaves lacks leaf values")
    if sorted(children) != [*range(-leaves, 0), *range(1, leaves - 1)] and leaves > 1:
        raise ValueError("the nodes of a tree do not form a tree")
    if features and not 0 <= min(features) <= max(features) < columns:
        raise ValueError("a split names a column that it does not have")
    categorical = tuple(bool(decision & _CATEGORICAL) for decision in decisions)
    _check_categories(pairs, [t for t, coded in zip(thresholds, categorical, strict=True) if coded])
    return TreeText(
        features=features,
        thresholds=thresholds,
        categorical=categorical,
        category_words=len(_integers(pairs, "cat_threshold")),
        is_linear=pairs.get("is_linear", "0") == "1",
    )


def _check_categories(pairs: Mapping[str, str], tables: list[float]) -> None:
    """The tables of categorical splits lie within the words that the tree has."""
    bounds = _integers(pairs, "cat_boundaries")
    words = _integers(pairs, "cat_threshold")
    if not tables:
        return
    if list(bounds) != sorted(bounds) or bounds[-1] != len(words) or bounds[0] != 0:
        raise ValueError("the category tables of a tree do not fit")
    if not 0 <= min(tables) <= max(tables) < len(bounds) - 1:
        raise ValueError("a split names a category table that its tree lacks")


def _integers(pairs: Mapping[str, str], key: str) -> tuple[int, ...]:
    return tuple(int(word) for word in pairs.get(key, "").split())
