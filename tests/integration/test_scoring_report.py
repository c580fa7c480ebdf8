"""The score distribution in a scoring run's report."""

from __future__ import annotations

import pytest

from lakescore.workflows.scoring_report import score_distribution

pytestmark = pytest.mark.spark


@pytest.mark.parametrize(
    ("scores", "edges", "counts"),
    [
        ([0.0, 0.04, 0.05, 1.0], (0.0, 1.0), {0: 2, 1: 1, 19: 1}),
        ([0.5], (0.0, 1.0), {10: 1}),
        ([-5.0, 0.25, 5.0], (-5.0, 5.0), {0: 1, 10: 1, 19: 1}),
        ([3.0, 3.0], (3.0, 4.0), {0: 2}),
    ],
)
def test_scores_are_counted_in_twenty_equal_intervals(spark, scores, edges, counts) -> None:
    rows = spark.createDataFrame([(score,) for score in scores], "`a score` double")
    found = score_distribution(rows, "a score")
    assert found is not None
    assert (found.edges[0], found.edges[-1], len(found.edges)) == (*edges, 21)
    (series,) = found.series
    assert {place: count for place, count in enumerate(series.counts) if count} == counts


def test_no_rows_have_no_distribution(spark) -> None:
    assert score_distribution(spark.createDataFrame([], "score double"), "score") is None
