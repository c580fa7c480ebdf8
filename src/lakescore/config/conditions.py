"""Expressions that any engine reads alike: comparisons of a column with constants. Pure Python."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from sqlglot import exp

Operator = Literal["<", "<=", ">", ">=", "=", "in", "is not null"]
Constant = int | float | str

_TURNED: dict[Operator, Operator] = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "="}
#: Whole numbers up to here are the same as int, bigint and double; up to `_FLOAT` as float.
_DOUBLE, _FLOAT = 2**53, 2**24
_WHOLE = ("tinyint", "smallint", "int", "bigint")


@dataclass(frozen=True)
class Condition:
    """`column` compared with `values`: one of them, several for `in`, none for `is not null`."""

    column: str
    operator: Operator
    values: tuple[Constant, ...] = ()

    def fits(self, type_: str) -> bool:
        """Whether it says the same of a column of this Spark type wherever it is computed.

        Of numbers where no rounding comes between; of strings where they are equal.
        """
        if self.operator == "is not null":
            return True
        if type_ == "string":
            return self.operator in ("=", "in") and all(isinstance(v, str) for v in self.values)
        most = _FLOAT if type_ == "float" else _DOUBLE
        if any(isinstance(value, str) or abs(value) > most for value in self.values):
            return False
        if type_ in _WHOLE:
            return all(isinstance(value, int) for value in self.values)
        return type_ in ("float", "double")


def plain_conditions(sql: str) -> tuple[Condition, ...] | None:
    """The conditions that must all be true for `sql` to be; None where it says anything else.

    Raises ExpressionRefused for what does not parse.
    """
    from lakescore.config.expressions import parsed

    try:
        return tuple(_conditions(parsed(sql)))
    except (_AnythingElse, RecursionError):  # a thousand comparisons nest as deep
        return None


class _AnythingElse(Exception):
    """The expression holds more than comparisons."""


def _conditions(tree: exp.Expr) -> Iterator[Condition]:
    from sqlglot import exp

    tree = tree.unnest()
    comparisons: dict[type[exp.Expr], Operator] = {
        exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">=", exp.EQ: "=",
    }  # fmt: skip
    if isinstance(tree, exp.And):
        yield from _conditions(tree.left)
        yield from _conditions(tree.right)
    elif isinstance(tree, exp.Binary) and type(tree) in comparisons:
        yield _comparison(tree.left.unnest(), comparisons[type(tree)], tree.right.unnest())
    elif isinstance(tree, exp.Between) and not tree.args.get("symmetric"):
        column = _column(tree.this)
        yield Condition(column, ">=", (_constant(tree.args["low"]),))
        yield Condition(column, "<=", (_constant(tree.args["high"]),))
    elif (
        isinstance(tree, exp.In) and tree.expressions and set(tree.args) <= {"this", "expressions"}
    ):
        values = tuple(_constant(value) for value in tree.expressions)
        yield Condition(_column(tree.this), "in", values)
    elif isinstance(tree, exp.Not) and isinstance(tree.this.unnest(), exp.Is):
        test = tree.this.unnest()
        if not isinstance(test.expression, exp.Null):
            raise _AnythingElse
        yield Condition(_column(test.this), "is not null")
    else:
        raise _AnythingElse


def _comparison(left: exp.Expr, operator: Operator, right: exp.Expr) -> Condition:
    from sqlglot import exp

    if isinstance(left, exp.Column):
        return Condition(_column(left), operator, (_constant(right),))
    return Condition(_column(right), _TURNED[operator], (_constant(left),))


def _column(tree: exp.Expr) -> str:
    from sqlglot import exp

    tree = tree.unnest()
    if isinstance(tree, exp.Column) and len(tree.parts) == 1:
        return str(tree.name)
    raise _AnythingElse


def _constant(tree: exp.Expr) -> Constant:
    """A number without exponent or suffix, or a string without escapes."""
    from sqlglot import exp

    tree = tree.unnest()
    sign = 1
    if isinstance(tree, exp.Neg):
        sign, tree = -1, tree.this.unnest()
    if not isinstance(tree, exp.Literal):
        raise _AnythingElse
    text = str(tree.this)
    if tree.is_string:
        if sign < 0 or set(text) & set("\\'\""):
            raise _AnythingElse
        return text
    whole, _, part = text.partition(".")
    if not (whole + part).isascii() or not (whole + part).isdigit():
        raise _AnythingElse
    return sign * float(text) + 0.0 if "." in text else sign * int(text)
