"""Which SQL expressions may stand in a workload, and what each refused one is told."""

from datetime import date, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakescore.config.expressions import bind_as_of, check_expression
from lakescore.config.refused import REFUSED_FUNCTIONS
from lakescore.errors import ExpressionRefused


def columns(sql: str, **options) -> set[str]:
    return set(check_expression(sql, where="w.yml:1:1: x", **options))


def refusal(sql: str, **options) -> ExpressionRefused:
    with pytest.raises(ExpressionRefused) as caught:
        check_expression(sql, where="w.yml:1:1: x", **options)
    assert caught.value.exit_code == 2
    assert caught.value.where == "w.yml:1:1: x"
    return caught.value


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ("1", ""),
        ("dep_delay", "dep_delay"),
        ("sched_dep_at - INTERVAL 2 HOURS", "sched_dep_at"),
        ("sched_dep_minute DIV 60", "sched_dep_minute"),
        ("(unix_timestamp(a) - unix_timestamp(b)) / 60", "a b"),
        ("`my col` + `select`", "my col,select"),
        ("a.b.c + m['k'] + xs[i].y", "a m xs i"),
        ("a.b.c.d.e", "a"),
        ("`a.b`.c", "a.b"),
        ("transform(xs, x -> x + y)", "xs y"),
        ("transform(xs, (x, i) -> transform(ys, y -> y + x.f + i + z))", "xs ys z"),
        ("aggregate(xs, 0, (acc, x) -> acc + x, acc -> acc * k)", "xs k"),
        ("exists(xs, x -> x > 1)", "xs"),
        ("element_at(map_from_arrays(k, v), w)", "k v w"),
        ("case when a > 1 then b else c end", "a b c"),
        ("if(a IS NULL, b, coalesce(c, d))", "a b c d"),
        ("cast(a as struct<x: int, y: array<string>>)", "a"),
        ("a::int + try_cast(b as double)", "a b"),
        ("timestampdiff(MINUTE, a, b) + datediff(a, c)", "a b c"),
        ("dateadd(day, n, d)", "n d"),
        ("extract(year from d) + date_part('month', e)", "d e"),
        ("trim(both 'x' from y)", "y"),
        ("overlay(a placing b from 1)", "a b"),
        ("a between b and c or d in (e, 2) and not f", "a b c d e f"),
        ("a like any ('x%', b) and c ilike all (d)", "a b c d"),
        ("a rlike 'x->y' and b <=> c", "a b c"),
        ("named_struct('f', a).f", "a"),
        ("from_json(j, 'x int').x", "j"),
        ("some_function_of_the_future(a, other => b)", "a b"),
        ("DATE'2013-12-01' <= d", "d"),
        ("status = 'today'", "status"),
        ("concat('rand()', a, \"now()\")", "a"),
        ("first + last + any_column + max", "first last any_column max"),
        ("`user` || `current_date`", "user current_date"),
        ("hash(a) % 10", "a"),
        ("d < :as_of", "d"),
    ],
)
def test_row_expressions_are_allowed_and_name_their_columns(sql, names):
    wanted = names.split(",") if "," in names else names.split()
    assert columns(sql) == set(wanted)


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        ("a + rand()", "rand() gives another value each time it runs (character 5)"),
        ("a + RANDN (3)", "randn() gives another value each time it runs (character 5)"),
        ("`uuid`()", "uuid() gives another value each time it runs (character 1)"),
        ("now() > a", "now() depends on when the run starts (character 1)"),
        ("a < current_date", "current_date depends on when the run starts (character 5)"),
        ("a < Current_Timestamp()", "current_timestamp() depends on when the run starts"),
        ("unix_timestamp() - a", "unix_timestamp() depends on when the run starts"),
        ("TIMESTAMP'now' > a", "'now' as a time depends on when the run starts (character 10)"),
        ("cast(' Today UTC' as date) > a", "as a time depends on when the run starts"),
        ("to_date('yesterday') > a", "'yesterday' as a time depends on when the run starts"),
        ("'now'::timestamp > a", "'now' as a time depends on when the run starts"),
        ("user = a", "user depends on who runs it and where (character 1)"),
        ("java_method('java.lang.System', 'exit', 1)", "java_method() runs code (character 1)"),
        ("reflect('java.util.UUID', 'randomUUID')", "reflect() runs code"),
        ("input_file_name()", "depends on how the rows lie in files"),
        ("ai_query('m', a)", "ai_query() asks a service outside the lake"),
        ("ai_anything(a)", "ai_anything() asks a service outside the lake"),
        ("secret('scope', 'key')", "secret() reads a secret"),
        ("catalog.schema.fn(a)", "fn() is called by a qualified name (character 16)"),
        ("sum(a)", "sum() is an aggregate: an expression sees one row (character 1)"),
        ("count(*)", "count() is an aggregate"),
        ("sum(a) over (partition by b)", "sum() is an aggregate"),
        ("lag(a) over (order by b)", "lag() looks at other rows"),
        ("explode(xs)", "explode() makes several rows of one"),
        ("raise_error('x')", "raise_error() stops the whole run"),
        ("(select 1)", "has a subquery (character 2)"),
        ("a in (select b from t)", "has a subquery (character 7)"),
        ("exists(select 1)", "has a subquery"),
        ("select 1", "has a subquery"),
        ("drop table x", "does not parse"),
        ("a; drop table x", "a semicolon ends the expression (character 2)"),
        ("a), (b", "does not parse near , (character 3)"),
        ("a, b", "has several values"),
        ("a b", "has an alias (AS) or two values without an operator"),
        ("a as b", "has an alias (AS)"),
        ("*", "has a *: name the columns (character 1)"),
        ("t.*", "has a *: name the columns"),
        ("a -- comment", "has a comment (character 1)"),
        ("/*+ BROADCAST(x) */ a", "has a comment"),
        ("x -> x + 1", "-> stands outside a function that takes one (character 3)"),
        ("'${env:HOME}'", "${…} is a session variable (character 2)"),
        ("@v + 1", "a session variable is not allowed (character 1)"),
        ("a = ?", "the parameter :? is not allowed here"),
        ("a < :day", "the parameter :day is not allowed here (character 5)"),
        ("(a + b", "does not parse"),
        ("a +", "does not parse"),
        ("'open", "does not parse: a quote is not closed"),
        ("   ", "the expression is empty"),
        ("a" * 20_000, "the expression is longer than 10000 characters"),
        ("(" * 4000 + "a" + ")" * 4000, "does not parse"),
    ],
)
def test_what_is_not_one_stable_value_of_one_row_is_refused(sql, what):
    assert what in refusal(sql).what


@pytest.mark.parametrize("name", sorted(REFUSED_FUNCTIONS))
def test_every_published_function_is_refused(name):
    assert REFUSED_FUNCTIONS[name].reason in refusal(f"1 + {name}(a)").what


def test_the_clock_is_offered_as_a_parameter_where_it_may_stand():
    assert refusal("a < now()").hint == "write :as_of, the day that the run is for"
    assert refusal("a < now()", params=()).hint == "use a time column of the row"
    assert refusal("a < :as_of", params=()).hint == "allowed: none"
    assert refusal("user", params=()).hint == "for a column of that name write `user` in backticks"


def test_as_of_becomes_a_typed_literal_and_nothing_else_changes():
    sql = "d<:as_of AND note <> ':as_of' AND date(e) >= :as_of"
    assert bind_as_of(sql, date(2013, 12, 1)) == (
        "d<DATE'2013-12-01' AND note <> ':as_of' AND date(e) >= DATE'2013-12-01'"
    )
    cet = datetime(2013, 12, 1, 7, 30, tzinfo=timezone(timedelta(hours=1)))
    assert bind_as_of("t < :as_of", cet) == "t < TIMESTAMP'2013-12-01 06:30:00'"
    assert bind_as_of("t", cet) == "t"


_NAMES = st.sampled_from(["a", "B", "my col", "select", "ünïcode", "x1", "odd`name", "user"])


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


@st.composite
def _expressions(draw: st.DrawFn, depth: int = 3) -> tuple[str, frozenset[str]]:
    """A random row expression and the columns that were put into it."""
    if depth == 0 or draw(st.booleans()):
        name = draw(_NAMES)
        return _quoted(name), frozenset({name})
    left, left_columns = draw(_expressions(depth=depth - 1))
    right, right_columns = draw(_expressions(depth=depth - 1))
    shape = draw(
        st.sampled_from(
            [
                "({0} + {1})",
                "coalesce({0}, {1})",
                "CASE WHEN {0} > 1 THEN {1} END",
                "transform({0}, v -> v + {1})",
                "({0} IN ({1}, 'x'))",
                "cast({0} AS double) / {1}",
                "date_add({0}, {1})",
                "{0}.field[{1}]",
                "NOT ({0} <=> {1})",
                "datediff({0}, {1})",
            ]
        )
    )
    return shape.format(left, right), left_columns | right_columns


@settings(max_examples=60, deadline=None)
@given(_expressions())
def test_every_column_of_an_expression_is_found_and_nothing_else(drawn):
    sql, names = drawn
    assert columns(sql) == names


@settings(max_examples=150, deadline=None)
@given(st.text("abxr()[]{}.,:;*+-><=!'\"`@$?/ \n19_", max_size=25))
def test_any_text_is_an_expression_or_is_refused(text):
    try:
        columns(text)
    except ExpressionRefused as error:
        assert error.what
