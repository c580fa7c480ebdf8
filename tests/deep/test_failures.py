"""Ranks that are killed, stall, raise or never start: an error in time that says whose fault."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lakescore.errors import TrainingFailed
from lakescore.matrix import Task
from tests.contract.encoded_data import tiny_matrix
from tests.deep.conftest import BACKENDS, ENDLESS, Breaking, fit, gone

pytestmark = pytest.mark.spark

DISTRIBUTED = ("torch_distributor", "horovod")
#: A rank that stalls may take so long until it is ended, and the others with it.
STEP_SECONDS = 8


@pytest.fixture
def data(data_for, tmp_path):
    return replace(
        data_for(Task.BINARY),
        scratch=str(tmp_path / "fit"),
        checkpoints=str(tmp_path / "checkpoints"),
    )


@pytest.fixture
def breaking(data) -> Breaking:
    return Breaking(data)


def _ranks(backend: str) -> int:
    return 1 if backend == "single" else 2


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_killed_rank_is_an_error_within_ten_seconds(data, breaking, backend):
    ranks = _ranks(backend)

    text = breaking.fails(backend, lambda: os.kill(breaking.at_work(ranks)[-1], signal.SIGKILL))

    assert f"rank {ranks - 1} ended, or stopped, without a word" in text
    assert "--resume" in text
    assert breaking.seconds <= 10
    assert gone(breaking.processes)
    assert not Path(data.scratch, "deep").exists()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_rank_that_stalls_is_ended_at_its_deadline(breaking, backend):
    """Stopped from outside, it cannot even end itself: the others do, or the driver."""
    ranks = _ranks(backend)

    text = breaking.fails(
        backend,
        lambda: os.kill(breaking.at_work(ranks)[-1], signal.SIGSTOP),
        step_seconds=STEP_SECONDS,
    )

    assert f"rank {ranks - 1} ended, or stopped, without a word" in text
    assert breaking.seconds <= STEP_SECONDS + 10
    assert gone(breaking.processes)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_rank_that_raises_is_named_with_its_words(breaking, backend):
    """Its shard is not what it was any more when it wants to copy its share."""

    def spoil() -> None:
        breaking.wait_for("validation/_SUCCESS")
        breaking.wait_for("train/part-*.parquet").write_bytes(b"PAR1 but no more")

    text = breaking.fails(backend, spoil)

    assert "rank " in text
    assert "Parquet" in text or "shards" in text


@pytest.mark.parametrize("backend", DISTRIBUTED)
def test_ranks_that_find_no_slot_are_given_up(breaking, spark, backend):
    """One of two slots is taken: enough to write the shards with, not for two ranks."""
    group = "busy"

    def occupy() -> None:
        spark.sparkContext.setJobGroup(group, group, interruptOnCancel=True)
        with suppress(Exception):
            spark.sparkContext.parallelize(range(1), 1).foreach(lambda _: time.sleep(120))

    holder = threading.Thread(target=occupy, daemon=True)
    holder.start()
    try:
        text = breaking.fails(backend, lambda: None, start_seconds=12)
    finally:
        spark.sparkContext.cancelJobGroup(group)
        holder.join(30)

    assert "did not start" in text
    assert "free slots" in text


def test_the_deadline_of_it_all_ends_a_training(data):
    with pytest.raises(TrainingFailed, match="not trained within 6 s"):
        fit(data, "single", epochs=10_000, patience=0, total_seconds=6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_killed_training_resumes_to_the_same_parameters(data, breaking, backend):
    whole = fit(replace(data, checkpoints=None), backend, epochs=150, patience=0)
    breaking.fails(
        backend, lambda: os.kill(breaking.at_work(1)[0], signal.SIGKILL), epochs=150, patience=0
    )

    resumed = fit(replace(data, resume=True), backend, epochs=150, patience=0)

    assert resumed.details["epochs"] == whole.details["epochs"] == 150
    assert 0 < resumed.details["resumed_after"] < 150
    expected = whole.scorer.predict(tiny_matrix())
    assert np.array_equal(resumed.scorer.predict(tiny_matrix()), expected)
    assert not Path(data.checkpoints).exists()


def test_a_checkpoint_of_another_training_is_refused(data, breaking):
    breaking.fails("single", lambda: os.kill(breaking.at_work(1)[0], signal.SIGKILL))

    with pytest.raises(TrainingFailed, match="of a training with other parameters"):
        fit(replace(data, resume=True), "single", width=48)
    (Path(data.checkpoints) / "last.pt").write_bytes(b"half")
    with pytest.raises(TrainingFailed, match="not a checkpoint"):
        fit(replace(data, resume=True), "single", **ENDLESS)
