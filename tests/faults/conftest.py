"""What tests of faults share: registered models, and projects over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lakescore.config.workload import Context, Feature, Source
from tests.conftest import settings_under
from tests.faults.lives import Project
from tests.faults.tally import Tally
from tests.faults.targets import Target
from tests.linear import PREDICTION_TIME, register_versions


@pytest.fixture(scope="session", autouse=True)
def told() -> Iterator[None]:
    """What was counted is told once, at the end."""
    yield
    for tally in Tally.kept.values():
        tally.tell()


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    """What the test's module counts."""
    return Tally.of(request.module.__name__)


@pytest.fixture(scope="session")
def registered_with_readings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with every version of the linear model, over readings in place of x."""
    context = Context(
        table="readings",
        on={"day": "day"},
        known_at="known_at",
        lookback_window="2 days",
        latest={"z": "z"},
    )
    root = tmp_path_factory.mktemp("readings")
    register_versions(
        settings_under(root),
        source=Source(table="events", key="id", prediction_time=PREDICTION_TIME),
        contexts={"readings": context},
        features=(Feature(name="x", expression="z"),),
    )
    return root


@pytest.fixture(scope="module")
def targets(
    spark, registered: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Target]:
    """One project a table mode, made once a file; full and backfill go to the one of append."""
    made: dict[str, Target] = {}
    kinds: dict[str, dict[str, Any]] = {
        "append": {"mode": "append", "backfill_by": "day"},
        "upsert": {"mode": "upsert"},
        "snapshot": {"mode": "snapshot"},
    }

    def target(mode: str) -> Target:
        kind = mode if mode in kinds else "append"
        if kind not in made:
            root = tmp_path_factory.mktemp(kind)
            made[kind] = Target(Project.make(spark, root, registered, kinds[kind]))
        return made[kind]

    return target
