"""Binary metrics, exact on all rows: one pass to check and cut, one to rank and add up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from pyspark.sql import functions as F

from lakescore.evaluation.ranked_bucket import RankedBucket, Resolution
from lakescore.evaluation.ranking import Ranking, rank
from lakescore.evaluation.results import ModelResult, ScoreProfile
from lakescore.evaluation.scored_rows import LABEL, SPLIT, ScoredRows

if TYPE_CHECKING:
    from pyspark.sql import Column

#: Equal shares of the rows that a profile tells apart; a multiple of every coarser division.
QUANTILE_BINS = 2000
#: Equal intervals of [0, 1] of the score histogram.
SCORE_INTERVALS = 50
#: How finely a profile divides the rows.
PROFILE_RESOLUTION = Resolution(QUANTILE_BINS, SCORE_INTERVALS, top_rows=1000)
#: Bins of the calibration error.
CALIBRATION_BINS = 10

_ROWS_IN_A_BUCKET = 50_000
_MOST_BUCKETS = 256
_SAMPLED_ROWS_IN_A_BUCKET = 400


def evaluate_binary(rows: ScoredRows) -> tuple[ModelResult, ...]:
    """One result a model and split, models within splits. Raises as `metrics.evaluate` does."""
    counts = {split: found["rows"] for split, found in rows.totals({}).items()}
    ranked = ranked_rows(rows, counts)
    return tuple(
        _result(name, split, ranked[split, model])
        for split in counts
        for model, name in enumerate(rows.models)
    )


def ranked_rows(rows: ScoredRows, counts: Mapping[str, int]) -> dict[tuple[str, int], RankedBucket]:
    """The ranked scores by split and position of the model; `counts` are each split's rows."""
    ranking = Ranking(
        groups=("code",),
        label=LABEL,
        scores=rows.score_columns,
        cuts=_bucket_cuts(rows, list(counts.values())),
        resolution=PROFILE_RESOLUTION,
    )
    coded = rows.frame.withColumn("code", position_in(SPLIT, list(counts)))
    found = rank(coded, ranking)
    return {
        (split, model): found[0, code, model]
        for code, split in enumerate(counts)
        for model in range(len(rows.models))
    }


def position_in(column: str, values: Sequence[str]) -> Column:
    """The position of the column's value in `values`, as an int; null where it is not there."""
    positions = [F.when(F.col(column) == value, position) for position, value in enumerate(values)]
    return F.coalesce(*positions).cast("int")


def bucket_count(rows: int) -> int:
    """Into how many buckets the scores of `rows` rows are cut, at least one."""
    return max(1, min(_MOST_BUCKETS, -(-rows // _ROWS_IN_A_BUCKET)))


def _bucket_cuts(rows: ScoredRows, counts: Sequence[int]) -> tuple[Sequence[float], ...]:
    """Quantiles of a sample of the scores; none for splits that fit into one bucket."""
    buckets = bucket_count(max(counts))
    if buckets < 2:
        return tuple(() for _ in rows.models)
    one_in = max(1, sum(counts) // (buckets * _SAMPLED_ROWS_IN_A_BUCKET))
    # As SQL: Spark 3.3 has `pmod` nowhere else.
    sampled = F.expr(f"pmod(xxhash64({', '.join(rows.score_columns)}), {one_in}) = 0")
    shares = [step / buckets for step in range(1, buckets)]
    quantiles = [F.percentile_approx(name, shares, buckets * 10) for name in rows.score_columns]
    (found,) = rows.frame.where(sampled).agg(*quantiles).collect()
    return tuple(sorted(set(cuts or ())) for cuts in found)


def profile_of(ranked: RankedBucket) -> ScoreProfile:
    """The groups of a whole series."""
    return ScoreProfile(
        quantile=ranked.column("quantile").astype(np.int64),
        interval=ranked.column("interval").astype(np.int64),
        lowest=ranked.column("lowest"),
        rows=ranked.column("rows").astype(np.int64),
        positives=ranked.column("positives").astype(np.int64),
        score_sum=ranked.column("score_sum"),
    )


def _result(model: str, split: str, ranked: RankedBucket) -> ModelResult:
    profile = profile_of(ranked)
    rows, positives = ranked.rows, ranked.positives
    values = {
        "roc_auc": ranked.roc_auc,
        "average_precision": ranked.average_precision,
        "log_loss": ranked.total("log_loss") / rows,
        "brier": ranked.total("brier") / rows,
        "calibration_error": calibration_error(profile),
        "base_rate": positives / rows,
        "mean_prediction": float(profile.score_sum.sum()) / rows,
    }
    metrics = {name: value for name, value in values.items() if value is not None}
    return ModelResult(model, split, rows, positives, metrics, profile)


def calibration_error(profile: ScoreProfile) -> float:
    """Expected calibration error over `CALIBRATION_BINS` bins of equally many rows.

    The sum over bins of |positives - sum of scores|, divided by the rows: the binned estimate of
    Naeini et al., "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015,
    with equal-mass bins (Nguyen & O'Connor, "Posterior calibration and exploratory analysis for
    natural language processing models", EMNLP 2015).
    """
    bins = profile.quantile // (QUANTILE_BINS // CALIBRATION_BINS)
    gap = np.bincount(bins, weights=profile.positives - profile.score_sum)
    return float(np.abs(gap).sum() / profile.rows.sum())
