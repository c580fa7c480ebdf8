"""Binary metrics, exact on all rows: one pass to check and cut, one to rank and add up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pyspark.sql import functions as F

from lakescore.evaluation.ranking import rank_scores, rank_sums, roc_auc
from lakescore.evaluation.results import ModelResult, ScoreProfile
from lakescore.evaluation.scored_rows import LABEL, SPLIT, ScoredRows, score_column

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

#: Equal shares of the rows that a profile tells apart; a multiple of every coarser division.
QUANTILE_BINS = 2000
#: Equal intervals of [0, 1] of the score histogram.
SCORE_INTERVALS = 50
#: Bins of the calibration error.
CALIBRATION_BINS = 10
#: scikit-learn's: the machine precision of the scores.
LOG_LOSS_EPSILON = 2.0**-52

_ROWS_IN_A_BUCKET = 50_000
_MOST_BUCKETS = 256
# Cuts come from one row in sixteen: they only balance the work, and quantiles are dear.
_SAMPLE = 16

_SUMS = ("not_below", "not_above", "steps", "log_loss", "brier")
_PROFILE = ("quantile", "interval", "lowest", "rows", "positives", "score_sum")


def evaluate_binary(rows: ScoredRows) -> tuple[ModelResult, ...]:
    """One result a model and split, models within splits. Raises as `metrics.evaluate` does."""
    models = range(len(rows.models))
    totals = rows.totals({f"cuts_{model}": _sampled_cuts(rows, model) for model in models})
    splits = list(totals)
    coded = rows.frame.withColumn("code", _code_of(SPLIT, splits))
    ranked = rank_scores(
        coded,
        groups=["code"],
        label=LABEL,
        scores=[score_column(model) for model in models],
        cuts=[_bucket_cuts(totals, model) for model in models],
    )
    found = {(row["code"], row["model"]): row for row in _summed(ranked).collect()}
    return tuple(
        _result(name, split, found[code, model].asDict())
        for code, split in enumerate(splits)
        for model, name in enumerate(rows.models)
    )


def _code_of(column: str, values: Sequence[str]) -> Column:
    """The position of the column's value in `values`, as an int."""
    positions = [F.when(F.col(column) == value, position) for position, value in enumerate(values)]
    return F.coalesce(*positions).cast("int")


def _sampled_cuts(rows: ScoredRows, model: int) -> Column:
    scores = [score_column(position) for position in range(len(rows.models))]
    sampled = F.pmod(F.xxhash64(*scores), F.lit(_SAMPLE)) == 0
    shares = [step / _MOST_BUCKETS for step in range(1, _MOST_BUCKETS)]
    score = F.when(sampled, F.col(score_column(model)))
    return F.percentile_approx(score, shares, _MOST_BUCKETS * 4)


def _bucket_cuts(totals: Mapping[str, Mapping[str, Any]], model: int) -> list[float]:
    """As many cuts as the largest split needs, thinned from the quantiles of all splits."""
    largest = max(split["rows"] for split in totals.values())
    buckets = min(_MOST_BUCKETS, -(-largest // _ROWS_IN_A_BUCKET))
    known = sorted({cut for split in totals.values() for cut in split[f"cuts_{model}"] or ()})
    if buckets < 2 or not known:
        return []
    positions = np.linspace(0, len(known) - 1, buckets + 1)[1:-1]
    return sorted({known[int(position)] for position in positions})


def _summed(ranked: DataFrame) -> DataFrame:
    """One row a series: the sums behind its metrics, and its profile as parallel arrays."""
    score = F.col("score")
    rows, positives = F.col("rows"), F.col("positives")
    kept = F.greatest(F.least(score, F.lit(1 - LOG_LOSS_EPSILON)), F.lit(LOG_LOSS_EPSILON))
    # In whole numbers, so that every coarser division is a union of these. Equal scores share
    # the place of the last of them.
    quantile = F.expr(f"({QUANTILE_BINS} * above_rows - 1) div all_rows")
    groups = ranked.groupBy(
        "code",
        "model",
        quantile.alias("quantile"),
        F.least(F.floor(score * SCORE_INTERVALS), F.lit(SCORE_INTERVALS - 1)).alias("interval"),
    ).agg(
        *[column.alias(name) for name, column in rank_sums().items()],
        F.min(score).alias("lowest"),
        F.sum(-positives * F.log(kept) - (rows - positives) * F.log1p(-kept)).alias("log_loss"),
        F.sum(positives * (1 - score) ** 2 + (rows - positives) * score**2).alias("brier"),
    )
    return groups.groupBy("code", "model").agg(
        *[F.sum(name).alias(name) for name in _SUMS],
        F.collect_list(F.struct(*_PROFILE)).alias("profile"),
    )


def _result(model: str, split: str, sums: Mapping[str, Any]) -> ModelResult:
    profile = _profile(sums["profile"])
    rows, positives = int(profile.rows.sum()), int(profile.positives.sum())
    metrics = {
        "roc_auc": roc_auc(
            sums["not_below"], sums["not_above"], positives * (rows - positives)
        ),
        "average_precision": sums["steps"] / positives,
        "log_loss": sums["log_loss"] / rows,
        "brier": sums["brier"] / rows,
        "calibration_error": calibration_error(profile),
        "base_rate": positives / rows,
        "mean_prediction": float(profile.score_sum.sum()) / rows,
    }
    return ModelResult(model, split, rows, positives, metrics, profile)


def _profile(groups: Sequence[Sequence[float]]) -> ScoreProfile:
    columns = dict(zip(_PROFILE, np.array(groups, dtype=np.float64).T, strict=True))
    order = np.argsort(-columns["lowest"])
    whole = {name: columns[name][order].astype(np.int64) for name in _PROFILE}
    return ScoreProfile(
        quantile=whole["quantile"],
        interval=whole["interval"],
        lowest=columns["lowest"][order],
        rows=whole["rows"],
        positives=whole["positives"],
        score_sum=columns["score_sum"][order],
    )


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
