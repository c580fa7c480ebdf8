"""Train: pinned rows to a registered challenger, promoted if it passes its gate."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lakescore.errors import UsageError
from lakescore.hashing import json_sha256
from lakescore.matrix import LABEL, SPLIT, Split
from lakescore.version import code_version
from lakescore.workflows.candidates import (
    Fitted,
    checked_parameters,
    encode_snapshot,
    fit_candidates,
)
from lakescore.workflows.pins import Pins, pin_tables
from lakescore.workflows.promote import Challenger, decide_and_promote, promote
from lakescore.workflows.run_result import RunResult, Status, recorded_run
from lakescore.workflows.task_errors import task_errors
from lakescore.workflows.training_data import TrainingSnapshot, declared_features, materialise

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from lakescore.config.settings import Settings
    from lakescore.config.workload import Workload
    from lakescore.evaluation.results import Evaluation
    from lakescore.features.preprocessor import Preprocessor
    from lakescore.registry.model_version import ModelVersion
    from lakescore.registry.store import Registry
    from lakescore.scoring.package import ModelPackage

log = logging.getLogger("lakescore")

#: What of a workload decides which model comes out: with the pins, the identity of a training.
_TRAINS_ON = {"source", "context", "features", "label", "split", "candidates", "select_by", "seed"}
TRAINING_TAG = "lakescore_training_hash"


def train(
    spark: SparkSession,
    settings: Settings,
    workload: Workload,
    *,
    sample: float | None = None,
    promote: bool | None = None,
) -> RunResult:
    """Fit the candidates, select on validation, register the best as challenger, run its gate.

    Training again on the same pins and configuration registers nothing (ALREADY_DONE), but a
    promotion that a crash kept from happening is made up for. With `sample` nothing is
    registered. `promote` defaults to the workload's `promotion: auto`.
    """
    parameters = checked_parameters(_trainable(workload))
    wanted = workload.promotion == "auto" if promote is None else promote
    with recorded_run("train", workload.name, settings.runs, code_version()) as run:
        run.command = f"lakescore train {workload.name}"
        with run.phase("plan"):
            plan = _plan(spark, settings, workload)
            run.pins = plan.pins.describe()
        if sample is None and plan.existing is not None:
            return _already_done(spark, settings, workload, plan.existing, run, promote=wanted)
"""Rest is below."""
