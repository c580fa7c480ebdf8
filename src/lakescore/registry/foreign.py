"""Models that exist already: what each is and how it will be scored, found without running code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from lakescore.errors import ModelBroken, ModelNotFound, ModelNotTrusted, UsageError, did_you_mean
from lakescore.models.lightgbm.text import read_model_text, refuse_several_outputs
from lakescore.registry.inputs import ANY, check_inputs
from lakescore.registry.mlmodel import MLMODEL, ModelDescription, read_description
from lakescore.registry.model_version import ModelVersion, is_model_uri
from lakescore.registry.pipeline_metadata import is_pipeline, pipeline_inputs
from lakescore.registry.store import Registry

_PACKAGE_FILE = "package.json"
_RUNS_CODE = "runs-code"


class Runner(str, Enum):
    """What scores a model."""

    PACKAGE = "package"  # our own: scoring.package.ModelPackage.load(path)
    LIGHTGBM = "lightgbm"  # a text model: registry.foreign_lightgbm
    SPARK = "spark"  # an MLlib pipeline: scoring.spark_transform
    PYFUNC = "pyfunc"  # MLflow, in a child process: registry.pyfunc_process


@dataclass(frozen=True)
class OpenedModel:
    """A model that was looked at, not loaded.

    `path` is what its runner loads. `inputs` maps column -> Spark type ("any" where the model
    leaves it open), None where nothing tells them; for a package they are its features, not the
    source's columns. `folder` is the MLflow model folder, where it is one.
    """

    spec: str
    runner: Runner
    path: str
    inputs: Mapping[str, str] | None
    flavour: str
    flavour_version: str | None = None
    outputs: tuple[str, ...] = ()
    folder: Path | None = None
    version: ModelVersion | None = None

    @property
    def runs_code(self) -> bool:
        """Whether loading it runs code that came with it."""
        return self.runner is Runner.PYFUNC

    def describe(self) -> dict[str, Any]:
        """What `plan` and `validate` show; JSON-ready."""
        return {
            "model": self.spec,
            "version": self.version.version if self.version else None,
            "flavour": self.flavour,
            "flavour_version": self.flavour_version,
            "scored_by": self.runner.value,
            "runs_code": self.runs_code,
            "inputs": None if self.inputs is None else dict(self.inputs),
            "outputs": list(self.outputs),
        }

    def check_inputs(self, columns: Mapping[str, str]) -> None:
        """Compare with a source's columns (name -> Spark type): `dict(df.dtypes)`.

        Raises ColumnMissing, TypeMismatch, and UsageError when the model does not tell its inputs.
        """
        if self.inputs is not None or self.runner is not Runner.SPARK:
            check_inputs(self.signed_inputs(), columns, where=self.spec)

    def signed_inputs(self) -> Mapping[str, str]:
        """`inputs`, without which only Spark can score. Raises UsageError when there are none."""
        if self.inputs is None:
            raise UsageError(
                "the model does not tell its inputs: it has no signature",
                where=self.spec,
                hint="`lakescore adopt` registers it with one; score what was registered",
            )
        return self.inputs


def open_model(
    spec: str, *, trust: str | None, registry: Registry | None = None, folder: Path | None = None
) -> OpenedModel:
    """Look at the model that a workload's `model` names.

    `spec` is ``models:/NAME@ALIAS``, ``models:/NAME/VERSION`` (both need `registry`, and an empty
    `folder` to download to), or a path to a model package, an MLflow model folder, a LightGBM text
    model or an MLlib pipeline. Any other URL is taken for a pipeline, which Spark reads itself.

    Raises ModelNotFound, ModelBroken, UsageError, and ModelNotTrusted for a model that runs code
    when it is loaded, unless `trust` is "runs-code".
    """
    if is_model_uri(spec):
        if registry is None or folder is None:
            raise UsageError("a registered model needs a registry", where=spec)
        version = registry.resolve(spec)
        model = replace(_at_path(spec, registry.download(version, folder)), version=version)
    elif "://" in spec and not spec.startswith("file:"):
        model = OpenedModel(spec, Runner.SPARK, spec, inputs=None, flavour="mllib pipeline")
    else:
        model = _at_path(spec, _local(spec))
    if model.runs_code and trust != _RUNS_CODE:
        raise ModelNotTrusted(
            f"loading this model runs code that came with it (flavour {model.flavour})",
            where=spec,
            hint="if you trust where it came from, add `trust: runs-code` to the workload; "
            "it is then loaded in a process of its own",
        )
    return model


def _local(spec: str) -> Path:
    path = Path(unquote(urlparse(spec).path) if spec.startswith("file:") else spec).expanduser()
    if not path.exists():
        there = [item.name for item in path.parent.iterdir()] if path.parent.is_dir() else []
        raise ModelNotFound(
            "no such file or folder", where=spec, hint=did_you_mean(path.name, there)
        )
    return path


def _at_path(spec: str, path: Path) -> OpenedModel:
    if path.is_file():
        if _is_lightgbm_text(path):
            return _lightgbm(spec, path)
    elif (path / MLMODEL).is_file():
        return _mlflow(spec, read_description(path))
    elif (path / _PACKAGE_FILE).is_file():
        return OpenedModel(spec, Runner.PACKAGE, str(path), inputs=None, flavour="lakescore")
    elif is_pipeline(path):
        return _pipeline(spec, path)
    raise UsageError(
        "not a model that lakescore knows",
        where=spec,
        hint="it takes a model package, an MLflow model folder (with MLmodel), a LightGBM text "
        "model, or a fitted MLlib pipeline",
    )


def _is_lightgbm_text(path: Path) -> bool:
    """Whether a file begins as LightGBM's text format does; a pickle does not."""
    with path.open("rb") as file:
        return file.read(5) == b"tree\n"


def _lightgbm(spec: str, path: Path) -> OpenedModel:
    text = read_model_text(path.read_text(encoding="utf-8", errors="replace"), str(path))
    refuse_several_outputs(text, str(path))
    return OpenedModel(
        spec,
        Runner.LIGHTGBM,
        str(path),
        inputs=dict.fromkeys(text.feature_names, "double"),
        flavour="lightgbm",
        flavour_version=text.header.get("version"),
        outputs=("prediction",),
    )


def _pipeline(spec: str, path: Path) -> OpenedModel:
    columns = pipeline_inputs(path)
    inputs = None if columns is None else dict.fromkeys(columns, ANY)
    return OpenedModel(spec, Runner.SPARK, str(path), inputs=inputs, flavour="mllib pipeline")


def _mlflow(spec: str, description: ModelDescription) -> OpenedModel:
    """Prefer the flavour that is plain data; MLflow's own loader is the last resort."""
    flavours = description.flavours
    found = OpenedModel(
        spec,
        Runner.PYFUNC,
        str(description.folder),
        inputs=description.inputs,
        flavour=next((name for name in flavours if name != "python_function"), "python_function"),
        flavour_version=description.mlflow_version,
        outputs=description.outputs,
        folder=description.folder,
    )
    if description.is_ours:
        path = _inside(description, flavours["python_function"].get("data"))
        return replace(found, runner=Runner.PACKAGE, path=str(path), flavour="lakescore")
    if "lightgbm" in flavours:
        path = _inside(description, flavours["lightgbm"].get("data"))
        if path.is_file() and _is_lightgbm_text(path):
            return _signed(found, _lightgbm(spec, path))
    if "spark" in flavours:
        path = _inside(description, flavours["spark"].get("model_data"))
        if is_pipeline(path):
            pipeline = _pipeline(spec, path)
            inputs = description.inputs or pipeline.inputs
            return replace(found, runner=Runner.SPARK, path=str(path), inputs=inputs)
    if "python_function" not in flavours:
        raise ModelBroken(f"none of its flavours can be scored: {', '.join(flavours)}", where=spec)
    return found


def _signed(found: OpenedModel, text: OpenedModel) -> OpenedModel:
    """A text model behind a signature: by name where the names agree, else by position."""
    features = list(text.inputs or ())
    signed = list(found.inputs or ())
    if signed and not set(features) <= set(signed):
        if len(signed) != len(features):
            raise ModelBroken(
                f"its signature has {len(signed)} inputs, the LightGBM model {len(features)}",
                where=found.spec,
            )
        features = signed
    return replace(text, inputs=dict.fromkeys(features, "double"), folder=found.folder)


def _inside(description: ModelDescription, relative: object) -> Path:
    """A path that an MLmodel file names, which must lie in its own folder."""
    root = description.folder.resolve()
    path = (root / str(relative or "")).resolve()
    if not path.is_relative_to(root) or not path.exists():
        raise ModelBroken(
            f"its MLmodel names '{relative}', which it does not hold", where=str(root)
        )
    return path
