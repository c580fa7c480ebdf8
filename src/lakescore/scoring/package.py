"""The model package: everything that a prediction needs, as data in one folder.

    package.json        what the model is, and the SHA-256 of every other file
    preprocessor.json   the fitted preprocessor
    scorer/             the portable scorer

Nothing in it is code and nothing is a pickle: loading a package runs nothing that it holds.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from lakescore.config.workload import Context, Feature, Source
from lakescore.errors import LakescoreError, ModelBroken, UsageError
from lakescore.features.names import feature_column
from lakescore.features.preprocessor import Preprocessor
from lakescore.matrix import Answers, Task
from lakescore.models.base import Scorer
from lakescore.models.storage import load_scorer, save_scorer
from lakescore.sealed import open_sealed, seal
from lakescore.version import code_version as installed_version

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

FORMAT = 1
MANIFEST, PREPROCESSOR, SCORER = "package.json", "preprocessor.json", "scorer"


@dataclass(frozen=True)
class ModelPackage:
    """A trained model with its feature definitions, fitted preprocessor and scorer.

    `training` is what produced the model (pins, backend, seed), JSON-ready, for whoever asks
    later. `classes` are those of a multiclass label, in the order of the scorer's probabilities.
    """

    workload: str
    task: Task
    source: Source
    contexts: Mapping[str, Context]
    features: tuple[Feature, ...]
    preprocessor: Preprocessor
    scorer: Scorer
    training: Mapping[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    code_version: str = field(default_factory=installed_version)

    @property
    def answers(self) -> Answers:
        """What `predict` gives for a row."""
        return Answers(self.classes, self.scorer.quantiles)

    @property
    def signature(self) -> dict[str, str]:
        """Feature -> the Spark type that the SQL stage gives it, in the matrix's order."""
        return {
            column.name: "string" if column.is_categorical else "double"
            for column in self.preprocessor.matrix_schema.columns
        }

    @property
    def inputs(self) -> dict[str, str]:
        """The same under the names that feature columns have in a frame of the SQL stage."""
        return {feature_column(name): type_ for name, type_ in self.signature.items()}

    def predict(self, batch: pa.RecordBatch) -> npt.NDArray[np.float64]:
        """Score feature columns (any order, others ignored).

        Returns shape (rows, *answers.shape).
        """
        return self.scorer.predict_with_quantiles(self.preprocessor.encode(batch))

    @cached_property
    def sha256(self) -> str:
        """What the package is known by; the same before saving and after loading."""
        with tempfile.TemporaryDirectory(prefix="lakescore-") as folder:
            return _write(self, Path(folder))

    def save(self, folder: Path) -> str:
        """Write the package into `folder` (made if need be); returns its SHA-256.

        Raises UsageError when there is something in it already.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UsageError("the folder is not empty", where=str(folder))
        return _write(self, folder)

    @classmethod
    def load(cls, folder: Path) -> ModelPackage:
        """Read what `save` wrote. Raises ModelBroken when truncated, altered or newer."""
        manifest = open_sealed(folder, MANIFEST, newest=FORMAT, what="model package")
        try:
            package = _build(cls, folder, manifest)
        except LakescoreError:
            raise
        except (ValidationError, ValueError, KeyError, TypeError, OSError) as error:
            raise ModelBroken(
                f"its description does not fit: {error}", where=str(folder)
            ) from error
        package.__dict__["sha256"] = manifest["sha256"]
        return package


def _write(package: ModelPackage, folder: Path) -> str:
    (folder / PREPROCESSOR).write_text(package.preprocessor.to_json(), encoding="utf-8")
    (folder / SCORER).mkdir()
    save_scorer(package.scorer, folder / SCORER)
    return seal(folder, MANIFEST, _describe(package))


def _describe(package: ModelPackage) -> dict[str, Any]:
    contexts = {name: spec.model_dump(mode="json") for name, spec in package.contexts.items()}
    answers = {
        Task.BINARY: "probability of class 1",
        Task.MULTICLASS: "probability of each class",
        Task.REGRESSION: "value",
    }
    return {
        "format": FORMAT,
        "workload": package.workload,
        "task": package.task.value,
        "source": package.source.model_dump(mode="json"),
        "context": contexts,
        "features": [feature.model_dump(mode="json") for feature in package.features],
        "signature": [[name, type_] for name, type_ in package.signature.items()],
        "output": {"type": "double", "is": answers[package.task]},
        "classes": list(package.classes),
        "training": dict(package.training),
        "code_version": package.code_version,
    }


def _build(cls: type[ModelPackage], folder: Path, manifest: Mapping[str, Any]) -> ModelPackage:
    contexts = {name: Context.model_validate(spec) for name, spec in manifest["context"].items()}
    preprocessor = (folder / PREPROCESSOR).read_text(encoding="utf-8")
    scorer, classes = load_scorer(folder / SCORER), tuple(manifest.get("classes", ()))
    if len(classes) != scorer.classes:
        raise ValueError(f"it names {len(classes)} classes and its scorer has {scorer.classes}")
    return cls(
        workload=manifest["workload"],
        task=Task(manifest["task"]),
        source=Source.model_validate(manifest["source"]),
        contexts=contexts,
        features=tuple(Feature.model_validate(spec) for spec in manifest["features"]),
        preprocessor=Preprocessor.from_json(preprocessor),
        scorer=scorer,
        training=manifest["training"],
        classes=classes,
        code_version=manifest["code_version"],
    )
