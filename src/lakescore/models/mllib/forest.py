"""Random forests on MLlib: a classifier for classes, a regressor for values.

Numbers are imputed by their training mean; categories are split by sets of codes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import uuid4

from pydantic import Field

from lakescore.config.base import ConfigModel
from lakescore.matrix import LABEL, MatrixColumn, MatrixSchema, Task
from lakescore.models.base import Backend, Candidate, EncodedData, FittedModel
from lakescore.models.labels import Labels
from lakescore.models.mllib.forest_nodes import read_trees
from lakescore.models.mllib.forest_scorer import ForestScorer, Trees
from lakescore.models.mllib.imputation import imputed_column, replacement

if TYPE_CHECKING:
    from pyspark.ml import Estimator
    from pyspark.sql import Column, DataFrame, SparkSession

_FEATURES = "_features"


class ForestParameters(ConfigModel):
    """As MLlib names them."""

    num_trees: Annotated[int, Field(ge=1, le=2000)] = 20
    max_depth: Annotated[int, Field(ge=1, le=30)] = 8
    min_instances_per_node: Annotated[int, Field(ge=1)] = 20
    subsampling_rate: Annotated[float, Field(gt=0, le=1)] = 1.0
    max_bins: Annotated[
        int,
        Field(ge=2, le=65_536, description="Raised to the most levels of a category by itself."),
    ] = 64
    feature_subset_strategy: Literal["auto", "all", "onethird", "sqrt", "log2"] = "auto"


class RandomForest(Candidate):
    """A forest of trees on bootstrap samples."""

    name = "random_forest"
    parameters_type = ForestParameters

    def _fit(
        self, data: EncodedData, labels: Labels, parameters: ForestParameters, seed: int
    ) -> FittedModel:
        fitting = estimator(data, parameters, seed)
        model: Any = fitting.fit(feature_vectors(data.train, data.schema))
        trees = _saved_and_read(model, data)
        scorer = ForestScorer(
            columns=data.schema.names,
            task=data.task,
            levels=tuple(column.levels for column in data.schema.columns),
            replacements=tuple(replacement(column) for column in data.schema.columns),
            trees=trees,
        )
        return FittedModel(
            scorer=scorer,
            importance=_importance(model, data.schema),
            backend="mllib",
            details={"trees": len(trees.roots), "nodes": len(trees.feature), "depth": trees.depth},
        )

    def backend(
        self,
        parameters: ForestParameters,
        spark: SparkSession | None = None,
        cells: int | None = None,
    ) -> Backend:
        return Backend("mllib", "part of Spark")


def feature_vectors(encoded: DataFrame, schema: MatrixSchema) -> DataFrame:
    """`_features`, one entry a matrix column, and `_label` when there is one."""
    from pyspark.ml.feature import VectorAssembler

    slots = [f"_{index}" for index in range(len(schema.columns))]
    columns = [_slot(column, slot) for column, slot in zip(schema.columns, slots, strict=True)]
    label = [LABEL] if LABEL in encoded.columns else []
    assembler = VectorAssembler(inputCols=slots, outputCol=_FEATURES)
    return assembler.transform(encoded.select(*columns, *label)).select(_FEATURES, *label)


def _slot(column: MatrixColumn, slot: str) -> Column:
    from pyspark.sql import functions as F

    if not column.is_categorical:
        return imputed_column(column).alias(slot)
    attribute = {"type": "nominal", "name": slot, "num_vals": column.levels + 1}
    return F.col(f"`{column.name}`").alias(slot, metadata={"ml_attr": attribute})


def estimator(data: EncodedData, parameters: ForestParameters, seed: int) -> Estimator[Any]:
    """MLlib's forest for the task, reading what `feature_vectors` makes."""
    from pyspark.ml.classification import RandomForestClassifier
    from pyspark.ml.regression import RandomForestRegressor

    most_levels = max((column.levels + 1 for column in data.schema.columns), default=2)
    kind = RandomForestClassifier if data.task is Task.BINARY else RandomForestRegressor
    return kind(
        featuresCol=_FEATURES,
        labelCol=LABEL,
        seed=seed,
        numTrees=parameters.num_trees,
        maxDepth=parameters.max_depth,
        minInstancesPerNode=parameters.min_instances_per_node,
        subsamplingRate=parameters.subsampling_rate,
        maxBins=max(parameters.max_bins, most_levels),
        featureSubsetStrategy=parameters.feature_subset_strategy,
    )


def _saved_and_read(model: Any, data: EncodedData) -> Trees:
    """MLlib hands out node statistics only through storage."""
    levels = [column.levels for column in data.schema.columns]
    with _scratch(data.scratch) as path:
        model.write().overwrite().save(path)
        return read_trees(data.train.sparkSession, path, data.task, levels)


@contextmanager
def _scratch(folder: str | None) -> Iterator[str]:
    if folder is not None:
        yield f"{folder.rstrip('/')}/forest-{uuid4().hex}"
        return
    with tempfile.TemporaryDirectory(prefix="lakescore-") as local:
        yield (Path(local) / "forest").as_uri()


def _importance(model: Any, schema: MatrixSchema) -> dict[str, float]:
    shares = model.featureImportances.toArray()
    return {
        name: float(share) for name, share in zip(schema.names, shares, strict=True) if share > 0
    }
