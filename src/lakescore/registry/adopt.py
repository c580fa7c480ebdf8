"""Registers a foreign model without retraining, and shows that it still scores the same."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import yaml

from lakescore.errors import ModelBroken, UsageError
from lakescore.registry.foreign import OpenedModel, Runner
from lakescore.registry.inputs import ANY
from lakescore.registry.mlmodel import (
    MLMODEL,
    PREDICTION,
    read_description,
    signature,
    write_model,
    write_package_model,
)
from lakescore.registry.model_version import ModelVersion
from lakescore.registry.pyfunc_process import PyfuncScorer
from lakescore.registry.store import Registry


def write_adopted(
    model: OpenedModel,
    folder: Path,
    *,
    inputs: Mapping[str, str],
    outputs: Sequence[str] = (PREDICTION,),
) -> None:
    """Write an MLflow model folder around a foreign model; its own files are copied bit for bit.

    `inputs` (column -> Spark type, in the model's order) and the names of a package's `outputs`
    become the signature. Raises UsageError when they do not fit what the model says of itself.
    """
    _refuse_misfit(model, inputs)
    folder.mkdir(parents=True, exist_ok=True)
    if model.runner is Runner.PACKAGE:
        write_package_model(Path(model.path), folder, inputs, outputs)
    elif model.runner is Runner.LIGHTGBM:
        _write_lightgbm(Path(model.path), folder, inputs)
    elif model.runner is Runner.SPARK:
        _write_pipeline(Path(model.path), folder, inputs)
    else:
        shutil.copytree(model.path, folder, dirs_exist_ok=True)
        _sign(folder, inputs)


def adopt(
    registry: Registry,
    folder: Path,
    *,
    name: str,
    adopted_from: str,
    tags: Mapping[str, str],
) -> ModelVersion:
    """Register what `write_adopted` wrote as the next version of `name`. No alias is moved."""
    return registry.register_folder(
        folder,
        name=name,
        tags={**tags, "lakescore_adopted_from": adopted_from},
        metrics={},
        params={},
        run_name=f"adopt {name}",
    )


def engine_predictions(folder: Path, rows: pa.RecordBatch) -> npt.NDArray[np.float64]:
    """What the model's own engine says, through MLflow in a child process: the parity's reference.

    `folder` is an MLflow model folder with a signature, and not a Spark one.
    """
    inputs = read_description(folder).inputs
    if inputs is None:
        raise UsageError("the model has no signature", where=str(folder))
    scorer = PyfuncScorer(folder, inputs)
    try:
        return scorer.predict(rows)
    finally:
        scorer.close()


def largest_difference(ours: npt.NDArray[np.float64], theirs: npt.NDArray[np.float64]) -> float:
    """max |ours - theirs| over the rows; infinite where only one of the two is a number.

    Raises ModelBroken when the counts differ.
    """
    if ours.shape != theirs.shape:
        raise ModelBroken(
            f"{ours.shape[0]} predictions against {theirs.shape[0]} for the same rows"
        )
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.abs(ours - theirs))
    return float(np.max(np.nan_to_num(apart, nan=np.inf), initial=0.0))


def _refuse_misfit(model: OpenedModel, inputs: Mapping[str, str]) -> None:
    if model.inputs is None:
        return
    known = list(model.inputs)
    if len(known) != len(inputs):
        raise UsageError(
            f"the model takes {len(known)} inputs, not {len(inputs)}",
            where=model.spec,
            hint=f"it takes: {', '.join(known)}",
        )
    open_types = [name for name, type_ in inputs.items() if type_ == ANY]
    if open_types:
        raise UsageError(f"state the types of {', '.join(open_types)}", where=model.spec)


def _write_lightgbm(text: Path, folder: Path, inputs: Mapping[str, str]) -> None:
    shutil.copyfile(text, folder / "model.lgb")
    flavour = {
        "lgb_version": version("lightgbm"),
        "data": "model.lgb",
        "model_class": "lightgbm.basic.Booster",
        "code": None,
    }
    write_model(
        folder,
        flavours={"lightgbm": flavour},
        loader_module="mlflow.lightgbm",
        data="model.lgb",
        inputs=dict.fromkeys(inputs, "double"),
        requirements=("mlflow", "lightgbm", "numpy", "pandas"),
    )


def _write_pipeline(pipeline: Path, folder: Path, inputs: Mapping[str, str]) -> None:
    shutil.copytree(pipeline, folder / "sparkml")
    flavour = {"pyspark_version": version("pyspark"), "model_data": "sparkml", "code": None}
    write_model(
        folder,
        flavours={"spark": flavour},
        loader_module="mlflow.spark",
        data="sparkml",
        inputs=inputs,
        requirements=("mlflow", "pyspark", "pandas"),
    )


def _sign(folder: Path, inputs: Mapping[str, str]) -> None:
    """Add the signature to an MLmodel file that has none; one that it has is kept."""
    if read_description(folder).inputs is not None:
        return
    path = folder / MLMODEL
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["signature"] = signature(inputs).to_dict()
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
