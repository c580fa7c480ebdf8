"""Point-in-time joins against a loop in Python that follows the definition word by word."""

from __future__ import annotations

import math
from collections import Counter
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from lakescore.config.workload import Context
from lakescore.errors import ColumnMissing, DuplicateKeys, TypeMismatch, UsageError
from lakescore.features.point_in_time import join_as_of, join_contexts

pytestmark = pytest.mark.spark

SECOND = 1_000_000
LOOKBACK = 10 * SECOND
ROW = "id long, case long, key string, t_micros long"
CONTEXT_ROW = "case long, key string, known_micros long, v double, n long, s string"
EVENTS = Context.model_validate(
    {
        "table": "events",
        "on": ["case", "key"],
        "known_at": "known_at",
        "lookback_window": "10 seconds",
        "latest": {"last_v": "v", "last_s": "s"},
        "aggregates": {
            "avg_v": {"avg": "v", "over": "10 seconds"},
            "sum_v": {"sum": "v", "over": "3 seconds"},
            "sum_n": {"sum": "n", "over": "10 seconds"},
            "avg_n": {"avg": "n", "over": "3 seconds"},
            "min_v": {"min": "v", "over": "3 seconds"},
            "max_s": {"max": "s", "over": "10 seconds"},
            "count_v": {"count": "v", "over": "10 seconds"},
            "count_s": {"count": "s", "over": "3 seconds"},
        },
    }
)


def rows_frame(spark, rows):
    df = spark.createDataFrame(rows, ROW)
    return df.selectExpr("id", "case", "key", "timestamp_micros(t_micros) t")


def context_frame(spark, rows):
    df = spark.createDataFrame(rows, CONTEXT_ROW)
    return df.selectExpr("case", "key", "timestamp_micros(known_micros) known_at", "v", "n", "s")


def random_case(random: Random, case: int):
    """A small table with ties, boundary equality, nulls, duplicates and late rows.

    Times lie around 1970, where they change sign and a bucket of the join ends.
    """

    def moment():
        if random.random() < 0.05:
            return None
        return random.randint(-15, 15) * SECOND + random.choice([0, 0, 0, -1, 1])

    def key():
        return random.choice(["a", "a", "b", None])

    rows = [(random.randint(0, 3), case, key(), moment()) for _ in range(random.randint(0, 6))]
    context = [
        (
            case,
            key(),
            moment(),
            random.choice([None, float("nan"), 0.1, 0.2, 0.3, -1e17, 1e17, 3e-9]),
            random.choice([None, 1, -2, 2**53 + 1]),
            random.choice([None, "x", "y"]),
        )
        for _ in range(random.randint(0, 12))
    ]
    doubled = [random.sample(table, min(len(table), 2)) for table in (rows, context)]
    return rows + doubled[0], context + doubled[1]


def expected_outputs(row, context):
    """What the definition says, one loop over the whole context table."""
    _, case, key, t = row
    if t is None:
        return (None,) * 10
    matching = [
        one for one in context if key is not None and one[:2] == (case, key) and one[2] is not None
    ]

    def column(index, over):
        inside = [one[index] for one in matching if t - over < one[2] <= t]
        return [value for value in inside if value is not None and value == value]

    def rank(one):
        """Known last; of those, the greatest s, then v; null is least and NaN greatest."""
        _, _, known, v, _, s = one
        ranked_v = (0, 0) if v is None else (2, 0) if v != v else (1, v)
        return (known, (s is not None, s or ""), ranked_v)

    newest = max((one for one in matching if t - LOOKBACK < one[2] <= t), key=rank, default=None)
    long, short = LOOKBACK, 3 * SECOND
    v, n, few_v, few_n = column(3, long), column(4, long), column(3, short), column(4, short)
    return (
        newest and newest[3],
        newest and newest[5],
        math.fsum(v) / len(v) if v else None,
        math.fsum(few_v) if few_v else None,
        sum(n) if n else None,
        sum(few_n) / len(few_n) if few_n else None,
        min(few_v, default=None),
        max(column(5, long), default=None),
        len(v),
        len(column(5, short)),
    )


def comparable(row):
    """Doubles to 15 digits (the last rounding is free), NaN equal to itself."""
    return tuple(f"{value:.14e}" if isinstance(value, float) else value for value in row)


@settings(
    max_examples=2,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(seed=st.integers(0, 2**32))
def test_join_equals_a_brute_force_loop_on_random_tables(spark, seed):
    random = Random(seed)
    cases = [random_case(random, case) for case in range(150)]
    rows = [row for case, _ in cases for row in case]
    context = [row for _, case in cases for row in case]
    joined = join_as_of(rows_frame(spark, rows), EVENTS, context_frame(spark, context), "t")
    found = joined.selectExpr("id", "case", "key", "unix_micros(t)", *EVENTS.outputs).collect()
    by_case = {case: tables[1] for case, tables in enumerate(cases)}
    expected = [(*row, *expected_outputs(row, by_case[row[1]])) for row in rows]
    assert Counter(map(comparable, found)) == Counter(map(comparable, expected))


def test_boundaries_known_at_counts_from_its_own_microsecond(spark):
    t = 100 * SECOND
    known = [t - LOOKBACK, t - LOOKBACK + 1, t, t + 1]
    context = [(i, "a", moment, 1.0, 1, "x") for i, moment in enumerate(known)]
    rows = [(i, i, "a", t) for i in range(4)]
    joined = join_as_of(rows_frame(spark, rows), EVENTS, context_frame(spark, context), "t")
    found = {row["id"]: (row["last_s"], row["count_v"]) for row in joined.collect()}
    assert found == {0: (None, 0), 1: ("x", 1), 2: ("x", 1), 3: (None, 0)}


def test_several_contexts_in_one_join_keep_apart(spark):
    def context(**changes):
        form = {"table": "events", "known_at": "known_at", "lookback_window": "3 seconds"}
        return Context.model_validate({**form, "on": "key", **changes})

    contexts = {
        "newest": context(latest={"last_n": "n"}),
        "longer": context(latest={"long_n": "n"}, lookback_window="9 seconds"),
        "by_case": context(on="case", aggregates={"sum_n": {"sum": "n", "over": "3 seconds"}}),
        "names": Context.model_validate(
            {"table": "names", "on": {"key": "k"}, "static": True, "latest": ["name"]}
        ),
    }
    a = context_frame(spark, [(0, "a", 1 * SECOND, None, 10, None)])
    b = context_frame(spark, [(1, "a", 2 * SECOND, None, 20, None)])
    names = spark.createDataFrame([("a", "Anna"), (None, "nobody")], "k string, name string")
    frames = {"newest": a, "longer": b, "by_case": a.unionByName(b), "names": names}
    rows = [(i, i % 2, "a", t * SECOND) for i, t in enumerate((1, 2, 4, 5))]
    joined = join_contexts(rows_frame(spark, [*rows, (9, 0, None, SECOND)]), contexts, frames, "t")
    assert joined.columns == ["id", "case", "key", "t", "last_n", "long_n", "sum_n", "name"]
    assert {row["id"]: tuple(row[4:]) for row in joined.collect()} == {
        0: (10, None, 10, "Anna"),
        1: (10, 20, 20, "Anna"),
        2: (None, 20, None, "Anna"),
        3: (None, 20, None, "Anna"),
        9: (None, None, 10, None),
    }


def test_sums_do_not_depend_on_the_order_of_rows(spark):
    random = Random(3)
    values = [random.choice([1e15, -1e15, 1.0, 1e-9]) * random.random() for _ in range(400)]
    rows = rows_frame(spark, [(0, 0, "a", 9 * SECOND)])
    context = [(0, "a", (i % 10) * SECOND, value, None, None) for i, value in enumerate(values)]
    found = set()
    for seed in range(2):
        Random(seed).shuffle(context)
        frame = context_frame(spark, context).repartition(1 + 2 * seed)
        found.add(join_as_of(rows, EVENTS, frame, "t").collect()[0]["avg_v"])
    assert len(found) == 1
    assert found.pop() == pytest.approx(math.fsum(values) / 400, rel=1e-15)


def test_a_sum_over_infinity_is_missing_only_where_it_is_inside(spark):
    context = [(0, "a", 0, math.inf, None, None), (0, "a", 5 * SECOND, 2.0, None, None)]
    rows = [(0, 0, "a", 1), (1, 0, "a", 5 * SECOND)]
    joined = join_as_of(rows_frame(spark, rows), EVENTS, context_frame(spark, context), "t")
    found = {row["id"]: row["sum_v"] for row in joined.collect()}
    assert math.isnan(found[0])
    assert found[1] == 2.0


def test_columns_of_any_name_and_type_pass_through_the_join(spark):
    rows = spark.sql(
        "select 'a' `k.1`, 0L case, timestamp'2020-01-01 00:00:01' t, map('x', 1) `a map`, "
        "array(1) k0, struct(1 as t) bucket, 1 is_row"
    )
    context = Context.model_validate(
        {**EVENTS.model_dump(), "on": {"case": "case", "k.1": "key"}, "aggregates": {}}
    )
    events = context_frame(spark, [(0, "a", 1577836800 * SECOND, 1.5, 1, "x")])
    joined = join_as_of(rows, context, events, "t")
    assert joined.columns == [*rows.columns, "last_v", "last_s"]
    (row,) = joined.collect()
    assert (
        row["k.1"],
        row["a map"],
        row["k0"],
        row["bucket"]["t"],
        row["is_row"],
        row["last_v"],
    ) == (
        "a",
        {"x": 1},
        [1],
        1,
        1,
        1.5,
    )


LOOKUP = Context.model_validate(
    {"table": "planes", "on": {"tail": "number"}, "static": True, "latest": ["seats"]}
)


def test_duplicate_keys_in_a_lookup_are_an_error_not_doubled_rows(spark):
    rows = spark.sql("select 1 id, 'N1' tail, timestamp'2020-01-01' t")
    planes = spark.createDataFrame(
        [("N1", 5), ("N1", 6), ("N2", 7), (None, 8), (None, 9)], "number string, seats int"
    )
    with pytest.raises(DuplicateKeys) as caught:
        join_as_of(rows, LOOKUP, planes, None, name="planes")
    assert "1 keys have several rows (2 rows in all) by number" in str(caught.value)
    assert "context 'planes' (planes)" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "row_sql", "error", "said"),
    [
        ({"on": {"tail": "key"}}, "1 tail", ColumnMissing, "no column 'tail'"),
        ({"known_at": "known"}, "'a' key, 0L case", ColumnMissing, "did you mean 'known_at'?"),
        ({"known_at": "s"}, "'a' key, 0L case", TypeMismatch, "known_at 's' is string"),
        (
            {},
            "1 key, 0L case",
            TypeMismatch,
            "the source's 'key' is int, the context's 'key' is string",
        ),
        ({}, "'a' key, 0L case, 1 LAST_V", UsageError, "'last_v' is also a column of the source"),
        (
            {"aggregates": {"x": {"avg": "s", "over": "1 second"}}},
            "'a' key, 0L case",
            TypeMismatch,
            "'x' is the avg of 's', which is string",
        ),
    ],
)
def test_a_context_that_does_not_fit_says_what_and_where(spark, changes, row_sql, error, said):
    drop = "on" if "on" in changes else None
    base = {key: value for key, value in EVENTS.model_dump().items() if key != drop}
    context = Context.model_validate({**base, **changes})
    rows = spark.sql(f"select {row_sql.replace('tail', 'x')}, timestamp'2020-01-01' t")
    with pytest.raises(error) as caught:
        join_as_of(rows, context, context_frame(spark, []), "t", name="events")
    assert said in str(caught.value)
    assert "context 'events' (events)" in str(caught.value)


def test_a_prediction_day_is_not_a_prediction_time(spark):
    rows = rows_frame(spark, [])
    with pytest.raises(TypeMismatch, match="is date, not a timestamp"):
        join_as_of(rows, EVENTS, context_frame(spark, []), "to_date(t)")
