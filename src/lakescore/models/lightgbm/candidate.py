"""LightGBM: gradient-boosted trees with early stopping on the validation split."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from lakescore.config.base import ConfigModel
from lakescore.matrix import Task
from lakescore.models.base import Backend, Candidate, EncodedData, FittedModel
from lakescore.models.labels import Labels
from lakescore.models.lightgbm.backend import choose_backend

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class LightGBMParameters(ConfigModel):
    """As LightGBM names them."""

    num_leaves: Annotated[int, Field(ge=2, le=131_072)] = 63
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.05
    num_iterations: Annotated[
        int, Field(ge=1, le=20_000, description="The most boosting rounds.")
    ] = 500
    early_stopping_rounds: Annotated[
        int,
        Field(
            ge=0,
            le=5_000,
            description="Stop after so many rounds without a better validation metric "
            "(average precision, multiclass log loss or squared error) and keep the best. "
            "0: never stop.",
        ),
    ] = 30
    min_data_in_leaf: Annotated[int, Field(ge=0)] = 50
    feature_fraction: Annotated[float, Field(gt=0, le=1)] = 0.8
    bagging_fraction: Annotated[float, Field(gt=0, le=1)] = 0.8
    bagging_freq: Annotated[int, Field(ge=0, description="0: no bagging.")] = 1
    lambda_l1: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    lambda_l2: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    max_bin: Annotated[int, Field(ge=2, le=65_535)] = 255
    backend: Literal["auto", "synapse", "native"] = Field(
        default="auto",
        description="synapse: SynapseML, on Spark. native: one process, whose memory holds the "
        "training rows. auto: native on one machine whose matrix is small enough (`native_gib`), "
        "else synapse where it can load, else native.",
    )
    native_gib: Annotated[
        float,
        Field(
            ge=0,
            allow_inf_nan=False,
            description="auto takes the native backend for a matrix (8 bytes a cell) of at most so "
            "many GiB, and at most half of the machine's memory. 0: only where SynapseML cannot "
            "load.",
        ),
    ] = 4.0


class LightGBM(Candidate):
    """Gradient-boosted trees, fitted by SynapseML on Spark or natively in one process."""

    name = "lightgbm"
    tasks = frozenset(Task)
    parameters_type = LightGBMParameters

    def _fit(
        self, data: EncodedData, labels: Labels, parameters: LightGBMParameters, seed: int
    ) -> FittedModel:
        rows = data.train_rows + labels.validation.rows
        cells = rows * (len(data.schema.columns) + 1)
        chosen = self.backend(parameters, data.train.sparkSession, cells)
        if chosen.name == "synapse":
            from lakescore.models.lightgbm.synapse import fit_synapse as fit
        else:
            from lakescore.models.lightgbm.native import fit_native as fit
        return fit(data, labels, parameters, seed)

    def backend(
        self,
        parameters: LightGBMParameters,
        spark: SparkSession | None = None,
        cells: int | None = None,
    ) -> Backend:
        return choose_backend(
            parameters.backend, spark, cells=cells, native_gib=parameters.native_gib
        )
