"""Scores a frame with a Spark MLlib pipeline, by Spark's own transform."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from lakescore.config.base import quoted
from lakescore.errors import ColumnMissing, ModelBroken, TypeMismatch
from lakescore.scoring.arrow import refuse_probabilities

if TYPE_CHECKING:
    from pyspark.ml import PipelineModel
    from pyspark.sql import Column, DataFrame

_KEPT, _WANTED = "_lakescore_kept", "_lakescore_wanted"


@dataclass(frozen=True)
class _Outputs:
    """The columns in which the pipeline's last predictor answers."""

    prediction: str
    probability: str | None
    others: frozenset[str]


def load_pipeline(path: str) -> PipelineModel:
    """The pipeline saved at `path` (a folder or URL that Spark can read). Raises ModelBroken."""
    from pyspark.ml import PipelineModel

    try:
        return PipelineModel.load(path)
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise ModelBroken(f"Spark cannot load this pipeline: {reason}", where=path) from error


def transform_frame(
    df: DataFrame,
    pipeline: PipelineModel,
    *,
    keep: Sequence[str],
    column: str = "prediction",
    class_column: str | None = None,
    threshold: float = 0.5,
    probabilities: str | None = None,
    skip: str | None = None,
    key: Sequence[str] = (),
) -> DataFrame:
    """The `keep` columns of `df`, then `column` (double) and `class_column` (int).

    The prediction is the probability of class 1 where the pipeline gives a probability vector,
    else its prediction. `skip` and `key` are as in `score_frame`, and so is the error for a
    prediction that is not finite. Raises ColumnMissing, TypeMismatch, UsageError for
    `probabilities`, which are not known by class, and ModelBroken for a pipeline that predicts
    nothing.
    """
    refuse_probabilities(probabilities)
    outputs = _outputs(pipeline)
    kept = F.struct(*(F.col(quoted(name)) for name in keep)).alias(_KEPT)
    inputs = [F.col(quoted(name)) for name in df.columns if name not in outputs.others]
    wanted = F.lit(True) if skip is None else F.col(quoted(skip)).isNull()
    rows = df.select(kept, *inputs, wanted.alias(_WANTED))
    scored = _transformed(rows.where(_WANTED), pipeline)
    score = _finite(_score(outputs), tuple(key) or tuple(keep[:1]))
    output = scored.select(f"{_KEPT}.*", score.alias(column))
    if class_column:
        classes = (F.col(quoted(column)) >= F.lit(threshold)).cast("int")
        output = output.withColumn(class_column, classes)
    if skip is None:
        return output
    skipped = rows.where(~F.col(_WANTED)).select(f"{_KEPT}.*")
    return output.unionByName(skipped, allowMissingColumns=True)


def _outputs(pipeline: PipelineModel) -> _Outputs:
    names = {"prediction": "predictionCol", "probability": "probabilityCol"}
    names["raw"] = "rawPredictionCol"
    for stage in reversed(pipeline.stages):
        found = {
            kind: stage.getOrDefault(param)
            for kind, param in names.items()
            if stage.hasParam(param)
        }
        if "prediction" in found:
            return _Outputs(
                found["prediction"], found.get("probability") or None, frozenset(found.values())
            )
    kinds = ", ".join(type(stage).__name__ for stage in pipeline.stages)
    raise ModelBroken("no stage of the pipeline predicts", hint=f"its stages: {kinds}")


def _transformed(rows: DataFrame, pipeline: PipelineModel) -> DataFrame:
    from pyspark.sql.utils import AnalysisException, IllegalArgumentException

    try:
        return pipeline.transform(rows)
    except (AnalysisException, IllegalArgumentException) as error:
        reason = str(error).strip().partition("\n")[0]
        leaf = ColumnMissing if "does not exist" in reason else TypeMismatch
        raise leaf(f"the rows do not fit the pipeline: {reason}") from error


def _score(outputs: _Outputs) -> Column:
    from pyspark.ml.functions import vector_to_array

    if outputs.probability is None:
        return F.col(quoted(outputs.prediction)).cast("double")
    return vector_to_array(F.col(quoted(outputs.probability))).getItem(1)


def _finite(score: Column, key: Sequence[str]) -> Column:
    """The score, or a failed task that names the row, in the words of `arrow.error_from_task`."""
    row = F.concat_ws(", ", *(_named(name) for name in key))
    text = F.concat(
        F.lit("lakescore.errors.ModelBroken: the prediction is "),
        F.coalesce(score.cast("string"), F.lit("null")),
        F.lit(" for the row "),
        row,
    )
    infinite = score.isin(float("inf"), float("-inf"))
    return F.when(score.isNull() | F.isnan(score) | infinite, F.raise_error(text)).otherwise(score)


def _named(name: str) -> Column:
    value = F.col(f"{_KEPT}.{quoted(name)}").cast("string")
    return F.concat(F.lit(f"{name}="), F.coalesce(value, F.lit("null")))
