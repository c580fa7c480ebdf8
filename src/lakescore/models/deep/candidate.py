"""A deep net over tables: trained on one process or several ranks, scored as ONNX."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from lakescore.config.base import ConfigModel
from lakescore.errors import MissingExtra, TrainingFailed, UsageError
from lakescore.matrix import Task
from lakescore.models.base import Backend, Candidate, EncodedData, FittedModel
from lakescore.models.deep.backend import choose_backend, launcher, rank_count
from lakescore.models.deep.job import Shards, TrainingJob
from lakescore.models.engines import is_local
from lakescore.models.labels import Labels

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from pyspark.sql import SparkSession

#: Validation rows on which the exported graph is held against the net.
_PARITY_ROWS = 8_192


class DeepTabularParameters(ConfigModel):
    """A residual net with embeddings."""

    layers: Annotated[int, Field(ge=1, le=64, description="Residual layers.")] = 3
    width: Annotated[int, Field(ge=8, le=8_192, description="Of each layer.")] = 128
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    learning_rate: Annotated[
        float, Field(gt=0, le=1, description="At the start; it falls along a cosine.")
    ] = 0.001
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1e-4
    batch_size: Annotated[int, Field(ge=1, description="Rows of a step, over all ranks.")] = 1_024
    epochs: Annotated[int, Field(ge=1, le=10_000, description="The most epochs.")] = 30
    patience: Annotated[
        int,
        Field(
            ge=0,
            description="Stop after so many epochs without a lower validation loss; the best is "
            "kept. 0: never stop.",
        ),
    ] = 5
    quantiles: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        default=(),
        description="Of a label that is a number: such as [0.1, 0.9], each a column beside the "
        "prediction.",
    )
    backend: Literal["auto", "single", "torch_distributor", "horovod"] = Field(
        default="auto",
        description="single: one process beside the driver. torch_distributor (Spark 3.4 and "
        "later) and horovod: a rank a worker, on the cluster. auto: single on one machine, else "
        "torch_distributor where Spark has it, else horovod.",
    )
    workers: Annotated[
        int, Field(ge=0, description="Ranks of a distributed backend. 0: one a slot.")
    ] = 0
    start_seconds: Annotated[
        int, Field(ge=1, description="Within which every rank must have started.")
    ] = 600
    step_seconds: Annotated[
        int, Field(ge=1, description="A rank that makes no step for so long is ended.")
    ] = 300
    total_seconds: Annotated[int, Field(ge=1, description="Of the whole training.")] = 86_400

    @field_validator("quantiles")
    @classmethod
    def _ascending(cls, given: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(sorted(set(given)))


class DeepTabular(Candidate):
    """A residual net with embeddings, fitted by PyTorch on one process or several ranks."""

    name = "deep_tabular"
    tasks = frozenset(Task)
    parameters_type = DeepTabularParameters
    needs_all_slots = keeps_checkpoints = True
    #: What a search may vary: (lowest, highest, on a logarithmic scale).
    search_space: ClassVar[Mapping[str, tuple[float, float, bool]]] = {
        "layers": (1, 8, False),
        "width": (64, 512, True),
        "dropout": (0.0, 0.5, False),
        "learning_rate": (1e-4, 1e-2, True),
        "weight_decay": (1e-6, 1e-2, True),
    }

    def _fit(
        self, data: EncodedData, labels: Labels, parameters: DeepTabularParameters, seed: int
    ) -> FittedModel:
        if parameters.quantiles and data.task is not Task.REGRESSION:
            raise UsageError(
                f"quantiles are of a label that is a number, and this one is {data.task.value}",
                where="candidates.deep_tabular.quantiles",
                hint="remove that line",
            )
        spark = data.train.sparkSession
        chosen = self.backend(parameters, spark)
        _require_torch()
        from lakescore.models.deep.checkpoint import remove

        with _folder(data) as folder:
            job = _job(data, labels, parameters, seed=seed, backend=chosen.name, folder=folder)
            if not job.resume:
                remove(job.checkpoints)
            asked = time.time()
            launcher(chosen.name)(spark, job)
            fitted = _fitted(job, chosen, asked)
            remove(job.checkpoints)
            return fitted

    def backend(
        self,
        parameters: DeepTabularParameters,
        spark: SparkSession | None = None,
        cells: int | None = None,
    ) -> Backend:
        return choose_backend(parameters.backend, spark)


def _require_torch() -> None:
    for package in ("torch", "onnx", "onnxscript", "onnxruntime"):
        if find_spec(package) is None:
            raise MissingExtra(package, extra="deep", needed_for="candidate deep_tabular")


@contextmanager
def _folder(data: EncodedData) -> Iterator[str]:
    """A folder of this fit alone, as Spark names it; it goes with the fit, however that ends."""
    from lakescore.models.deep.shards import local_path

    if data.scratch is None:
        with tempfile.TemporaryDirectory(prefix="lakescore-") as folder:
            yield Path(folder).as_uri()
        return
    folder = f"{data.scratch}/deep"
    try:
        yield folder
    finally:
        shutil.rmtree(local_path(folder), ignore_errors=True)


def _job(
    data: EncodedData,
    labels: Labels,
    parameters: DeepTabularParameters,
    *,
    seed: int,
    backend: str,
    folder: str,
) -> TrainingJob:
    """Write the shards, and say what every rank is to do."""
    from lakescore.models.deep.progress import is_watched
    from lakescore.models.deep.shards import find_shards, local_path, standards, write_shards
    from lakescore.models.deep.watch import make_ready

    spark, schema = data.train.sparkSession, data.schema
    numeric, label = standards(data.train, schema, labels.train.mean)
    splits: dict[str, Shards] = {}
    for name, rows, count in (
        ("train", data.train, labels.train.rows),
        ("validation", data.validation, labels.validation.rows),
    ):
        target = f"{folder}/{name}"
        write_shards(rows, schema, count, target, seed)
        splits[name] = find_shards(target)
        if splits[name].rows != count:
            raise TrainingFailed(
                f"{splits[name].rows:,} of {count:,} {name} rows are in the shards", where=target
            )
    ranks = rank_count(spark, backend, parameters.workers, labels.train.rows)
    job = TrainingJob(
        folder=local_path(folder),
        checkpoints=data.checkpoints or f"{local_path(folder)}/checkpoints",
        columns=schema.columns,
        task=data.task,
        standards=tuple(numeric),
        label=label,
        seed=seed,
        ranks=ranks,
        threads=_threads(spark, ranks),
        resume=data.resume,
        deadline=time.time() + parameters.total_seconds,
        parameters=parameters.model_dump(mode="json"),
        classes=data.classes,
        is_watched=is_watched(),
        **splits,
    )
    make_ready(job)
    return job


def _threads(spark: SparkSession, ranks: int) -> int:
    """Of each rank: on one machine the ranks share its slots, on a cluster each has a task's."""
    context = spark.sparkContext
    if is_local(spark):
        return max(1, int(context.defaultParallelism) // ranks)
    return int(context.getConf().get("spark.task.cpus", "1"))


def _fitted(job: TrainingJob, chosen: Backend, asked: float) -> FittedModel:
    from lakescore.models.deep.export import check_parity, exported, trained
    from lakescore.models.deep.watch import results

    told = results(job)
    if len({one["parameters"] for one in told}) > 1:
        raise TrainingFailed("ranks ended with different parameters", hint="report this")
    predictor = trained(job)
    scorer = exported(predictor, job)
    apart = check_parity(predictor, scorer, _some_rows(job))
    first = told[0]
    return FittedModel(
        scorer=scorer,
        importance={},
        backend=chosen.name,
        details={
            "ranks": job.ranks,
            "device": first["device"],
            "rank_mib": round(max(one["mib"] for one in told), 1),
            "epochs": first["epochs"],
            "best_epoch": first["best_epoch"],
            "resumed_after": first["resumed_after"],
            "seconds_to_first_step": round(first["first_step"] - asked, 3),
            "largest_difference_to_onnx": apart,
        },
        curves={
            name: [epoch[name] for epoch in first["history"]]
            for name in ("train_loss", "validation_loss", "rows_per_second")
        },
    )


def _some_rows(job: TrainingJob) -> npt.NDArray[np.float64]:
    """Encoded rows of the validation split, or of train where there is none."""
    from lakescore.models.deep.shards import LocalRows

    shards = job.validation if job.validation.rows else job.train
    rows = LocalRows(shards, (0, min(shards.rows, _PARITY_ROWS)), job.schema)
    try:
        return next(rows.in_order(_PARITY_ROWS))[:, :-1].copy()
    finally:
        rows.close()
