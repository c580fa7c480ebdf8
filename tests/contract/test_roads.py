"""Both roads to the model leave the same: whatever a table holds, and however it is laid out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from lakescore.config.conditions import plain_conditions
from lakescore.config.settings import Settings
from lakescore.lake import left_rows
from lakescore.lake.changes import ADDED_FILES
from lakescore.workflows.plan import plan_scoring
from lakescore.workflows.run_result import RunResult
from lakescore.workflows.steps import requested
from tests.linear import Life, day

pytestmark = pytest.mark.spark

NAN, INF = math.nan, math.inf
#: No expectation: every row is valid.
PLAIN: dict[str, Any] = {"expectations": {}}
CONTRACT = ("_reasons", "_copies", "_row_hash", "_content_hash", "_key", "_payload")


@dataclass(frozen=True)
class Left:
    """What a run left, but for what names the run itself."""

    counts: dict[str, int]
    reasons: dict[str, int]
    predicted: list[tuple]
    refused: list[tuple]

    def of_each_refused(self) -> list[tuple]:
        return sorted((key, *reasons, copies) for reasons, copies, _, _, key, _ in self.refused)


def by(road: str, settings: Settings) -> Settings:
    scoring = settings.scoring.model_copy(update={"road": road})
    return settings.model_copy(update={"scoring": scoring})


def both(one: Life) -> Left:
    """Score everything by either road; what both left, which is the same."""
    found = []
    for road, planned in (("general", "general"), ("auto", "direct")):
        life = replace(one, settings=by(road, one.settings))
        plan = plan_scoring(life.spark, life.settings, life.workload, requested(None, full=True))
        assert plan.road.name == planned, str(plan.road)
        found.append(_left(life, life.score(full=True)))
    assert found[0] == found[1]
    return found[1]


def _left(life: Life, run: RunResult) -> Left:
    rows = life.lake.table("scores").read(life.spark)
    predicted = rows.select("id", "day", "prediction", "_model_version").collect()
    return Left(
        run.counts,
        run.details.get("quarantine_reasons", {}),
        sorted(map(tuple, predicted)),
        life.refused(*CONTRACT),
    )


@pytest.fixture
def plain(life: Callable[..., Life]) -> Callable[..., Life]:
    def make(**source: Any) -> Life:
        return life(source={**PLAIN, **source})

    return make


def test_rows_of_several_files_one_of_them_older_than_a_column(plain) -> None:
    one = plain()
    for batch in range(3):
        one.append(*((10 * batch + i, i / 3, day(1 + batch)) for i in range(5)))
    one.sql("ALTER TABLE {t} ADD COLUMN kind string")
    one.sql("INSERT INTO {t} VALUES (100, 0.25, DATE'2024-02-01', 'new')")
    one.workload = one.workload.model_copy(
        update={
            "predictions": one.workload.predictions.model_copy(
                update={"passthrough": ("day", "kind")}
            )
        }
    )
    left = both(one)
    assert left.counts["predicted"] == left.counts["read"] == 16
    assert left.predicted[6] == (11, day(2), 2 * (1 / 3) + 1, "1")
    kinds = one.lake.table("scores").read(one.spark).groupBy("kind").count().collect()
    assert {(row[0], row[1]) for row in kinds} == {(None, 15), ("new", 1)}


def test_refused_rows_and_copies(plain) -> None:
    one = plain(nan="quarantine", columns={"day": "not null"})
    one.append((1, 1.0, day(1)), (2, 2.0, day(1)), (3, NAN, day(1)), (None, 4.0, day(1)))
    one.append((2, 2.0, day(1)), (4, -INF, day(1)), (5, 5.0, None), (6, None, day(1)))
    one.append((7, 7.0, day(1)), (7, 7.5, day(1)), (None, 4.0, day(1)), (8, 8.0, day(2)))
    left = both(one)
    assert left.counts == {
        "read": 12, "predicted": 4, "quarantined": 6, "duplicates": 2,
        "out_of_scope": 0, "deleted": 0,
    }  # fmt: skip
    assert [row[0] for row in left.predicted] == [1, 2, 6, 8]
    assert left.of_each_refused() == [
        ('{"id":3}', "x is NaN or infinite", 1),
        ('{"id":4}', "x is NaN or infinite", 1),
        ('{"id":5}', "day is null", 1),
        ('{"id":7}', "duplicate key with different values", 1),
        ('{"id":7}', "duplicate key with different values", 1),
        ('{"id":null}', "key id is null", 2),
    ]


def test_deleted_and_updated_rows_are_those_of_the_version(plain) -> None:
    one = plain()
    one.append(*((i, float(i), day(1)) for i in range(6)))
    one.sql("DELETE FROM {t} WHERE id = 2")
    one.sql("UPDATE {t} SET x = 9.0 WHERE id = 3")
    assert [(row[0], row[2]) for row in both(one).predicted] == [
        (0, 1.0), (1, 3.0), (3, 19.0), (4, 9.0), (5, 11.0),
    ]  # fmt: skip


def test_no_rows_at_all(plain) -> None:
    one = plain()
    one.append((1, 1.0, day(1)))
    one.sql("DELETE FROM {t}")
    assert both(one).counts["read"] == 0


def test_with_many_repeated_keys_every_row_is_judged(plain, monkeypatch) -> None:
    monkeypatch.setattr(left_rows, "MOST_REPEATED", 1)
    one = plain()
    one.append(*((i // 2, float(i), day(1)) for i in range(8)), (9, 9.0, day(1)))
    left = both(one)
    assert left.counts["quarantined"] == 8
    assert [row[0] for row in left.predicted] == [9]


def test_a_catch_up_by_files_is_direct_too(life) -> None:
    one = life(source=PLAIN, max_rows_per_commit=3)
    for first in (1, 3, 5, 7):
        one.append((first, 1.0, day(1)), (first + 1, 2.0, day(1)))
    assert plan_scoring(one.spark, one.settings, one.workload).road.name == "direct"
    run = one.score()
    assert (run.details["commits"], run.counts["predicted"]) == (4, 8)
    assert [row[0] for row in one.scores()] == [1, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("feed", [True, False])
def test_new_rows_of_a_range_are_direct_where_commits_added_files_alone(life, feed) -> None:
    one = life(feed=feed, source={**PLAIN, "nan": "quarantine"})
    one.append((1, 1.0, day(1)))
    one.score()
    one.append((2, 2.0, day(1)), (3, NAN, day(1)))
    one.sql("OPTIMIZE {t}")
    one.append((4, 4.0, day(2)), (4, 4.0, day(2)), (None, 5.0, day(2)))
    plan = plan_scoring(one.spark, one.settings, one.workload)
    assert (plan.road.name, plan.step.read_by) == ("direct", ADDED_FILES)
    assert one.score().counts == {
        "read": 5, "predicted": 2, "quarantined": 2, "duplicates": 1,
        "out_of_scope": 0, "deleted": 0,
    }  # fmt: skip
    assert one.scores() == [(1, 3.0, "1"), (2, 5.0, "1"), (4, 9.0, "1")]
    assert one.refused() == [('{"id":3}', 1), ('{"id":null}', 1)]
    one.sql("OPTIMIZE {t}")
    assert one.score().counts["read"] == 0


@pytest.mark.parametrize(
    ("source", "predictions", "because"),
    [
        (
            {"expectations": {"small": "abs(x) < 5"}},
            {},
            "expectation 'small' is more than plain comparisons with constants",
        ),
        (PLAIN, {"where": "x > 0"}, "predictions.where leaves rows out"),
        (PLAIN, {"mode": "upsert"}, "changes are followed by key"),
    ],
)
def test_what_closes_the_direct_road_is_told(life, source, predictions, because) -> None:
    one = life(source=source, **predictions)
    one.append((1, 1.0, day(1)))
    lines = list(plan_scoring(one.spark, one.settings, one.workload).lines())
    assert f"road         general: Spark reads the rows, for {because}" in lines


#: A value that is 1, or is not, in each type that a condition may compare.
EXPECTED = {
    "x >= -1": (INF, -1.0, -1.5, NAN, None),
    "x BETWEEN 0 AND 2.5": (0.0, -0.0, 2.5, 2.6, NAN, None),
    "x IN (0, 2.5) AND x IS NOT NULL": (-0.0, 2.5, 1.0, NAN, None),
    "0.1 < x": (0.1, math.nextafter(0.1, 1), -INF, None),
    "x IN (-0.0, 1)": (0.0, -0.0, -1.0, None),
}


@pytest.mark.parametrize("expectation", EXPECTED)
def test_an_expectation_of_comparisons(plain, expectation) -> None:
    one = plain(expectations={"asked": expectation})
    values = EXPECTED[expectation]
    one.append(*((i, value, day(1)) for i, value in enumerate((*values, 1.0, 1.0))))
    left = both(one)
    asked = one.spark.sql(
        f"SELECT count_if(coalesce({expectation}, false)) FROM "
        f"VALUES {', '.join(f'({_sql(value)})' for value in (*values, 1.0, 1.0))} AS t(x)"
    ).first()[0]
    assert (left.counts["read"], left.counts["predicted"]) == (len(values) + 2, asked)


def _sql(value: float | None) -> str:
    return "CAST(NULL AS double)" if value is None else f"double('{value}')"


def test_expectations_of_other_types_and_names(plain) -> None:
    one = plain(
        expectations={"few": "`how_many` <= 200 AND 0 < `how_many`", "kind": "KIND IN ('a', 'b')"}
    )
    one.append((100, 1.0, day(1)))
    one.sql("ALTER TABLE {t} ADD COLUMNS (`how_many` smallint, kind string, part float)")
    one.workload = one.workload.model_copy(
        update={
            "source": one.workload.source.model_copy(
                update={"expectations": {**one.workload.source.expectations, "part": "part > 0.1"}}
            )
        }
    )
    rows = [
        "1, 200, 'a', 0.2", "2, 201, 'a', 0.2", "3, 1, 'c', 0.2", "4, 1, 'b', 0.1",
        "5, 0, 'b', 1.0", "6, 1, 'b', NULL", "7, NULL, 'a', 1.0",
    ]  # fmt: skip
    for row in rows:
        id_, rest = row.split(", ", 1)
        one.sql(f"INSERT INTO {{t}} VALUES ({id_}, 1.0, DATE'2024-02-01', {rest})")
    left = both(one)
    # float 0.1 is a little more than 0.1
    assert [row[0] for row in left.predicted] == [1, 4]


def test_a_column_that_spark_pads_is_sparks(plain) -> None:
    one = plain(expectations={"status": "status = 'a'"})
    one.append((1, 1.0, day(1)))
    one.sql("ALTER TABLE {t} ADD COLUMNS (status char(3))")
    one.sql("INSERT INTO {t} VALUES (2, 1.0, DATE'2024-02-01', 'a')")
    plan = plan_scoring(one.spark, one.settings, one.workload)
    assert "expectation 'status' is more than plain comparisons" in str(plan.road)
    assert one.score().counts["predicted"] == 1


def test_a_long_chain_of_comparisons_is_sparks() -> None:
    assert plain_conditions(" AND ".join(["x > 0"] * 1_200)) is None


@pytest.mark.parametrize(
    "expectation", ["x > id", "x <> 1", "abs(x) >= 0", "x >= 1 OR id = 1", "x >= 9007199254740993"]
)
def test_any_other_expectation_is_sparks(plain, expectation) -> None:
    one = plain(expectations={"asked": expectation})
    one.append((1, 1.0, day(1)))
    road = plan_scoring(one.spark, one.settings, one.workload).road
    assert "expectation 'asked' is more than plain comparisons" in str(road)
