"""Bootstrap weights and weighted metrics against scikit-learn and numpy, without Spark."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as peer

from lakescore.evaluation.intervals import Bootstrap
from lakescore.evaluation.poisson import poisson_weights
from lakescore.evaluation.weighted_metrics import BinaryStatistic, RegressionStatistic
from tests.scored_samples import profile_of, sample

KEYS = np.arange(5000, dtype=np.uint64) * np.uint64(11400714819323198485)


def replicates_of(statistic, weights, labels, scores) -> dict[str, np.ndarray]:
    state = statistic.zero(len(weights))
    half = len(labels) // 2
    for part in (slice(None, half), slice(half, None)):
        statistic.add(state, weights[:, part], labels[part], scores[:, part])
    values = statistic.values(state)
    return {name: values[:, :, term] for term, name in enumerate(statistic.metrics)}


def test_weights_are_poisson_and_independent() -> None:
    weights = poisson_weights(KEYS, first=0, replicates=400, seed=3).astype(float)
    assert weights.mean() == pytest.approx(1, abs=4e-3)
    assert weights.var() == pytest.approx(1, abs=8e-3)
    assert (weights == 0).mean() == pytest.approx(np.exp(-1), abs=2e-3)
    between_replicates = np.corrcoef(weights)[np.triu_indices(400, 1)]
    assert np.abs(between_replicates).max() < 6 / np.sqrt(5000)
    assert between_replicates.std() == pytest.approx(1 / np.sqrt(5000), rel=0.05)
    between_rows = np.corrcoef(weights[:, :300].T)[np.triu_indices(300, 1)]
    assert between_rows.std() == pytest.approx(1 / np.sqrt(400), rel=0.05)


def test_weights_follow_from_key_replicate_and_seed_alone() -> None:
    weights = poisson_weights(KEYS, first=0, replicates=30, seed=3)
    shuffled = np.random.default_rng(0).permutation(len(KEYS))
    np.testing.assert_array_equal(
        poisson_weights(KEYS[shuffled], first=0, replicates=30, seed=3), weights[:, shuffled]
    )
    np.testing.assert_array_equal(
        poisson_weights(KEYS, first=7, replicates=23, seed=3), weights[7:]
    )
    assert (poisson_weights(KEYS, first=0, replicates=30, seed=4) != weights).mean() > 0.5


#: One row a replicate. A change here changes every interval ever reported.
PINNED = [[2, 0, 0], [0, 1, 2], [1, 1, 1], [2, 0, 0], [0, 1, 0], [2, 2, 0]]


def test_weights_of_a_key_never_change() -> None:
    keys = np.array([0, 1, 2**63], dtype=np.uint64)
    assert poisson_weights(keys, first=0, replicates=6, seed=7).tolist() == PINNED


def test_binned_replicates_are_within_1e4_of_scikit_learn() -> None:
    labels, first = sample(5000, seed=1)
    second = np.round(sample(5000, seed=1, noise=2.0)[1], 2)
    scores = np.stack([first, second])
    profiles = [profile_of(labels, score) for score in scores]
    statistic = BinaryStatistic(tuple(profile.lowest[::-1] for profile in profiles))
    weights = poisson_weights(KEYS, first=0, replicates=40, seed=1)
    found = replicates_of(statistic, weights, labels, scores)
    unweighted = replicates_of(statistic, np.ones((1, 5000), dtype=np.uint8), labels, scores)
    for model, score in enumerate(scores):
        for metric, exact in (
            ("roc_auc", peer.roc_auc_score),
            ("average_precision", peer.average_precision_score),
        ):
            expected = np.array([exact(labels, score, sample_weight=row) for row in weights])
            moved = exact(labels, score) - unweighted[metric][0, model]
            assert np.abs(found[metric][:, model] + moved - expected).max() < 1e-4


def test_sums_give_the_other_binary_metrics_exactly() -> None:
    labels, score = sample(500, seed=2)
    score[:2] = [0.0, 1.0]
    statistic = BinaryStatistic((profile_of(labels, score).lowest[::-1],))
    weights = poisson_weights(KEYS[:500], first=0, replicates=5, seed=1)
    found = replicates_of(statistic, weights, labels, score[None])
    for replicate, row in enumerate(weights):
        expected = {
            "log_loss": peer.log_loss(labels, score, sample_weight=row),
            "brier": peer.brier_score_loss(labels, score, sample_weight=row),
            "mean_prediction": np.average(score, weights=row),
            "base_rate": np.average(labels, weights=row),
        }
        for metric, value in expected.items():
            assert found[metric][replicate, 0] == pytest.approx(value, rel=1e-12), metric


def test_regression_replicates_equal_scikit_learn_far_from_zero() -> None:
    rng = np.random.default_rng(5)
    labels = 1e6 + rng.normal(size=500)
    score = labels + rng.normal(size=500)
    weights = poisson_weights(KEYS[:500], first=0, replicates=5, seed=1)
    statistic = RegressionStatistic(1, center=1e6)
    found = replicates_of(statistic, weights, labels, score[None])
    for replicate, row in enumerate(weights):
        expected = {
            "rmse": peer.root_mean_squared_error(labels, score, sample_weight=row),
            "mae": peer.mean_absolute_error(labels, score, sample_weight=row),
            "r2": peer.r2_score(labels, score, sample_weight=row),
            "bias": np.average(score - labels, weights=row),
            "mean_label": np.average(labels, weights=row),
        }
        for metric, value in expected.items():
            assert found[metric][replicate, 0] == pytest.approx(value, abs=1e-7), metric


def test_a_replicate_without_positives_is_left_out() -> None:
    values = np.array([0.6, np.nan, 0.7, 0.8])
    found = Bootstrap("test", 4, {("m", "roc_auc"): 0.7}, {("m", "roc_auc"): values})
    interval = found.interval("roc_auc", "m", confidence=0.9)
    assert interval.replicates == 3
    assert (interval.low, interval.high) == pytest.approx((0.61, 0.79))


def test_intervals_agree_with_a_multinomial_bootstrap_of_scikit_learn() -> None:
    labels, first = sample(600, seed=8)
    second = sample(600, seed=8, noise=1.5)[1]
    rng = np.random.default_rng(0)
    drawn = [rng.integers(0, 600, 600) for _ in range(300)]
    statistic = BinaryStatistic(
        tuple(profile_of(labels, score).lowest[::-1] for score in (first, second))
    )
    weights = poisson_weights(KEYS[:600], first=0, replicates=300, seed=1)
    found = replicates_of(statistic, weights, labels, np.stack([first, second]))
    for metric, exact in (
        ("roc_auc", peer.roc_auc_score),
        ("average_precision", peer.average_precision_score),
    ):
        multinomial = np.array(
            [[exact(labels[rows], score[rows]) for score in (first, second)] for rows in drawn]
        )
        for ours, theirs in (
            (found[metric][:, 0], multinomial[:, 0]),
            (found[metric] @ [1, -1], multinomial @ [1, -1]),
        ):
            width = np.diff(np.quantile(theirs, [0.025, 0.975]))[0]
            np.testing.assert_allclose(
                np.quantile(ours, [0.025, 0.975]),
                np.quantile(theirs, [0.025, 0.975]),
                atol=0.2 * width,
            )


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    """The truth is the AUC of a large sample; 90 % intervals of 120 small ones."""
    truth = peer.roc_auc_score(*sample(200_000, seed=99))
    covered = 0
    for seed in range(120):
        labels, scores = sample(300, seed=1000 + seed)
        statistic = BinaryStatistic((profile_of(labels, scores).lowest[::-1],))
        weights = poisson_weights(KEYS[:300], first=0, replicates=200, seed=seed)
        values = replicates_of(statistic, weights, labels, scores[None])["roc_auc"][:, 0]
        low, high = np.quantile(values, [0.05, 0.95])
        covered += low <= truth <= high
    # Within three standard errors (0.027) of 0.9, a little less for the small samples.
    assert 0.80 <= covered / 120 <= 0.98
