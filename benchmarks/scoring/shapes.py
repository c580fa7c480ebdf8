"""The tables and models that are scored: made once, below one folder, the same every time."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from lakescore.config.loader import load_settings, load_workload, shipped_conf
from lakescore.config.settings import Settings
from lakescore.lake.tables import Lake

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

    from lakescore.config.workload import Workload
    from lakescore.scoring.package import ModelPackage

LEVELS = 20
TRAINING_ROWS = 60_000
FILE_ROWS = 250_000
#: 200 trees of 63 leaves, on random numbers: no tree is smaller than it could be.
TREES = {
    "lightgbm": {
        "backend": "native", "num_iterations": 200, "num_leaves": 63, "min_data_in_leaf": 20,
        "early_stopping_rounds": 0,
    }
}  # fmt: skip


#: Two epochs: how well it predicts does not matter here, how large it is does.
NET = {"deep_tabular": {"backend": "single", "epochs": 2, "width": 128, "layers": 3}}


@dataclass(frozen=True)
class Shape:
    """A table of random rows, and the model that scores them.

    `contract` are expectations, which leave the direct road open.
    """

    name: str
    numbers: int
    categories: int = 0
    contract: bool = False
    candidate: Any = None

    @property
    def has_trees(self) -> bool:
        """Whether it is scored with LightGBM's trees, which every peer of it takes."""
        return self.candidate is TREES

    @property
    def table(self) -> str:
        """What the rows are called by; shapes that differ in the model alone share them."""
        return f"n{self.numbers}c{self.categories}"

    @property
    def number_columns(self) -> list[str]:
        return [f"x{place:02d}" for place in range(self.numbers)]

    @property
    def category_columns(self) -> list[str]:
        return [f"c{place:02d}" for place in range(self.categories)]


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("wide", 28, candidate=TREES),
        Shape("flights", 50, 10, contract=True, candidate=TREES),
        Shape("narrow", 6, candidate=TREES),
        Shape("wide-logistic", 28, candidate="logistic_regression"),
        Shape("wide-net", 28, candidate=NET),
        Shape("wide-forest", 28, candidate={"random_forest": {"num_trees": 50, "max_depth": 8}}),
    )
}


def rows_of(spark: SparkSession, shape: Shape, rows: int, seed: int = 1) -> DataFrame:
    """`rows` rows: id, doubles in [0, 1), strings of LEVELS values, and a label of them."""
    from pyspark.sql import functions as F

    files = max(2, rows // FILE_ROWS)
    numbers = [F.rand(seed + place).alias(name) for place, name in enumerate(shape.number_columns)]
    categories = [
        F.concat(F.lit("level-"), F.floor(F.rand(seed + 500 + place) * LEVELS)).alias(name)
        for place, name in enumerate(shape.category_columns)
    ]
    frame = spark.range(0, rows, 1, files).select("id", *numbers, *categories)
    return frame.withColumn("label", _label(shape, seed))


def _label(shape: Shape, seed: int) -> Column:
    from pyspark.sql import functions as F

    terms = [F.col(name) * (place % 5 - 2) for place, name in enumerate(shape.number_columns)]
    terms += [(F.length(name) - 7) * 0.5 for name in shape.category_columns]
    noise = F.rand(seed + 900) * 2 - 1
    return (sum(terms, F.lit(0.0)) + noise) > F.lit(0.0)


@dataclass(frozen=True)
class Bench:
    """A folder with tables, models and a registry; `cores` are what every peer may use."""

    root: Path
    cores: int
    memory: str = "6g"

    @property
    def settings(self) -> Settings:
        lake = self.root / "lake"
        return load_settings(
            shipped_conf(),
            "local",
            {
                "lake.root": str(lake),
                "registry.uri": f"sqlite:///{self.root / 'mlflow.db'}",
                "registry.artifacts": str(self.root / "models"),
                "runs": str(lake / "_lakescore/runs"),
                "staging": str(lake / "_lakescore/staging"),
                "spark.master": f"local[{self.cores}]",
                "spark.driver_memory": self.memory,
            },
        )

    def path(self, shape: Shape, rows: int) -> str:
        return str(Lake(self.settings.lake).table(table_name(shape, rows)).path)

    def workload(self, shape: Shape, rows: int, predictions: str) -> Workload:
        """The workload as its user would write it, over one of the tables."""
        folder = self.root / "conf" / "workloads"
        folder.mkdir(parents=True, exist_ok=True)
        source: dict[str, Any] = {"table": table_name(shape, rows), "key": "id"}
        if shape.contract:
            source["expectations"] = {"x00 is not negative": "x00 >= 0"}
        content = {
            "name": shape.name.replace("-", "_"),
            "source": source,
            "label": "label",
            "features": "all",
            "split": "random",
            "candidates": [shape.candidate],
            "promotion": "auto",
            "gate": {"max_calibration_error": 1.0, "replicates": 50},
            "predictions": {"table": predictions},
        }
        text = yaml.safe_dump(content, sort_keys=False)
        (folder / f"{content['name']}.yml").write_text(text, encoding="utf-8")
        return load_workload(self.root / "conf", str(content["name"]))

    def package(self, shape: Shape) -> ModelPackage:
        """The champion of the shape, as lakescore registered it."""
        from lakescore.workflows.scoring_model import scoring_model

        workload = self.workload(shape, TRAINING_ROWS, "unused")
        with scoring_model(self.settings, workload) as model:
            assert model.package is not None
            return model.package


def table_name(shape: Shape, rows: int) -> str:
    return f"bench.{shape.table}_{rows}"


def prepare(spark: SparkSession, bench: Bench, shape: Shape, sizes: list[int]) -> None:
    """Make the tables and the model that are not there yet."""
    from lakescore.lake.tables import Lake

    lake = Lake(bench.settings.lake)
    for rows in [TRAINING_ROWS, *sizes]:
        table = lake.table(table_name(shape, rows))
        if not table.exists(spark):
            table.save(rows_of(spark, shape, rows).write.format("delta"))
    done = bench.root / f"trained-{shape.name}.json"
    if not done.exists():
        from lakescore.workflows.train import train

        run = train(spark, bench.settings, bench.workload(shape, TRAINING_ROWS, "unused"))
        if run.status.value != "PROMOTED":
            raise SystemExit(f"{shape.name}: training ended as {run.status.value}")
        done.write_text(json.dumps({"model_version": run.model_version}), encoding="utf-8")
