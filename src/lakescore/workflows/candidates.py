"""Fit every declared candidate on one encoded snapshot, and score it with each of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lakescore.matrix import LABEL, SPLIT, Split, Task

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from lakescore.config.base import ConfigModel
    from lakescore.config.workload import Workload
    from lakescore.features.preprocessor import Preprocessor
    from lakescore.models.base import EncodedData, FittedModel
    from lakescore.workflows.training_data import TrainingSnapshot

log = logging.getLogger("lakescore")

#: The baseline that every model must beat; fitted whether it is declared or not.
BASELINE = "prior"
_AT_ONCE = 2


@dataclass(frozen=True)
class Fitted:
    """One candidate's fit, in the order of declaration."""

    name: str
    model: FittedModel
    parameters: Mapping[str, Any]
    seconds: float


def checked_parameters(workload: Workload, task: Task | None = None) -> dict[str, ConfigModel]:
    """Candidate -> its parameters with defaults, the baseline last if it is not declared.

    Raises ConfigError for an unknown candidate or parameter, and one that does not fit the task.
    """
    from lakescore.models.catalogue import check_parameters, check_task

    declared = {spec.name: spec.parameters for spec in workload.candidates}
    declared.setdefault(BASELINE, {})
    found = {name: check_parameters(name, parameters) for name, parameters in declared.items()}
    if task is not None:
        for name in found:
            check_task(name, task)
    return found


def fit_candidates(
    data: EncodedData, parameters: Mapping[str, ConfigModel], seed: int
) -> list[Fitted]:
    """Fit them two at a time: engines leave cores idle between the many small jobs of a fit.

    Those that need every slot come last, one by one.
    """
    from lakescore.models.catalogue import candidate

    def fit(name: str) -> Fitted:
        started = time.perf_counter()
        model = candidate(name).fit(data, parameters[name], seed=seed)
        seconds = time.perf_counter() - started
        log.info("  fitted %s (%s) in %.1f s", name, model.backend, seconds)
        return Fitted(name, model, parameters[name].model_dump(mode="json"), round(seconds, 3))

    alone = [name for name in parameters if candidate(name).needs_all_slots]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        beside = [name for name in parameters if name not in alone]
        fitted = dict(zip(beside, pool.map(fit, beside), strict=True))
    fitted |= {name: fit(name) for name in alone}
    return [fitted[name] for name in parameters]


def encode_snapshot(
    spark: SparkSession,
    snapshot: TrainingSnapshot,
    preprocessor: Preprocessor,
    folder: str,
    *,
    checkpoints: str | None = None,
    resume: bool = False,
) -> EncodedData:
    """Store the encoded train and validation rows below `folder`, one folder a split.

    The last two as in EncodedData.
    """
    from lakescore.features.encode import encode_frame
    from lakescore.lake.tables import local_folder
    from lakescore.models.base import EncodedData

    rows = snapshot.read(spark, Split.TRAIN, Split.VALIDATION)
    encoded = encode_frame(rows, preprocessor, [LABEL, SPLIT])
    encoded.write.mode("overwrite").partitionBy(SPLIT).parquet(folder)
    schema = encoded.drop(SPLIT).schema

    def of(split: Split) -> str:
        return f"{folder}/{SPLIT}={split.value}"

    def stored(split: Split) -> DataFrame:
        return spark.read.schema(schema).parquet(of(split))

    here = {split: local_folder(of(split)) for split in (Split.TRAIN, Split.VALIDATION)}
    return EncodedData(
        train=stored(Split.TRAIN),
        validation=stored(Split.VALIDATION),
        schema=preprocessor.matrix_schema,
        task=snapshot.task,
        train_rows=snapshot.splits[Split.TRAIN].rows,
        classes=len(snapshot.classes),
        scratch=f"{folder}-scratch",
        checkpoints=checkpoints,
        resume=resume,
        files={
            split: tuple(sorted(str(file) for file in found.glob("part-*.parquet")))
            for split, found in here.items()
            if found is not None
        },
    )
