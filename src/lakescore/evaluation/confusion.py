"""Which classes a multiclass model takes for which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from lakescore.evaluation.results import ALL_ROWS, Evaluation
from lakescore.evaluation.scored_rows import LABEL, ScoredRows, said_column

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: How the classes beyond the most frequent ones are called, taken together.
OTHER = "(other)"
_TOP = 20


@dataclass(frozen=True)
class Confusion:
    """rows[i][j]: how many rows of class i the model says are of class j.

    `classes` are the most frequent ones in their own order, then `OTHER` where there are more.
    """

    classes: tuple[str, ...]
    rows: tuple[tuple[int, ...], ...]


def confusion(
    df: DataFrame, evaluation: Evaluation, *, model: str, split: str = ALL_ROWS
) -> Confusion:
    """Of one model on one split of the rows of `evaluation`; reads `df` once.

    Raises LakescoreError for a model or split that was not evaluated.
    """
    rows = ScoredRows.evaluated(df, evaluation, models=[model], split=split)
    classes = evaluation.classes
    counted = rows.frame.groupBy(LABEL, said_column(0)).agg(F.count(F.lit(1)).alias("rows"))
    found = {(int(actual), int(said)): count for actual, said, count in counted.collect()}
    actual = [sum(found.get((i, j), 0) for j in range(len(classes))) for i in range(len(classes))]
    most = sorted(range(len(classes)), key=lambda place: (-actual[place], place))
    shown = sorted(most[:_TOP])
    place_of = {place: index for index, place in enumerate(shown)}
    size = len(shown) + (len(classes) > len(shown))
    table = [[0] * size for _ in range(size)]
    for (i, j), count in found.items():
        table[place_of.get(i, size - 1)][place_of.get(j, size - 1)] += count
    names = [classes[place] for place in shown]
    return Confusion(tuple([*names, OTHER][:size]), tuple(map(tuple, table)))
