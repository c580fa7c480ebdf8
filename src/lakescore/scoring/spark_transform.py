"""Scores a frame with a Spark MLlib pipeline, by Spark's own transform."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lakescore.errors import ColumnMissing, ModelBroken, TypeMismatch

if TYPE_CHECKING:
    from pyspark.ml import PipelineModel
    from pyspark.sql import Column, DataFrame

#: Columns that a pipeline may add, set apart from the rows' own while it runs.
PROBABILITY, PREDICTION = "probability", "prediction"
_KEPT = "_lakescore_kept"


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
    skip: str | None = None,
) -> DataFrame:
    """The `keep` columns of `df`, then `column` (double) and `class_column` (int).

    The prediction is the probability of class 1 where the pipeline gives a probability vector,
    else its prediction. `skip` is as in `score_frame`: those rows get null. Raises ColumnMissing,
    TypeMismatch, and ModelBroken for a pipeline that gives neither column.
    """
    from pyspark.sql import functions as F

    kept = F.struct(*(F.col(_quoted(name)) for name in keep)).alias(_KEPT)
    clashes = {"rawPrediction", PROBABILITY, PREDICTION}
    inputs = [F.col(_quoted(name)) for name in df.columns if name not in clashes]
    wanted = F.lit(True) if skip is None else ~_skipped(df, skip)
    rows = df.select(kept, *inputs, wanted.alias("_lakescore_wanted"))
    scored = _transformed(rows.where("_lakescore_wanted"), pipeline)
    score = _score(scored).cast("double")
    output = scored.select(f"{_KEPT}.*", score.alias(column))
    if class_column:
        classes = (F.col(_quoted(column)) >= F.lit(threshold)).cast("int")
        output = output.withColumn(class_column, classes)
    if skip is None:
        return output
    skipped = rows.where("not _lakescore_wanted").select(f"{_KEPT}.*")
    return output.unionByName(skipped, allowMissingColumns=True)


def _transformed(rows: DataFrame, pipeline: PipelineModel) -> DataFrame:
    from pyspark.sql.utils import AnalysisException, IllegalArgumentException

    try:
        return pipeline.transform(rows)
    except (AnalysisException, IllegalArgumentException) as error:
        reason = str(error).strip().partition("\n")[0]
        leaf = ColumnMissing if "does not exist" in reason else TypeMismatch
        raise leaf(f"the rows do not fit the pipeline: {reason}") from error


def _score(scored: DataFrame) -> Column:
    from pyspark.ml.functions import vector_to_array
    from pyspark.sql import functions as F

    if PROBABILITY in scored.columns:
        return vector_to_array(F.col(PROBABILITY)).getItem(1)
    if PREDICTION in scored.columns:
        return F.col(PREDICTION)
    raise ModelBroken(
        f"the pipeline gives neither '{PROBABILITY}' nor '{PREDICTION}'",
        hint=f"it gives: {', '.join(name for name in scored.columns if name != _KEPT)}",
    )


def _skipped(df: DataFrame, skip: str) -> Column:
    from pyspark.sql import functions as F

    column = F.col(_quoted(skip))
    boolean = dict(df.dtypes)[skip] == "boolean"
    return F.coalesce(column if boolean else F.size(column) > 0, F.lit(False))


def _quoted(name: str) -> str:
    return f"`{name.replace('`', '``')}`"
