"""Check a Spark SQL row expression before anything runs: it parses, and says the same every time.

Any built-in row expression is allowed, and functions that the parser does not know are left to
the analyser. `refused.REFUSED_FUNCTIONS` lists what is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, timezone
from itertools import pairwise
from typing import TYPE_CHECKING, NoReturn

from lakescore.config.refused import CLOCK_WORDS, REFUSED_FUNCTIONS, REFUSED_WORDS, refusal
from lakescore.errors import ExpressionRefused

if TYPE_CHECKING:
    from sqlglot import exp
    from sqlglot.tokenizer_core import Token

_MAX_LENGTH = 10_000
_TO_TIME = frozenset(
    {"date", "timestamp", "timestamp_ltz", "timestamp_ntz", "cast", "try_cast", "::"}
    | {"to_date", "to_timestamp", "to_timestamp_ltz", "to_timestamp_ntz"}
    | {"try_to_timestamp", "try_to_date"}
)
_Refuse = Callable[[str, "int | None", "str | None"], NoReturn]


def check_expression(sql: str, *, where: str, params: Sequence[str] = ("as_of",)) -> frozenset[str]:
    """The columns that `sql` reads, as written, without backticks; of ``a.b`` it is ``a``.

    `params` are the names that may stand as ``:name``. Raises ExpressionRefused, with the
    position in the expression, for what does not parse, is not one value of one row, or could
    differ between two runs on the same row.
    """
    check = _Check(sql, where, params)
    check.text()
    check.tokens(_tokens(sql, check.refuse))
    return check.tree(_parse(sql, check.refuse))


def bare_column(sql: str) -> str | None:
    """The column, where the expression is nothing but its name; else None."""
    from sqlglot import exp

    tree = parsed(sql).unnest()
    if isinstance(tree, exp.Column) and len(tree.parts) == 1:
        return str(tree.name)
    return None


def parsed(sql: str) -> exp.Expr:
    """The tree of a row expression, in parentheses. Raises ExpressionRefused."""
    return _parse(sql, _Check(sql, "expression", ()).refuse)


def bind_as_of(sql: str, as_of: date | datetime) -> str:
    """`sql` with ``:as_of`` as a typed literal: a date, or a timestamp in UTC.

    A datetime without a zone is taken as UTC.
    """
    if isinstance(as_of, datetime):
        utc = as_of.astimezone(timezone.utc) if as_of.tzinfo else as_of
        literal = f"TIMESTAMP'{utc.replace(tzinfo=None).isoformat(sep=' ')}'"
    else:
        literal = f"DATE'{as_of.isoformat()}'"
    tokens = _tokens(sql, _Check(sql, "expression", ()).refuse)
    bound = sql
    for colon, name in reversed(list(pairwise(tokens))):
        if colon.text == ":" and name.text == "as_of" and name.start == colon.end + 1:
            bound = bound[: colon.start] + literal + bound[name.end + 1 :]
    return bound


def _tokens(sql: str, refuse: _Refuse) -> list[Token]:
    from sqlglot.dialects.dialect import Dialect
    from sqlglot.errors import SqlglotError

    try:
        return Dialect.get_or_raise("spark").tokenize(sql)
    except SqlglotError:
        refuse("does not parse: a quote is not closed", None, None)


def _parse(sql: str, refuse: _Refuse) -> exp.Expr:
    """The expression's tree. Parsed inside parentheses, where no statement can stand."""
    import sqlglot
    from sqlglot.errors import ParseError, SqlglotError

    try:
        tree = sqlglot.parse_one(f"({sql})", dialect="spark")
    except ParseError as error:
        detail = error.errors[0] if error.errors else {}
        near = detail.get("highlight")
        at = _offset(sql, detail.get("line"), detail.get("col"), near)
        refuse(f"does not parse{f' near {near}' if near and at else ''}", at, None)
    except (SqlglotError, RecursionError, ValueError):
        refuse("does not parse", None, None)
    return tree


def _offset(sql: str, line: int | None, column: int | None, near: str | None) -> int | None:
    """The character, from 1, of the parser's line and column (the end of the token)."""
    if line is None or column is None:
        return None
    before = sum(len(text) + 1 for text in sql.split("\n")[: line - 1])
    at = before + column - (1 if line == 1 else 0) - (len(near or " ") - 1)
    return at if 1 <= at <= len(sql) else None


class _Check:
    """One expression under check."""

    def __init__(self, sql: str, where: str, params: Iterable[str]) -> None:
        self.sql, self.where, self.params = sql, where, frozenset(params)
        self.arrows: list[int] = []

    def refuse(self, what: str, at: int | None, hint: str | None) -> NoReturn:
        place = f" (character {at})" if at else ""
        raise ExpressionRefused(f"{what}{place}", where=self.where, hint=hint)

    def text(self) -> None:
        if not self.sql.strip():
            self.refuse("the expression is empty", None, None)
        if len(self.sql) > _MAX_LENGTH:
            self.refuse(f"the expression is longer than {_MAX_LENGTH} characters", None, None)
        if "${" in self.sql:
            self.refuse("${…} is a session variable", self.sql.index("${") + 1, None)

    def tokens(self, tokens: Sequence[Token]) -> None:
        """What can be told from the words as they were written."""
        for index, token in enumerate(tokens):
            before, after = _text(tokens, index - 1).lower(), _text(tokens, index + 1)
            at = token.start + 1
            if token.comments:
                self.refuse("has a comment", at, "write it as a YAML comment: # …")
            kind = token.token_type.name
            if kind == "ARROW":
                self.arrows.append(at)
            if kind == "SEMICOLON":
                self.refuse("a semicolon ends the expression", at, "write one expression")
            if kind == "PARAMETER":
                self.refuse("a session variable is not allowed", at, None)
            if kind == "STRING":
                self._clock_word(token, tokens[max(0, index - 2) : index], after)
            elif after == "(" and before not in ("like", "ilike"):
                self._call(token, before)
                if token.text.lower() == "unix_timestamp" and _text(tokens, index + 2) == ")":
                    self.refuse("unix_timestamp() depends on when the run starts", at, None)
            elif kind != "IDENTIFIER" and before != "." and token.text.lower() in REFUSED_WORDS:
                self._name(token, called=False)

    def _call(self, token: Token, before: str) -> None:
        if not (token.text[:1].isalpha() or token.text[:1] == "_"):
            return
        if before == ".":
            self.refuse(
                f"{token.text}() is called by a qualified name",
                token.start + 1,
                "only built-in functions are allowed",
            )
        self._name(token, called=True)

    def _name(self, token: Token, *, called: bool) -> None:
        found = refusal(token.text)
        if found is None:
            return
        name = token.text.lower()
        hint = found.hint
        if "as_of" in self.params and found is REFUSED_FUNCTIONS["now"]:
            hint = "write :as_of, the day that the run is for"
        elif not called:
            hint = f"for a column of that name write `{token.text}` in backticks"
        self.refuse(f"{name}{'()' if called else ''} {found.reason}", token.start + 1, hint)

    def _clock_word(self, token: Token, before: Sequence[Token], after: str) -> None:
        words = token.text.strip().lower().split()
        if not words or words[0] not in CLOCK_WORDS:
            return
        around = {near.text.lower() for near in before} | {after}
        if around & _TO_TIME:
            self.refuse(
                f"'{token.text}' as a time depends on when the run starts", token.start + 1, None
            )

    def tree(self, root: exp.Expr) -> frozenset[str]:
        """What can be told from the structure. Returns the columns."""
        from sqlglot import exp

        nodes = list(root.walk())
        for node in nodes:
            self._node(node)
        if not isinstance(root, exp.Paren):
            what = "has several values" if isinstance(root, exp.Tuple) else "is not an expression"
            self.refuse(what, None, "write one SQL expression of the row's columns")
        if len(self.arrows) > sum(isinstance(node, exp.Lambda) for node in nodes):
            self.refuse("-> stands outside a function that takes one", self.arrows[0], None)
        return frozenset(_top_name(node) for node in nodes if isinstance(node, exp.Column))

    def _node(self, node: exp.Expr) -> None:
        from sqlglot import exp

        if isinstance(node, (exp.Query, exp.Values)):
            self.refuse(
                "has a subquery", self._at("select"), "declare a context and use its outputs"
            )
        if isinstance(node, exp.Window):
            self.refuse("has a window (OVER)", self._at("over"), "declare a context")
        if isinstance(node, exp.Star):
            self.refuse("has a *: name the columns", self._at("*"), None)
        if isinstance(node, exp.AggFunc):
            self.refuse("is an aggregate: an expression sees one row", None, None)
        if isinstance(node, exp.Alias) and not isinstance(node.parent, exp.Struct):
            self.refuse("has an alias (AS) or two values without an operator", None, None)
        if isinstance(node, exp.Placeholder) and node.name not in self.params:
            known = ", ".join(f":{name}" for name in sorted(self.params)) or "none"
            self.refuse(
                f"the parameter :{node.name} is not allowed here",
                self._at(f":{node.name}"),
                f"allowed: {known}",
            )

    def _at(self, piece: str) -> int | None:
        """The character, from 1, at which `piece` first stands."""
        return self.sql.lower().find(piece) + 1 or None


def _top_name(column: exp.Column) -> str:
    return str(column.parts[0].name)


def _text(tokens: Sequence[Token], index: int) -> str:
    return tokens[index].text if 0 <= index < len(tokens) else ""
