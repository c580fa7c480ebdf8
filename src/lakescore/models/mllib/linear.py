"""Linear models on MLlib: logistic regression for classes, linear regression for values.

Numbers are imputed by their training mean, categories one-hot encoded with nothing for code 0,
so a row is a sparse vector; MLlib standardises within the fit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from lakescore.config.base import ConfigModel
from lakescore.matrix import LABEL, MatrixColumn, MatrixSchema, Task
from lakescore.models.base import Backend, Candidate, EncodedData, FittedModel
from lakescore.models.labels import Labels
from lakescore.models.mllib.imputation import imputed_column
from lakescore.models.mllib.linear_scorer import LinearScorer, LinearTerm, linear_scorer

if TYPE_CHECKING:
    from pyspark.ml import Estimator
    from pyspark.sql import Column, DataFrame, SparkSession

_FEATURES = "_features"


class LinearParameters(ConfigModel):
    """Elastic-net parameters, as MLlib names them."""

    reg_param: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1e-4
    elastic_net_param: Annotated[
        float, Field(ge=0, le=1, description="0 is a ridge penalty, 1 a lasso.")
    ] = 0.0
    max_iter: Annotated[int, Field(ge=1, le=10_000)] = 50
    tol: Annotated[float, Field(gt=0, lt=1, description="Relative change that ends the fit.")] = (
        1e-6
    )


class _Linear(Candidate):
    """What both linear candidates share."""

    parameters_type = LinearParameters
    _task: ClassVar[Task]

    def _fit(
        self, data: EncodedData, labels: Labels, parameters: LinearParameters, seed: int
    ) -> FittedModel:
        model: Any = self.estimator(parameters).fit(feature_vectors(data.train, data.schema))
        scorer = linear_scorer(
            data.schema, self._task, float(model.intercept), model.coefficients.toArray()
        )
        return FittedModel(
            scorer=scorer,
            importance=_importance(data.train, scorer),
            backend="mllib",
            details={"iterations": int(model.summary.totalIterations)},
        )

    def estimator(self, parameters: LinearParameters) -> Estimator[Any]:
        """MLlib's model, reading what `feature_vectors` makes."""
        raise NotImplementedError

    def backend(
        self,
        parameters: LinearParameters,
        spark: SparkSession | None = None,
        cells: int | None = None,
    ) -> Backend:
        return Backend("mllib", "part of Spark")


class LogisticRegression(_Linear):
    """Binary logistic regression with an elastic-net penalty."""

    name = "logistic_regression"
    tasks = frozenset({Task.BINARY})
    _task = Task.BINARY

    def estimator(self, parameters: LinearParameters) -> Estimator[Any]:
        from pyspark.ml.classification import LogisticRegression as MLlib

        return MLlib(family="binomial", **_options(parameters))


class LinearRegression(_Linear):
    """Least squares with an elastic-net penalty."""

    name = "linear_regression"
    tasks = frozenset({Task.REGRESSION})
    _task = Task.REGRESSION

    def estimator(self, parameters: LinearParameters) -> Estimator[Any]:
        from pyspark.ml.regression import LinearRegression as MLlib

        return MLlib(**_options(parameters))


def feature_vectors(encoded: DataFrame, schema: MatrixSchema) -> DataFrame:
    """`_features`, one vector a row laid out as `linear_scorer` reads coefficients, and `_label`.

    A column `_label` is kept when there is one, so that a frame to score can be passed too.
    """
    from pyspark.ml.feature import OneHotEncoder, VectorAssembler

    slots = [f"_{index}" for index in range(len(schema.columns))]
    columns = [_slot(column, slot) for column, slot in zip(schema.columns, slots, strict=True)]
    label = [LABEL] if LABEL in encoded.columns else []
    rows = encoded.select(*columns, *label)
    coded = [slots[index] for index in schema.categorical_indexes]
    if coded:
        hot = {slot: f"{slot}_hot" for slot in coded}
        encoder = OneHotEncoder(inputCols=list(hot), outputCols=list(hot.values()), dropLast=True)
        rows = encoder.fit(rows).transform(rows)
        slots = [hot.get(slot, slot) for slot in slots]
    assembler = VectorAssembler(inputCols=slots, outputCol=_FEATURES)
    return assembler.transform(rows).select(_FEATURES, *label)


def _slot(column: MatrixColumn, slot: str) -> Column:
    """A number imputed, or a code shifted so that 0 is the last level, which the encoder drops.

    The attribute tells the encoder how many levels there are, so that it reads no rows.
    """
    from pyspark.sql import functions as F

    if not column.is_categorical:
        return imputed_column(column).alias(slot)
    code = F.col(f"`{column.name}`")
    known = code.between(1, column.levels)
    shifted = F.when(known, code - 1).otherwise(F.lit(float(column.levels)))
    attribute = {"type": "nominal", "name": slot, "num_vals": column.levels + 1}
    return shifted.alias(slot, metadata={"ml_attr": attribute})


def _options(parameters: LinearParameters) -> dict[str, Any]:
    return {
        "featuresCol": _FEATURES,
        "labelCol": LABEL,
        "regParam": parameters.reg_param,
        "elasticNetParam": parameters.elastic_net_param,
        "maxIter": parameters.max_iter,
        "tol": parameters.tol,
    }


def _importance(train: DataFrame, scorer: LinearScorer) -> dict[str, float]:
    """Each column's share of the standard deviations that the columns add to the margin."""
    from pyspark.sql import functions as F

    terms = [term for term in scorer.terms if any(term.weights)]
    if not terms:
        return {}
    spread = [F.stddev_pop(_contribution(term)).alias(f"_{i}") for i, term in enumerate(terms)]
    (found,) = train.agg(*spread).collect()
    total = sum(found)
    if not total > 0:
        return {}
    return {term.name: value / total for term, value in zip(terms, found, strict=True)}


def _contribution(term: LinearTerm) -> Column:
    from pyspark.sql import functions as F

    if not term.levels:
        column = MatrixColumn(term.name, mean=term.replacement or 0.0)
        return imputed_column(column) * F.lit(term.weights[0])
    table = F.array(*(F.lit(weight) for weight in (0.0, *term.weights)))
    return F.element_at(table, F.col(f"`{term.name}`").cast("int") + 1)
