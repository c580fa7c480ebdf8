"""A workload whose model is `a * x + b`, exact in doubles: for tests of what scoring writes.

No training: versions of the model are registered as they are, and promoted at will.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from lakescore.config.settings import Settings
from lakescore.config.workload import Feature, Source, Workload
from lakescore.features.preprocessor import NumericFeature, Preprocessor
from lakescore.lake.tables import Lake, Table
from lakescore.matrix import Task
from lakescore.models.mllib.linear_scorer import LinearScorer, LinearTerm
from lakescore.registry.store import ModelVersion, Registry
from lakescore.scoring.package import ModelPackage
from lakescore.workflows.plan import predictions_log
from lakescore.workflows.run_result import RunResult
from lakescore.workflows.score import backfill, score

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from lakescore.lake.commits import PredictionsLog

NAME = "linear"
SCHEMA = "id int, x double, day date"
FEATURES = (Feature(name="x", expression="x"),)
#: Of rows that are scored by readings of their day (`READINGS`): its midnight.
PREDICTION_TIME = "cast(day as timestamp)"
READINGS = "day date, z double, known_at timestamp"
#: Version n of the model is `a * x + b` with the n-th pair.
COEFFICIENTS = ((2.0, 1.0), (3.0, -1.0), (5.0, 7.0))


def linear_package(a: float, b: float, **parts: Any) -> ModelPackage:
    """The package of `a * x + b`, with these parts in place of the usual ones."""
    learned = (NumericFeature("x", mean=0.0, low=-1e6, high=1e6, present=10),)
    package = ModelPackage(
        workload=NAME,
        task=Task.REGRESSION,
        source=Source(table="events", key="id"),
        contexts={},
        features=FEATURES,
        preprocessor=Preprocessor(learned),
        scorer=LinearScorer(("x",), Task.REGRESSION, b, (LinearTerm("x", (a,)),)),
    )
    return replace(package, **parts)


def register(settings: Settings, package: ModelPackage) -> ModelVersion:
    """One more version of the model, no champion yet."""
    registry = Registry(settings.registry)
    with TemporaryDirectory() as folder:
        package.save(Path(folder) / "package")
        return registry.register(
            Path(folder) / "package",
            name=registry.full_name(NAME),
            inputs=package.signature,
            tags={},
            metrics={},
            params={},
        )


def register_versions(settings: Settings, **parts: Any) -> None:
    """All of COEFFICIENTS, as versions 1, 2, …; the first is champion."""
    made = [register(settings, linear_package(a, b, **parts)) for a, b in COEFFICIENTS]
    Registry(settings.registry).promote(made[0])


def workload(predictions: dict[str, Any], **source: Any) -> Workload:
    """The workload over `events` with these predictions; `x` must not be negative."""
    return Workload.model_validate(
        {
            "name": NAME,
            "source": {
                "table": "events",
                "key": "id",
                "expectations": {"x is not negative": "x >= 0"},
                "max_quarantined": {"share": 1.0},
                **source,
            },
            "label": "y",
            "features": ["x"],
            "split": "random",
            "candidates": ["prior"],
            "predictions": {"table": "scores", "passthrough": ["day"], **predictions},
        }
    )


@dataclass
class Life:
    """One source table, one workload over it, and what its predictions say."""

    spark: SparkSession
    settings: Settings
    workload: Workload
    feed: bool = True
    batches: int = field(default=0)

    @property
    def lake(self) -> Lake:
        return Lake(self.settings.lake)

    @property
    def source(self) -> Table:
        return self.lake.table("events")

    def frame(self, rows: Sequence[tuple[Any, ...]]) -> DataFrame:
        return self.spark.createDataFrame(list(rows), SCHEMA).coalesce(1)

    def append(self, *rows: tuple[Any, ...]) -> None:
        writer = self.frame(rows).write.format("delta").mode("append")
        feed = str(self.feed).lower()
        writer.option("delta.enableChangeDataFeed", feed).save(self.source.path)

    def overwrite(self, *rows: tuple[Any, ...]) -> None:
        self.frame(rows).write.format("delta").mode("overwrite").save(self.source.path)

    def sql(self, statement: str) -> None:
        """Run a statement in which `{t}` is the source."""
        self.spark.sql(statement.format(t=self.source.sql_name)).collect()

    def promote(self, version: str) -> None:
        registry = Registry(self.settings.registry)
        registry.promote(registry.get_version(registry.full_name(NAME), version))

    def score(self, **options: Any) -> RunResult:
        return score(self.spark, self.settings, self.workload, **options)

    def backfill(self, **options: Any) -> RunResult:
        return backfill(self.spark, self.settings, self.workload, **options)

    def scores(self, version: int | None = None) -> list[tuple[Any, ...]]:
        """(id, prediction, model version), sorted."""
        rows = self.lake.table("scores").read(self.spark, version)
        kept = rows.where(f"_workload = '{NAME}'").select("id", "prediction", "_model_version")
        return sorted(map(tuple, kept.collect()))

    def by_day(self) -> list[tuple[Any, ...]]:
        """(as of, id, prediction), sorted."""
        rows = self.lake.table("scores").read(self.spark)
        return sorted(map(tuple, rows.select("_as_of", "id", "prediction").collect()))

    @property
    def log(self) -> PredictionsLog:
        predictions = self.workload.predictions
        assert predictions is not None
        return predictions_log(self.spark, self.lake, NAME, predictions)

    def refused(self, *columns: str) -> list[tuple[Any, ...]]:
        """Of the quarantine rows in force these columns, or (key, copies); sorted."""
        if not self.log.has_quarantine():
            return []
        shown = columns or ("_key", "_copies")
        return sorted(map(tuple, self.log.quarantined().select(*shown).collect()))


def day(number: int) -> date:
    return date(2024, 1, number)
