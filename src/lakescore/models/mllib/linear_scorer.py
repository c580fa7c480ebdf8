"""The portable linear model: one weight a number, one table of weights a category."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lakescore.matrix import MatrixColumn, MatrixSchema, Task
from lakescore.models.base import Scorer
from lakescore.models.mllib.imputation import codes, imputed_values, replacement

if TYPE_CHECKING:
    import numpy.typing as npt

_FILE = "linear.json"


@dataclass(frozen=True)
class LinearTerm:
    """One matrix column's weights: one for a number, `levels` for the codes 1 .. levels.

    Code 0 (missing or unseen) adds nothing, as does a missing number once it is the mean of a
    standardised column. Without a `replacement` numbers are taken as they are.
    """

    name: str
    weights: tuple[float, ...]
    levels: int = 0
    replacement: float | None = 0.0

    def contribution(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """What the column adds to the margin, shape (rows,)."""
        if self.levels:
            table = np.array([0.0, *self.weights])
            return table[codes(values, self.levels)]
        if self.replacement is not None:
            values = imputed_values(values, self.replacement)
        return values * self.weights[0]


@dataclass(frozen=True)
class LinearScorer(Scorer):
    """A linear or logistic model. Equal to MLlib's transform to 1e-12 of the margin.

    The margin is summed column by column rather than by BLAS, whose result for a row depends on
    how many rows come with it.
    """

    kind: ClassVar[str] = "linear"
    columns: tuple[str, ...]
    task: Task
    intercept: float
    terms: tuple[LinearTerm, ...]

    def _predict(self, matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        margin = np.full(len(matrix), self.intercept)
        for term, values in zip(self.terms, matrix.T, strict=True):
            margin += term.contribution(values)
        if self.task is Task.REGRESSION:
            return margin
        with np.errstate(over="ignore"):
            return np.asarray(1.0 / (1.0 + np.exp(-margin)))

    def save(self, folder: Path) -> None:
        content = {
            "task": self.task.value,
            "intercept": self.intercept,
            "terms": [vars(term) for term in self.terms],
        }
        text = json.dumps(content, allow_nan=False)
        (folder / _FILE).write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> LinearScorer:
        content = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        terms = tuple(_term(item) for item in content["terms"])
        names = tuple(term.name for term in terms)
        return cls(names, Task(content["task"]), float(content["intercept"]), terms)


def linear_scorer(
    schema: MatrixSchema, task: Task, intercept: float, coefficients: npt.NDArray[np.float64]
) -> LinearScorer:
    """From a coefficient vector: the columns in order, `levels` entries for a categorical one."""
    terms, start = [], 0
    for column in schema.columns:
        size = column.levels or 1
        terms.append(_term_of(column, coefficients[start : start + size]))
        start += size
    return LinearScorer(schema.names, task, intercept, tuple(terms))


def _term_of(column: MatrixColumn, weights: npt.NDArray[np.float64]) -> LinearTerm:
    values = tuple(float(weight) for weight in weights)
    return LinearTerm(column.name, values, column.levels, replacement(column))


def _term(content: dict[str, Any]) -> LinearTerm:
    term = LinearTerm(**{**content, "weights": tuple(content["weights"])})
    if len(term.weights) != (term.levels or 1):
        raise ValueError(f"column {term.name} has {len(term.weights)} weights")
    return term
