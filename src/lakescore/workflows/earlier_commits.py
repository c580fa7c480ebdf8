"""What the commits of a workload said before: keys that they predicted, rows that they refused."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from lakescore.config.base import quoted

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from lakescore.config.settings import Settings
    from lakescore.lake.commits import PredictionsLog
    from lakescore.workflows.plan import ScoringPlan
    from lakescore.workflows.steps import Step


def recent_keys(
    spark: SparkSession, settings: Settings, plan: ScoringPlan, step: Step
) -> DataFrame | None:
    """The keys predicted within `source.unique_within`, once each; None where none can count.

    Of the predictions that the step leaves standing, up to the plan's progress. A twin that
    commits meanwhile takes the number of this plan, so that a later prediction never decides what
    is committed; were it counted, all rows of the run that lost would seem to repeat. Delta skips
    files whose rows are all older.
    """
    from pyspark.sql import functions as F

    within = plan.workload.source.unique_within
    asks = step.mode in ("append", "backfill") and plan.progress.commit_seq > 0
    if within is None or not asks:
        return None
    known = F.col("_commit_seq") <= plan.progress.commit_seq
    rows = _log(spark, settings, plan).rows()
    rows = rows.where(known & (F.col("_scored_at") >= F.lit(_since(within))))
    if step.replaces is not None:
        rows = rows.where(~F.coalesce(F.expr(step.replaces), F.lit(False)))
    return rows.select(*(F.col(quoted(name)) for name in plan.workload.source.key)).distinct()


def refused_rows(
    spark: SparkSession, settings: Settings, plan: ScoringPlan, rows: DataFrame
) -> DataFrame:
    """The source's `rows` whose key stands refused.

    In mode append a key that has a prediction is left out: a row that was refused is not to be
    scored after one that came later under its key, and no key gets a second prediction. So what
    the source has under the other keys is all refused, and no row needs to be told by its content.
    With `source.unique_within` a key may be predicted again, once the prediction is older than that
    and if all that stands refused under the key came after it.
    """
    from lakescore.lake.canonical import row_json
    from lakescore.lake.contract import KEY

    source, mode = plan.workload.source, plan.predictions.mode
    key, log = list(source.key), _log(spark, settings, plan)
    if not log.has_quarantine():
        return rows.limit(0)
    named = rows.dropna("any", subset=[quoted(name) for name in key])
    standing = log.quarantined()
    again = named.withColumn(KEY, row_json(rows, key))
    again = again.join(standing.select(KEY).distinct(), KEY, "left_semi")
    if mode == "append":
        every, again = again, again.join(log.predicted_keys(key), key, "left_anti")
        if source.unique_within is not None:
            due = _due(standing, log.rows(), key, source.unique_within)
            masked = plan.predictions.quarantine_mask
            again = again.unionByName(_with_content(every, rows, due, masked))
    return again.select(*(quoted(name) for name in rows.columns))


def _due(
    standing: DataFrame, predictions: DataFrame, key: list[str], within: timedelta
) -> DataFrame:
    """`_key` and `_content_hash` of what was refused after the last prediction of its key.

    Of the keys whose last prediction is older than `within` and under which nothing else stands
    refused. An adopted prediction does not say when it was made, and counts as old.
    """
    from pyspark.sql import functions as F

    from lakescore.lake.canonical import row_json
    from lakescore.lake.contract import CONTENT_HASH, KEY

    number = F.coalesce(F.col("_commit_seq"), F.lit(0))
    last = predictions.groupBy(row_json(predictions, key).alias(KEY)).agg(
        F.max(number).alias("_predicted"), F.max("_scored_at").alias("_at")
    )
    old = last.where(F.coalesce(F.col("_at") < F.lit(_since(within)), F.lit(True)))
    first = standing.groupBy(KEY).agg(F.min("_commit_seq").alias("_refused"))
    keys = first.join(old, KEY).where("_refused > _predicted").select(KEY)
    return standing.join(keys, KEY, "left_semi").select(KEY, CONTENT_HASH).distinct()


def _with_content(
    keyed: DataFrame, rows: DataFrame, due: DataFrame, masked: Collection[str]
) -> DataFrame:
    """The `keyed` ones of the rows that are `due`: the source has the predicted row as well."""
    from lakescore.lake.contract import CONTENT_HASH, KEY, whole_content

    told = keyed.withColumn(CONTENT_HASH, whole_content(rows, masked))
    return told.join(due, [KEY, CONTENT_HASH], "left_semi").drop(CONTENT_HASH)


def _since(within: timedelta) -> datetime:
    return datetime.now(timezone.utc) - within


def _log(spark: SparkSession, settings: Settings, plan: ScoringPlan) -> PredictionsLog:
    from lakescore.lake.tables import Lake
    from lakescore.workflows.plan import predictions_log

    return predictions_log(spark, Lake(settings.lake), plan.workload.name, plan.predictions)
