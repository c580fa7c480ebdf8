"""Ranked buckets against scikit-learn, without Spark, and the views drawn from them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as peer

from lakescore.evaluation.binary import PROFILE_RESOLUTION, SCORE_INTERVALS, calibration_error
from lakescore.evaluation.curves import (
    MOST_POINTS,
    calibration_table,
    gain_points,
    precision_recall_points,
    roc_points,
    score_histogram,
)
from lakescore.evaluation.ranked_bucket import (
    Place,
    RankedBucket,
    Resolution,
    join_buckets,
    rank_bucket,
)
from tests.scored_samples import profile_of, ranked, sample


@pytest.mark.parametrize("decimals", [16, 2, 1, 0])
def test_metrics_equal_scikit_learn_whatever_the_ties(decimals: int) -> None:
    labels, scores = sample(3000, seed=1)
    scores = np.round(scores, decimals)
    found = ranked(labels, scores)
    assert found.roc_auc == pytest.approx(peer.roc_auc_score(labels, scores), abs=1e-12)
    assert found.average_precision == pytest.approx(
        peer.average_precision_score(labels, scores), abs=1e-12
    )
    assert found.total("log_loss") / 3000 == pytest.approx(
        peer.log_loss(labels, scores, labels=[0, 1]), rel=1e-12
    )
    assert found.total("brier") / 3000 == pytest.approx(
        peer.brier_score_loss(labels, scores), abs=1e-12
    )


def test_buckets_leave_no_trace() -> None:
    labels, scores = sample(3000, seed=2)
    scores = np.round(scores, 3)
    whole = ranked(labels, scores)
    cuts = [0.02, 0.1, 0.1001, 0.5]
    place, above = [], (0, 0)
    for bucket in range(len(cuts), -1, -1):
        inside = np.searchsorted(cuts, scores, side="right") == bucket
        counts = np.ones(inside.sum(), dtype=np.int64), labels[inside].astype(np.int64)
        if inside.any():
            position = Place(*above, 3000)
            place.append(rank_bucket(scores[inside], *counts, position, PROFILE_RESOLUTION))
        above = above[0] + int(inside.sum()), above[1] + int(labels[inside].sum())
    joined = join_buckets(place, PROFILE_RESOLUTION)
    # The sums of scores may differ in their last bits; the groups are the same.
    np.testing.assert_array_equal(joined.groups[:, :5], whole.groups[:, :5])
    np.testing.assert_allclose(joined.groups[:, 5], whole.groups[:, 5], rtol=1e-14)
    np.testing.assert_allclose(joined.sums, whole.sums, rtol=1e-12)


def test_one_class_has_no_rank_metrics() -> None:
    scores = np.array([0.1, 0.2])
    assert ranked(np.zeros(2), scores).roc_auc is None
    assert ranked(np.zeros(2), scores).average_precision is None
    assert ranked(np.ones(2), scores).roc_auc is None
    assert ranked(np.ones(2), scores).average_precision == 1.0


def test_curve_points_lie_on_the_exact_curves() -> None:
    labels, scores = sample(20_000, seed=3)
    profile = profile_of(labels, scores)
    false_rate, true_rate, _ = peer.roc_curve(labels, scores, drop_intermediate=False)
    exact = set(zip(false_rate.tolist(), true_rate.tolist(), strict=True))
    roc = roc_points(profile)
    assert len(roc) <= MOST_POINTS
    assert roc[0] == (0, 0)
    assert roc[-1] == (1, 1)
    assert set(roc) <= exact
    precision, recall, _ = peer.precision_recall_curve(labels, scores)
    exact = set(zip(recall.tolist(), precision.tolist(), strict=True))
    points = precision_recall_points(profile)
    assert 150 < len(points) <= MOST_POINTS
    assert set(points) <= exact
    assert peer.auc(*zip(*roc, strict=True)) == pytest.approx(
        peer.roc_auc_score(labels, scores), abs=2e-4
    )


def test_gain_ends_at_all_rows_and_all_positives() -> None:
    labels, scores = sample(1000, seed=4)
    points = np.array(gain_points(profile_of(labels, scores)))
    assert points[-1].tolist() == [1, 1]
    assert (np.diff(points, axis=0) >= 0).all()
    assert (points[1:-1, 1] > points[1:-1, 0]).all()


def test_calibration_bins_are_deciles_of_the_rows() -> None:
    labels, scores = sample(5000, seed=5)
    order = np.argsort(scores)
    deciles = order.reshape(10, -1)
    table = calibration_table(profile_of(labels, scores))
    assert [item.rows for item in table] == [500] * 10
    for item, rows in zip(table, deciles, strict=True):
        assert item.predicted == pytest.approx(scores[rows].mean())
        assert item.observed == pytest.approx(labels[rows].mean())
        assert item.low < item.observed < item.high
    gaps = np.abs(scores[deciles].mean(axis=1) - labels[deciles].mean(axis=1))
    assert calibration_error(profile_of(labels, scores)) == pytest.approx(gaps.mean())


def test_equal_scores_share_a_calibration_bin() -> None:
    labels = np.tile([0.0, 0.0, 0.0, 1.0], 250)
    profile = profile_of(labels, np.full(1000, 0.25))
    (only,) = calibration_table(profile)
    assert (only.predicted, only.observed, only.rows) == (0.25, 0.25, 1000)
    assert calibration_error(profile) == 0


def test_score_histogram_counts_each_class() -> None:
    labels, scores = sample(2000, seed=6)
    scores[:3] = [0.0, 1.0, 0.5]
    histogram = score_histogram(profile_of(labels, scores))
    for name, label in (("negative", 0), ("positive", 1)):
        expected, edges = np.histogram(scores[labels == label], bins=SCORE_INTERVALS, range=(0, 1))
        assert list(histogram.counts[name]) == expected.tolist()
        np.testing.assert_allclose(histogram.edges, edges)


def test_a_profile_is_bounded_however_many_rows() -> None:
    labels, scores = sample(50_000, seed=7)
    assert len(profile_of(labels, scores).rows) <= 2000 + 50 + 1000


def test_the_rank_of_a_bucket_needs_only_what_is_above_it() -> None:
    counts = np.array([1, 1]), np.array([1, 0])
    found = rank_bucket(np.array([0.2, 0.1]), *counts, Place(2, 1, 4), Resolution())
    assert isinstance(found, RankedBucket)
    # The negative lies below both positives; the positive is third of three, with two of them.
    assert found.total("wins") == 2
    assert found.total("steps") == pytest.approx(2 / 3)
