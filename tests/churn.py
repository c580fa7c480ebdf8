"""A small customer table, and a project folder around it, for tests of whole commands."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import yaml

from lakescore.config.settings import Settings
from lakescore.lake.copies import append_frame
from lakescore.lake.tables import Lake, Table

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

WORKLOAD: dict[str, Any] = {
    "name": "churn",
    "source": {"table": "customers", "key": "id"},
    "label": "churned",
    "features": ["age", "spend", "plan"],
    "split": "random",
    "candidates": [{"lightgbm": {"backend": "native", "num_iterations": 8, "num_leaves": 7}}],
    "promotion": "auto",
    "gate": {"replicates": 50, "max_calibration_error": 0.5},
    "predictions": {"table": "churn_scores", "passthrough": ["plan"], "column": "p_churn"},
}


def customers(first: int, count: int) -> pd.DataFrame:
    """Customers with ids from `first`; the label follows from spend and plan, with noise."""
    rng = np.random.default_rng(first)
    spend = rng.gamma(2.0, 50.0, count)
    plan = rng.choice(["basic", "plus", "pro"], count)
    odds = 0.03 * (80 - spend) + np.where(plan == "basic", 1.5, -0.5)
    return pd.DataFrame(
        {
            "id": np.arange(first, first + count),
            "age": rng.integers(18, 90, count).astype("float64"),
            "spend": spend,
            "plan": plan,
            "churned": rng.random(count) < 1 / (1 + np.exp(-odds)),
        }
    )


def visits(first: int, count: int) -> pd.DataFrame:
    """Customers, and how each came: by what they spend, with noise; some not known yet."""
    rows = customers(first, count).drop(columns="churned")
    rng = np.random.default_rng(first + 1)
    spend = rows["spend"] + rng.normal(0, 20, count)
    rows["came_by"] = np.select([spend < 60, spend < 130], ["foot", "bus"], "car")
    rows.loc[rng.random(count) < 0.05, "came_by"] = None
    return rows


@dataclass(frozen=True)
class Project:
    """A folder with conf/ and an own lake; `run` is the command line with its answer."""

    root: Path
    settings: Settings
    spark: SparkSession

    @property
    def conf(self) -> Path:
        return self.root / "conf"

    def write_workload(self, **changes: Any) -> None:
        """The churn workload with top-level keys replaced; None removes a key."""
        content = {**WORKLOAD, **changes}
        kept = {key: value for key, value in content.items() if value is not None}
        path = self.conf / "workloads" / f"{kept['name']}.yml"
        path.write_text(yaml.safe_dump(kept, sort_keys=False), encoding="utf-8")

    def table(self, name: str) -> Table:
        return Lake(self.settings.lake).table(name)

    def rows(self, name: str) -> DataFrame:
        return self.table(name).read(self.spark)

    def land(self, rows: pd.DataFrame | DataFrame, batch: str, table: str = "customers") -> None:
        frame = self.spark.createDataFrame(rows) if isinstance(rows, pd.DataFrame) else rows
        append_frame(self.spark, self.table(table), frame, batch)

    def run(self, *argv: str) -> int:
        from lakescore.cli.app import run

        command, *rest = argv
        return run([command, *rest, "--conf", str(self.conf)])

    def state(self) -> dict[str, Any]:
        """Everything that a failed command must leave as it was: tables, scores and registry.

        The rows are read by another implementation of Delta, without Spark.
        """
        logs = sorted((self.root / "lake").rglob("_delta_log/*.json"))
        return {
            "commits": [str(path.relative_to(self.root)) for path in logs],
            "scores": [self._stored(name) for name in ("churn_scores", "churn_scores_quarantine")],
            "versions": self._registered(),
            "aliases": self.aliases(),
        }

    def _stored(self, name: str) -> tuple[int, list[str]] | None:
        """Version and rows of a table; None where there is none."""
        from deltalake import DeltaTable

        folder = str(self.root / "lake" / name)
        if not DeltaTable.is_deltatable(folder):
            return None
        table = DeltaTable(folder)
        return table.version(), sorted(map(str, table.to_pyarrow_table().to_pylist()))

    def _registered(self) -> list[tuple[str, int]]:
        """(model, version) of everything in the registry."""
        database = self.root / "mlflow.db"
        if not database.exists():
            return []
        with closing(sqlite3.connect(database)) as connection:
            found = connection.execute("SELECT name, version FROM model_versions")
            return sorted(found.fetchall())

    def aliases(self) -> dict[str, str]:
        from lakescore.registry.store import Registry

        registry = Registry(self.settings.registry)
        names = (registry.settings.champion_alias, registry.settings.challenger_alias)
        found = {alias: registry.find_alias("churn", alias) for alias in names}
        return {alias: version.version for alias, version in found.items() if version is not None}

    def result(self, output: str) -> dict[str, Any]:
        """The JSON that a command printed."""
        return json.loads(output)


def copy_project(trained: Project, root: Path, settings: Settings) -> Project:
    """A project that begins where `trained` stands; model files are read where they are."""
    shutil.copytree(trained.root / "lake", root / "lake", dirs_exist_ok=True)
    shutil.copyfile(trained.root / "mlflow.db", root / "mlflow.db")
    return make_project(root, settings, trained.spark)


def make_project(root: Path, settings: Settings, spark: SparkSession) -> Project:
    """Write conf/ with a local environment under `root`."""
    workloads = root / "conf" / "workloads"
    workloads.mkdir(parents=True)
    content = settings.model_dump(mode="json", exclude_defaults=True)
    (root / "conf" / "local.yml").write_text(yaml.safe_dump(content), encoding="utf-8")
    project = Project(root, settings, spark)
    project.write_workload()
    return project
