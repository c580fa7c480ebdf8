"""One way to predict, whatever the model: joins, features, then the runner that fits it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lakescore.registry.foreign import Runner

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from lakescore.config.settings import ScoringSettings
    from lakescore.config.workload import Context as ContextSpec
    from lakescore.config.workload import Feature, Source, Workload
    from lakescore.features.intervals import PredictionTimes
    from lakescore.scoring.arrow import BatchScorer
    from lakescore.scoring.package import ModelPackage
    from lakescore.workflows.scoring_model import ScoringModel


@dataclass(frozen=True)
class Output:
    """What the predicted frame holds: the kept columns, then the prediction's own."""

    keep: tuple[str, ...]
    key: tuple[str, ...]
    column: str
    class_column: str | None = None
    threshold: float = 0.5
    probabilities: str | None = None
    skip: str | None = None


def predict(
    rows: DataFrame,
    model: ScoringModel,
    *,
    source: Source,
    contexts: Mapping[str, ContextSpec],
    frames: Mapping[str, DataFrame],
    output: Output,
    scoring: ScoringSettings,
    times: PredictionTimes | None = None,
) -> DataFrame:
    """`output.keep` columns of `rows`, then the prediction's own (see `prediction_types`).

    `contexts` and `frames` are those of `model.contexts`, `times` those of `rows` where they are
    known. Rows that `output.skip` marks keep their place with a null prediction.
    """
    from lakescore.features.point_in_time import join_contexts
    from lakescore.scoring.arrow import score_frame
    from lakescore.scoring.spark_transform import load_pipeline, transform_frame

    keep = list(dict.fromkeys([*output.keep, *([output.skip] if output.skip else [])]))
    if model.package is not None:
        inputs = _package_inputs(rows, model.package, frames, keep, times)
    else:
        inputs = join_contexts(rows, contexts, frames, source.prediction_time)
        model.opened.check_inputs(dict(inputs.dtypes))
    scorer = batch_scorer(model, dict(inputs.dtypes))
    if scorer is None:
        return transform_frame(inputs, load_pipeline(model.opened.path), **vars(output))
    return score_frame(
        inputs,
        scorer,
        **vars(output),
        batch_rows=scoring.batch_rows,
    )


def batch_scorer(model: ScoringModel, types: Mapping[str, str]) -> BatchScorer | None:
    """What scores Arrow batches with this model; None for a pipeline that only Spark can score.

    `types` are the rows' columns. Loads the model, but a pyfunc only at its first use. Raises
    UsageError for a foreign model that does not tell its inputs.
    """
    from lakescore.registry.foreign_lightgbm import ForeignLightGBM
    from lakescore.registry.foreign_mllib import portable_pipeline
    from lakescore.registry.pyfunc_process import PyfuncScorer

    if model.package is not None:
        return model.package
    if model.opened.runner is Runner.SPARK:
        return portable_pipeline(model.opened, types)
    inputs = model.opened.signed_inputs()
    if model.opened.runner is Runner.LIGHTGBM:
        return ForeignLightGBM.open(Path(model.opened.path), inputs)
    return PyfuncScorer(Path(model.opened.path), inputs)


def _package_inputs(
    rows: DataFrame,
    package: ModelPackage,
    frames: Mapping[str, DataFrame],
    keep: Sequence[str],
    times: PredictionTimes | None,
) -> DataFrame:
    """The kept columns and the package's own features, by its own definitions."""
    from lakescore.features.sql_stage import feature_frame

    return feature_frame(
        rows,
        source=package.source,
        contexts=package.contexts,
        frames=frames,
        features=package.features,
        keep=keep,
        times=times,
    )


def columns_in_use(model: ScoringModel, others: Sequence[str]) -> tuple[str, ...] | None:
    """The source columns that predicting reads, beside its key and `others`.

    None where a model does not tell its inputs: then every column counts as in use.
    """
    if model.package is not None:
        return feature_inputs(model.package.features, model.package.contexts, others)
    if model.opened.inputs is None:
        return None
    return tuple(dict.fromkeys([*others, *model.opened.inputs]))


def source_columns(
    workload: Workload, model: ScoringModel, others: Sequence[str]
) -> tuple[list[str], list[str] | None]:
    """Of the workload's source: the columns that the model needs, beside `others`, and all in use.

    The second has the key too, and is None where a model does not tell its inputs.
    """
    used = columns_in_use(model, others)
    joined = {name for context in model.contexts(workload).values() for name in context.outputs}
    needed = [name for name in used or others if name not in joined]
    return needed, None if used is None else [*workload.source.key, *needed]


def feature_inputs(
    features: Sequence[Feature], contexts: Mapping[str, ContextSpec], others: Sequence[str]
) -> tuple[str, ...]:
    """`others`, then the source columns that the joins and the features read."""
    from lakescore.config.expressions import check_expression

    outputs = {name for spec in contexts.values() for name in spec.outputs}
    used = {
        column
        for feature in features
        for column in check_expression(feature.expression, where=feature.name)
    }
    joins = {column for spec in contexts.values() for column in spec.on}
    return tuple(dict.fromkeys([*others, *sorted((used | joins) - outputs)]))
