"""MLflow's model folder (the MLmodel file): written for ours, read as plain data for any."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from lakescore.errors import ModelBroken
from lakescore.registry.calls import import_mlflow

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

MLMODEL = "MLmodel"
#: MLflow calls `_load_pyfunc` of this module for what lakescore wrote; named, never imported here.
LOADER_MODULE = "lakescore.scoring.pyfunc"
PACKAGE_FOLDER = "package"
#: What the one output of a model that gives one number is called.
PREDICTION = "prediction"
_PYTHON = ("numpy", "pandas", "pyarrow")

_TO_MLFLOW = {
    "boolean": "boolean",
    "string": "string",
    "date": "datetime",
    "timestamp": "datetime",
    "timestamp_ntz": "datetime",
    "binary": "binary",
}
_TO_SPARK = {
    "double": "double",
    "float": "float",
    "long": "bigint",
    "integer": "int",
    "boolean": "boolean",
    "string": "string",
    "datetime": "timestamp",
    "binary": "binary",
}


@dataclass(frozen=True)
class ModelDescription:
    """What an MLmodel file says, read without running anything.

    `inputs` maps column -> Spark type, or is None where the model has no column signature.
    """

    folder: Path
    flavours: Mapping[str, Mapping[str, Any]]
    inputs: Mapping[str, str] | None
    outputs: tuple[str, ...]
    mlflow_version: str | None

    @property
    def loader_module(self) -> str | None:
        return self.flavours.get("python_function", {}).get("loader_module")

    @property
    def is_ours(self) -> bool:
        return self.loader_module == LOADER_MODULE


def read_description(folder: Path) -> ModelDescription:
    """Read `folder/MLmodel` as plain YAML (no tags). Raises ModelBroken."""
    path = folder / MLMODEL
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        flavours = content["flavors"]
        signature = content.get("signature") or {}
        return ModelDescription(
            folder=folder,
            flavours={str(name): dict(body or {}) for name, body in flavours.items()},
            inputs=_inputs(signature.get("inputs")),
            outputs=tuple(_outputs(signature.get("outputs"))),
            mlflow_version=content.get("mlflow_version"),
        )
    except FileNotFoundError as error:
        raise ModelBroken("no MLmodel file: the folder is incomplete", where=str(folder)) from error
    except (yaml.YAMLError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelBroken(f"cannot be read: {error}", where=str(path)) from error


def _inputs(text: str | None) -> dict[str, str] | None:
    columns = json.loads(text) if text else []
    if not columns or any("name" not in column for column in columns):
        return None
    return {column["name"]: _TO_SPARK.get(column["type"], column["type"]) for column in columns}


def _outputs(text: str | None) -> list[str]:
    found = json.loads(text) if text else []
    return [str(output.get("name") or output["type"]) for output in found]


def write_package_model(
    package: Path,
    folder: Path,
    inputs: Mapping[str, str],
    outputs: Sequence[str] = (PREDICTION,),
) -> None:
    """Write an MLflow model around a saved model package, for REST and `load_model`."""
    shutil.copytree(package, folder / PACKAGE_FOLDER)
    write_model(
        folder,
        flavours={},
        loader_module=LOADER_MODULE,
        data=PACKAGE_FOLDER,
        inputs=inputs,
        outputs=outputs,
        requirements=("lakescore", *_PYTHON, "lightgbm", "llvmlite", "onnxruntime"),
    )


def write_model(
    folder: Path,
    *,
    flavours: Mapping[str, Mapping[str, Any]],
    loader_module: str,
    data: str,
    inputs: Mapping[str, str],
    requirements: Iterable[str],
    outputs: Sequence[str] = (PREDICTION,),
) -> None:
    """Write MLmodel, requirements and Python version beside model files already in `folder`."""
    import_mlflow()
    import mlflow.pyfunc
    from mlflow.models import Model

    model = Model(signature=signature(inputs, outputs))
    for name, body in flavours.items():
        model.add_flavor(name, **body)
    environment = {"virtualenv": "python_env.yaml"}
    mlflow.pyfunc.add_to_model(
        model, loader_module=loader_module, data=data, python_env=environment["virtualenv"]
    )
    model.save(str(folder / MLMODEL))
    (folder / "requirements.txt").write_text("\n".join(_pinned(requirements)) + "\n")
    python = {
        "python": ".".join(map(str, sys.version_info[:3])),
        "build_dependencies": ["pip", "setuptools", "wheel"],
        "dependencies": ["-r requirements.txt"],
    }
    (folder / "python_env.yaml").write_text(yaml.safe_dump(python))


def signature(inputs: Mapping[str, str], outputs: Sequence[str] = (PREDICTION,)) -> ModelSignature:
    """MLflow's signature: each input optional, as nulls are; each output a double.

    Whole numbers are declared as doubles: pandas has no whole number that can be missing.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    columns = [
        ColSpec(_TO_MLFLOW.get(type_, "double"), name, required=False)
        for name, type_ in inputs.items()
    ]
    return ModelSignature(Schema(columns), Schema([ColSpec("double", name) for name in outputs]))


def _pinned(requirements: Iterable[str]) -> list[str]:
    pins = []
    for name in requirements:
        try:
            pins.append(f"{name}=={version(name)}")
        except PackageNotFoundError:
            continue
    return pins
