"""An executor that is killed on a cluster of two: the job finishes, and each row is there once."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.faults.cluster import Cluster, standalone
from tests.faults.lives import Project
from tests.faults.processes import START_SECONDS, Command
from tests.faults.tally import Tally
from tests.linear import NAME, SCHEMA

pytestmark = [pytest.mark.spark, pytest.mark.slow]

#: Each of so many keys comes twice, in other files: all rows meet their copies in a shuffle.
KEYS, FILES = 40_000, 6
#: Many readers a core: most are still to come when the first is done.
SHUFFLED = 60


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with standalone(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest.fixture
def project(spark, registered: Path, tmp_path: Path, cluster: Cluster) -> Project:
    """A source whose keys each come twice, scored on the cluster."""
    made = Project.make(spark, tmp_path, registered, {"mode": "append"})
    rows = spark.range(0, 2 * KEYS, 1, FILES).selectExpr(
        f"int(id % {KEYS}) AS id",
        f"double(IF(id % {KEYS} % 5 = 0, -1 - id % {KEYS}, id % {KEYS})) AS x",
        "DATE'2024-01-01' AS day",
    )
    assert rows.columns == [column.split()[0] for column in SCHEMA.split(", ")]
    rows.write.format("delta").save(made.life.source.path)
    settings = tmp_path / "conf" / "local.yml"
    content = yaml.safe_load(settings.read_text())
    content["spark"] |= {"master": cluster.url, "shuffle_partitions": SHUFFLED}
    # Small partitions stay apart, so that some are still to be read when an executor goes.
    content["spark"]["conf"] |= cluster.conf() | {
        "spark.sql.adaptive.coalescePartitions.enabled": False
    }
    settings.write_text(yaml.safe_dump(content))
    return made


def _staging(project: Project) -> Path:
    return Path(project.life.settings.staging)


def _score_and_kill(project: Project, cluster: Cluster, moment: Callable[[], bool]) -> dict:
    """The result of a run that lost an executor at the moment."""
    with Command(project.root, ["score", NAME, "--json"]) as run:
        run.wait_until(moment)
        os.kill(cluster.executors()[0], signal.SIGKILL)
        assert run.ended(START_SECONDS) == 0, run.said()
        run.all_gone()
        assert "Traceback" not in run.said()
        return json.loads(run.output.read_text())


def _expect(project: Project, result: dict, tally: Tally) -> None:
    valid = [i for i in range(KEYS) if i % 5]
    assert result["counts"] == {
        "read": 2 * KEYS, "predicted": len(valid), "quarantined": KEYS - len(valid),
        "duplicates": KEYS, "out_of_scope": 0, "deleted": 0,
    }  # fmt: skip
    expected = [((None, i), (2.0 * i + 1, "1")) for i in valid]
    expected += [((None, i), "refused") for i in range(0, KEYS, 5) for _ in range(2)]
    tally.compare(2 * KEYS, project.visible(), expected)
    assert project.staged() == []


def test_an_executor_killed_as_it_scores_costs_no_row(
    project: Project, cluster: Cluster, tally: Tally
) -> None:
    """At the first staged file: a task dies half-way and starts again elsewhere."""
    staging = _staging(project)
    result = _score_and_kill(project, cluster, lambda: any(staging.rglob("part-*")))
    tally.fault("executor while scoring")
    _expect(project, result, tally)


def test_shuffled_rows_lost_with_an_executor_are_made_again(
    project: Project, cluster: Cluster, tally: Tally
) -> None:
    """When a reader of the shuffle is done: what others still need of it dies with its maker."""
    staging = _staging(project)
    result = _score_and_kill(project, cluster, lambda: any(staging.rglob("task_*")))
    tally.fault("executor after a shuffle")
    _expect(project, result, tally)
