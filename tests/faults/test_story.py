"""Random stories of a source and its scoring, against a few lines of plain Python.

Each step is one thing that happens to a lake: rows come, change or go, a model is promoted, a run
starts, ends at some point of the protocol, loses to a twin, is repeated, is taken back or told
to start over; somebody optimises, vacuums or restores a table, or its history is cleaned. After
every run the predictions and the quarantine in force must be what the oracle says, exactly; no
version of the predictions, whoever left it, may have a key twice; and at the end every version
that a run left must still say what it said, one run more changes nothing else, and nothing is
staged.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

import pytest

from tests.faults import seams
from tests.faults.days import Days
from tests.faults.following import Following, LateReadings
from tests.faults.lake_story import LakeStory, Telling
from tests.faults.telling import tell

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

STORIES = int(os.environ.get("LAKESCORE_STORIES", "1"))
SEED = int(os.environ.get("LAKESCORE_SEED", "0"))
#: Stories told at once, in threads of one process: half of its work is to compile code.
AT_ONCE = 2
#: Of a story's tables: a checkpoint each tenth commit would cost as much as the runs between.
RARE_CHECKPOINTS = ("spark.databricks.delta.properties.defaults.checkpointInterval", "40")


class Story(NamedTuple):
    """Which story to tell."""

    name: str
    mode: str
    kind: type[LakeStory]
    number: int


KINDS: tuple[tuple[str, str, type[LakeStory]], ...] = (
    ("append", "append", Following),
    ("upsert", "upsert", Following),
    ("append, late readings", "append", LateReadings),
    ("upsert, late readings", "upsert", LateReadings),
    ("snapshot", "snapshot", Days),
)


def _stories() -> Iterator[Any]:
    """STORIES of every kind, each a test of its own."""
    for number in range(SEED, SEED + STORIES):
        for name, mode, kind in KINDS:
            yield pytest.param(Story(name, mode, kind, number), id=f"{name}, {number}")


@pytest.fixture(scope="module")
def breakable() -> Iterator[None]:
    with seams.seams():
        yield


@pytest.fixture(scope="module")
def one_parser() -> Iterator[None]:
    """Python 3.11 cannot parse in two threads at once, and Hypothesis reads its rules' source."""
    parse, alone = ast.parse, Lock()

    def parse_alone(*args: Any, **kwargs: Any) -> Any:
        with alone:
            return parse(*args, **kwargs)

    with mock.patch.object(ast, "parse", parse_alone):
        yield


@pytest.fixture(scope="module")
def endings(
    request: pytest.FixtureRequest,
    spark: SparkSession,
    breakable: None,
    one_parser: None,
    registered: Path,
    registered_with_readings: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[Story, Future[None]]]:
    """How the stories of this test run end."""

    def told(story: Story) -> None:
        session = spark.newSession()
        session.conf.set(*RARE_CHECKPOINTS)
        registry = registered_with_readings if story.kind is LateReadings else registered
        scratch = tmp_path_factory.mktemp("story")
        telling = Telling(session, registry, scratch, story.name, story.mode, story.number)
        tell(type("Machine", (story.kind,), {"telling": telling}), story.number)

    stories = [i.callspec.params["story"] for i in request.session.items if i.path == request.path]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {story: pool.submit(told, story) for story in stories}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("story", _stories())
def test_every_story_ends_as_the_oracle_says(
    endings: dict[Story, Future[None]], story: Story
) -> None:
    endings[story].result()
