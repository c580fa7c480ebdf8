"""A project folder around the linear workload, and what plain Python says its tables must hold."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from lakescore.config.settings import Settings
from lakescore.workflows.plan import predictions_log
from tests.conftest import QUICK_JVM, settings_under
from tests.linear import COEFFICIENTS, NAME, Life, day, workload

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

BATCH = 60
#: (day of a snapshot or None, id): a prediction, or a row in quarantine.
Row = tuple[date | None, int]


@dataclass
class Oracle:
    """The source's rows as id -> (x, day), and the state that scoring must leave."""

    rows: dict[int, tuple[float, date]] = field(default_factory=dict)
    scores: dict[Row, tuple[float, str]] = field(default_factory=dict)
    refused: set[Row] = field(default_factory=set)

    def judge(self, ids: Iterable[int], champion: str, as_of: date | None = None) -> int:
        """These rows scored (or refused) anew; how many there are."""
        a, b = COEFFICIENTS[int(champion) - 1]
        judged = list(ids)
        for one in judged:
            self.forget(one, as_of)
            x = self.rows[one][0]
            if x >= 0:
                self.scores[as_of, one] = (a * x + b, champion)
            else:
                self.refused.add((as_of, one))
        return len(judged)

    def forget(self, one: int, as_of: date | None = None) -> None:
        self.scores.pop((as_of, one), None)
        self.refused.discard((as_of, one))

    def state(self) -> set[tuple[Any, Any]]:
        """What is visible: (identity, value) of predictions and refused rows."""
        return {*self.scores.items(), *((one, "refused") for one in self.refused)}


@dataclass
class Project:
    """A lake, a registry and a conf folder of their own, with the oracle beside."""

    root: Path
    life: Life
    oracle: Oracle = field(default_factory=Oracle)
    champion: str = "1"
    _next: int = 0

    @classmethod
    def make(
        cls,
        spark: SparkSession,
        root: Path,
        registered: Path,
        predictions: dict[str, Any],
        **source: Any,
    ) -> Project:
        """Under `root`, with the models that `registered` has."""
        root.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(registered / "mlflow.db", root / "mlflow.db")
        settings = settings_under(root)
        life = Life(spark, settings, workload(predictions, **source))
        project = cls(root, life)
        project.write(settings)
        return project

    def write(self, settings: Settings) -> None:
        """conf/ as the files of a user."""
        folder = self.root / "conf" / "workloads"
        folder.mkdir(parents=True, exist_ok=True)
        environment = settings.model_dump(mode="json", exclude_defaults=True)
        environment["spark"]["conf"] = {"spark.driver.extraJavaOptions": QUICK_JVM}
        (folder.parent / "local.yml").write_text(yaml.safe_dump(environment))
        content = self.life.workload.model_dump(mode="json", exclude_unset=True)
        (folder / f"{NAME}.yml").write_text(yaml.safe_dump(content, sort_keys=False))

    def new_rows(self, count: int = BATCH) -> dict[int, tuple[float, date]]:
        """Rows with ids of their own over three days; each fifth breaks the contract."""
        ids = range(self._next, self._next + count)
        self._next += count
        return {i: (float(-1 - i if i % 5 == 0 else i), day(1 + i % 3)) for i in ids}

    def land(self, count: int = BATCH) -> list[int]:
        """New rows appended to the source: their ids."""
        rows = self.new_rows(count)
        self.life.append(*((i, x, when) for i, (x, when) in rows.items()))
        self.oracle.rows |= rows
        return list(rows)

    def promote_next(self) -> None:
        self.champion = str(int(self.champion) % len(COEFFICIENTS) + 1)
        self.life.promote(self.champion)

    def visible(self, name: str = NAME) -> list[tuple[Any, Any]]:
        """What a reader of the tables finds of a workload, as Oracle.state; doubles stay."""
        life, predictions = self.life, self.life.workload.predictions
        assert predictions is not None
        by_day = "_as_of" if predictions.mode == "snapshot" else "CAST(NULL AS date)"
        scores = life.lake.table(predictions.table).read(life.spark)
        scores = scores.where(f"_workload = '{name}'").selectExpr(
            f"{by_day} AS day", "id", "prediction", "_model_version"
        )
        found = [((row[0], row[1]), (row[2], row[3])) for row in scores.collect()]
        log = predictions_log(life.spark, life.lake, name, predictions)
        refused = log.quarantined().selectExpr(
            f"{by_day} AS day", "int(get_json_object(_key, '$.id'))", "_copies"
        )
        for row in refused.collect():
            found += [((row[0], row[1]), "refused")] * row[2]
        return found

    def staged(self) -> list[str]:
        """What lies in the staging folder."""
        root = Path(self.life.settings.staging)
        return sorted(str(path.relative_to(root)) for path in root.rglob("*"))
