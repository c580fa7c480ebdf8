"""Check a workload as a whole: every expression in it, before Spark starts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lakescore.config.expressions import check_expression
from lakescore.config.problems import locate
from lakescore.config.workload import TimeSplit, Workload
from lakescore.config.yaml_tree import Node
from lakescore.errors import ConfigError, ExpressionRefused


@dataclass(frozen=True)
class PlacedExpression:
    """An expression of a workload and where in the model it stands."""

    loc: tuple[str | int, ...]
    sql: str
    params: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.loc)
        return text.removeprefix(".")


def expressions_of(workload: Workload) -> Iterator[PlacedExpression]:
    """Every expression of a workload. ``:as_of`` may stand where rows are chosen, not learned."""
    source = workload.source
    if source.prediction_time is not None:
        yield PlacedExpression(("source", "prediction_time"), source.prediction_time)
    for name, sql in source.expectations.items():
        yield PlacedExpression(("source", "expectations", name), sql, ("as_of",))
    if isinstance(workload.features, tuple):
        for index, feature in enumerate(workload.features):
            yield PlacedExpression(("features", index, "expression"), feature.expression)
    if workload.label is not None:
        yield PlacedExpression(("label", "expression"), workload.label.expression)
    if isinstance(workload.split, TimeSplit):
        yield PlacedExpression(("split", "by"), workload.split.by)
    if workload.predictions is not None and workload.predictions.where is not None:
        yield PlacedExpression(("predictions", "where"), workload.predictions.where, ("as_of",))


def check_workload(workload: Workload, tree: Node | None = None) -> list[ConfigError]:
    """What is wrong with the expressions, all of it; empty when nothing is.

    With the `tree` that the workload was read from, each error names its file, line and column.
    """
    problems: list[ConfigError] = []
    for placed in expressions_of(workload):
        try:
            columns = _check(placed, tree)
        except ExpressionRefused as error:
            problems.append(error)
            continue
        problems += _misplaced_columns(workload, placed, columns, tree)
    return problems


def columns_read(workload: Workload) -> frozenset[str]:
    """The columns that the features read: of the source, or outputs of contexts."""
    features = workload.features if isinstance(workload.features, tuple) else ()
    return frozenset().union(
        *(check_expression(one.expression, where=one.name, params=()) for one in features)
    )


def _check(placed: PlacedExpression, tree: Node | None) -> frozenset[str]:
    where = _where(placed, tree)
    if tree is not None and locate(tree, placed.loc).node.secrets:
        raise ExpressionRefused(
            "an expression must not take values from the environment",
            where=where,
            hint="it is stored with the model: write the value, or read it from a table",
        )
    return check_expression(placed.sql, where=where, params=placed.params)


def _misplaced_columns(
    workload: Workload, placed: PlacedExpression, columns: frozenset[str], tree: Node | None
) -> Iterator[ConfigError]:
    """Context outputs where only the source's own columns can be seen."""
    if placed.loc[0] in ("features", "label"):
        return
    for name, context in workload.context.items():
        for output in sorted(columns.intersection(context.outputs).difference(workload.source.key)):
            yield ExpressionRefused(
                f"'{output}' is an output of the context '{name}'",
                where=_where(placed, tree),
                hint="only features can use context outputs",
            )


def _where(placed: PlacedExpression, tree: Node | None) -> str:
    if tree is None:
        return placed.path
    place = locate(tree, placed.loc)
    return f"{place.node.origin}: {place.path}"
