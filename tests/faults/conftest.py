"""What tests of faults share: registered models, and projects over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.lives import Project
from tests.faults.tally import Tally
from tests.faults.targets import Target


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
