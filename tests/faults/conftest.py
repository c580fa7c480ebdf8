"""What tests of faults share: registered models, and projects over them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.lives import Project
from tests.faults.targets import Target


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
