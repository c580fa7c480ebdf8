"""Ranks on the executors of a standalone cluster of two workers."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.churn import customers
from tests.deep.conftest import SMALL, gone
from tests.faults.cluster import Cluster, standalone
from tests.faults.processes import START_SECONDS, Command

pytestmark = pytest.mark.spark

DISTRIBUTED = ("torch_distributor", "horovod")
ENDLESS = {**SMALL, "epochs": 10_000, "patience": 0}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with standalone(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest.fixture
def on_cluster(project, cluster: Cluster):
    """900 customers; sessions of new processes are on the cluster."""
    project.land(customers(0, 900), "first")
    path = project.conf / "local.yml"
    content = yaml.safe_load(path.read_text())
    content["spark"] |= {"master": cluster.url}
    content["spark"]["conf"] |= cluster.conf()
    path.write_text(yaml.safe_dump(content))
    return project


def _train(project, backend: str, **parameters: object) -> Command:
    net = {"backend": backend, "workers": 2, **parameters}
    project.write_workload(candidates=[{"deep_tabular": net}])
    return Command(project.root, ["train", "churn", "--no-promote", "--json"])


def _checkpoint(project) -> bool:
    runs = Path(project.settings.runs)
    return any(runs.glob("churn/unfinished/*/checkpoints/last.pt"))


@pytest.mark.parametrize("backend", DISTRIBUTED)
def test_both_executors_train_one_net(on_cluster, backend):
    with _train(on_cluster, backend, **SMALL) as run:
        assert run.ended(START_SECONDS) == 0, run.said()
        run.all_gone()
        result = json.loads(run.output.read_text())

    assert result["details"]["candidate"] == "deep_tabular"
    assert not _checkpoint(on_cluster)
    assert not any(Path(on_cluster.settings.staging).rglob("*"))


@pytest.mark.parametrize("backend", DISTRIBUTED)
def test_an_executor_that_is_killed_ends_the_training(on_cluster, cluster, backend):
    with _train(on_cluster, backend, **ENDLESS) as run:
        run.wait_until(lambda: _checkpoint(on_cluster))
        started = Path(on_cluster.settings.staging).rglob("*.started")
        ranks = [int(path.read_text().split()[1]) for path in started]
        began = time.monotonic()
        os.kill(cluster.executors()[0], signal.SIGKILL)
        assert run.ended(60) == 1, run.said()

        assert "without a word" in run.said()
        assert time.monotonic() - began < 30
        assert gone(ranks, within=15)
        run.all_gone()
    assert _checkpoint(on_cluster)
