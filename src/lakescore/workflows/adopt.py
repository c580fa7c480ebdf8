"""Adopt: a model that exists is registered as it is, after it was shown to score the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from lakescore.errors import ParityFailed, UsageError
from lakescore.registry.foreign import Runner
from lakescore.workflows.run_result import RunResult, Status, recorded_run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

    from lakescore.config.settings import Settings
    from lakescore.config.workload import Workload
    from lakescore.registry.foreign import OpenedModel
    from lakescore.workflows.scoring_model import ScoringModel

#: Real rows on which the engine's own predictions and ours are compared, and how far apart they
#: may be.
_ROWS, _TOLERANCE = 2_000, 1e-9


def adopt(
    spark: SparkSession,
    settings: Settings,
    workload: Workload,
    *,
    inputs: Sequence[str] | None = None,
) -> RunResult:
    """Register the workload's `model` under the workload's name, with a complete signature.

    Its own files are copied bit for bit. `inputs` are the columns of the source that it takes, in
    its order, for a model that does not tell them. Raises UsageError when they are needed and
    when they contradict the model, and ParityFailed, before anything is registered, when
    lakescore would not score real rows of the source as the model's own engine does.
    """
    from lakescore.registry.adopt import adopt as register
    from lakescore.registry.adopt import write_adopted
    from lakescore.registry.store import Registry
    from lakescore.workflows.scoring_model import scoring_model

    if workload.model is None:
        raise UsageError(f"workload '{workload.name}' names no model to adopt", hint="add `model`")
    registry = Registry(settings.registry)
    with recorded_run("adopt", workload.name, settings) as run:
        with scoring_model(settings, workload) as model, TemporaryDirectory() as temporary:
            folder = Path(temporary) / "model"
            folder.mkdir()
            rows = _real_rows(spark, settings, workload)
            taken = _inputs(model, dict(rows.dtypes), workload, inputs)
            write_adopted(model.opened, folder, inputs=taken, outputs=model.answers.names)
            with run.phase("parity"):
                gap, compared = _parity(rows, model, folder, taken)
            if gap > _TOLERANCE:
                raise ParityFailed(
                    f"on {compared} real rows its scores differ by up to {gap:.3g}",
                    where=workload.model,
                    hint="nothing was registered; score it with `trust: runs-code` instead",
                )
            name = registry.full_name(workload.name)
            version = register(registry, folder, name=name, adopted_from=workload.model, tags={})
        run.model_version = version.version
        run.counts = {"compared": compared}
        shown = f"largest difference to its own engine {gap:g} on {compared} rows"
        if not compared:
            shown = "nothing to compare, for its own engine scores it"
        run.details["reason"] = f"{shown}; `model: {version.uri}` scores by what was registered"
        run.details["inputs"] = taken
        return run.finish(Status.DONE, next_command=f"lakescore score {workload.name}")


def _real_rows(spark: SparkSession, settings: Settings, workload: Workload) -> DataFrame:
    """Rows of the source with the outputs of the workload's contexts."""
    from lakescore.features.point_in_time import join_contexts
    from lakescore.lake.tables import Lake
    from lakescore.workflows.pins import pin_tables

    pins = pin_tables(spark, Lake(settings.lake), workload.source, workload.context)
    rows = pins.source.read(spark).limit(_ROWS)
    return join_contexts(
        rows, workload.context, pins.frames(spark), workload.source.prediction_time
    )


def _inputs(
    model: ScoringModel,
    columns: Mapping[str, str],
    workload: Workload,
    stated: Sequence[str] | None,
) -> dict[str, str]:
    """The model's inputs with types; types that it leaves open are those of the source.

    What no signature tells is asked of the model itself, or has to be stated: a guess at columns
    or their order would score wrongly, and parity could not show it.
    """
    from lakescore.registry.inputs import ANY, check_inputs
    from lakescore.registry.pyfunc_process import names_told

    if model.package is not None:
        return dict(model.package.signature)
    opened = model.opened
    if stated is None and opened.inputs is None and opened.runner is Runner.PYFUNC:
        stated = names_told(Path(opened.path))
    if stated is None and opened.inputs is None:
        likely = ",".join(_likely(columns, workload))
        raise UsageError(
            "the model does not tell its inputs",
            where=opened.spec,
            hint=f"name them in its order: lakescore adopt {workload.name} --inputs {likely}",
        )
    taken = _agreed(opened, stated)
    check_inputs(taken, columns, where=opened.spec)
    return {name: _plain(columns[name]) if kind == ANY else kind for name, kind in taken.items()}


def _agreed(model: OpenedModel, stated: Sequence[str] | None) -> Mapping[str, str]:
    """What is stated names the inputs of a model without names, and else must be what it says."""
    from lakescore.registry.inputs import ANY

    declared = model.inputs
    if declared is None:
        return dict.fromkeys(stated or (), ANY)
    if stated is None:
        return declared
    by_position = model.runner is Runner.LIGHTGBM and len(stated) == len(declared)
    if not by_position and list(stated) != list(declared):
        raise UsageError(
            f"the model takes {', '.join(declared)}: --inputs cannot change that",
            where=model.spec,
            hint="leave --inputs out; where the source names them otherwise, use a view",
        )
    return dict(zip(stated, declared.values(), strict=True))


def _likely(columns: Mapping[str, str], workload: Workload) -> list[str]:
    """Columns of the source that a model could take: not its key, no time, no nested ones."""
    from lakescore.registry.inputs import COMMON

    left_out = {*workload.source.key, workload.source.known_at}
    return [
        name
        for name, kind in columns.items()
        if name not in left_out and kind.partition("(")[0] in COMMON
    ]


def _plain(kind: str) -> str:
    """A decimal reaches a model as a double: it is what signatures have."""
    return "double" if kind.startswith("decimal") else kind


def _parity(
    rows: DataFrame, model: ScoringModel, folder: Path, inputs: Mapping[str, str]
) -> tuple[float, int]:
    """max |lakescore - the model's engine| over real rows, and how many rows that was."""
    from lakescore.registry.adopt import engine_predictions, largest_difference
    from lakescore.workflows.predict import batch_scorer

    if model.opened.runner is Runner.SPARK:
        return _parity_with_spark(rows, model)
    if model.opened.runner is Runner.PACKAGE:
        return 0.0, 0  # scored by the very engine that would be the reference
    batch = _batch(rows, inputs)
    named = replace(model, opened=replace(model.opened, inputs=inputs))
    ours = batch_scorer(named, dict(rows.dtypes))
    if ours is None:
        return 0.0, 0
    scores = ours.predict(batch)
    return largest_difference(scores, engine_predictions(folder, batch)), batch.num_rows


def _parity_with_spark(rows: DataFrame, model: ScoringModel) -> tuple[float, int]:
    """Of a pipeline that is scored without Spark; (0, 0) for one that Spark scores."""
    from lakescore.registry.adopt import largest_difference
    from lakescore.registry.foreign_mllib import portable_pipeline
    from lakescore.scoring.spark_transform import load_pipeline, transform_frame

    pipeline = portable_pipeline(model.opened, dict(rows.dtypes))
    if pipeline is None:
        return 0.0, 0
    whole = rows.select(*(f"`{name}`" for name in pipeline.inputs)).dropna()
    sample = whole.limit(_ROWS).toPandas()
    numbered = rows.sparkSession.createDataFrame(sample.assign(_row=range(len(sample))))
    scored = transform_frame(numbered, load_pipeline(model.opened.path), keep=["_row"]).toPandas()
    theirs = scored.sort_values("_row")["prediction"].to_numpy()
    return largest_difference(pipeline.predict(_arrow(sample)), theirs), len(sample)


def _batch(rows: DataFrame, inputs: Mapping[str, str]) -> pa.RecordBatch:
    """At most `_ROWS` rows: a bounded sample, so it may come to the driver."""
    return _arrow(rows.select(*(f"`{name}`" for name in inputs)).toPandas())


def _arrow(frame: pd.DataFrame) -> pa.RecordBatch:
    import pyarrow as pa

    return pa.RecordBatch.from_pandas(frame, preserve_index=False)
