"""Adopt: a model that exists is registered as it is, after it was shown to score the same."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from lakescore.errors import ParityFailed, UsageError
from lakescore.workflows.run_result import RunResult, Status, recorded_run

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

    from lakescore.config.settings import Settings
    from lakescore.config.workload import Workload
    from lakescore.workflows.scoring_model import ScoringModel

#: Real rows on which the engine's own predictions and ours are compared, and how far apart they
#: may be.
_ROWS, _TOLERANCE = 2_000, 1e-9


def adopt(spark: SparkSession, settings: Settings, workload: Workload) -> RunResult:
    """Register the workload's `model` under the workload's name, with a complete signature.

    Its own files are copied bit for bit. Raises ParityFailed, before anything is registered, when
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
            inputs = _inputs(model, dict(rows.dtypes), workload)
            write_adopted(model.opened, folder, inputs=inputs)
            with run.phase("parity"):
                gap, compared = _parity(rows, model, folder, inputs)
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
    model: ScoringModel, columns: Mapping[str, str], workload: Workload
) -> Mapping[str, str]:
    """The model's inputs with types; what it leaves open is taken from the source."""
    from lakescore.registry.inputs import ANY

    declared = model.opened.inputs
    if declared is None:
        left_out = {*workload.source.key, workload.source.known_at}
        return {name: kind for name, kind in columns.items() if name not in left_out}
    model.opened.check_inputs(columns)
    return {name: columns[name] if kind == ANY else kind for name, kind in declared.items()}


def _parity(
    rows: DataFrame, model: ScoringModel, folder: Path, inputs: Mapping[str, str]
) -> tuple[float, int]:
    """max |lakescore - the model's engine| over real rows, and how many rows that was."""
    from lakescore.registry.adopt import engine_predictions, largest_difference
    from lakescore.registry.foreign import Runner
    from lakescore.workflows.predict import batch_scorer

    if model.opened.runner in (Runner.SPARK, Runner.PACKAGE):
        return 0.0, 0  # both are scored by the very engine that would be the reference
    batch = _batch(rows, inputs)
    ours = batch_scorer(model).predict(batch)
    return largest_difference(ours, engine_predictions(folder, batch)), batch.num_rows


def _batch(rows: DataFrame, inputs: Mapping[str, str]) -> pa.RecordBatch:
    """At most `_ROWS` rows: a bounded sample, so it may come to the driver."""
    import pyarrow as pa

    frame = rows.select(*(f"`{name}`" for name in inputs)).toPandas()
    return pa.RecordBatch.from_pandas(frame, preserve_index=False)
