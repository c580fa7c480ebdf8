"""How far a training is: told by rank 0 as it trains, shown where there is a terminal."""

from __future__ import annotations

import io
import threading
from contextlib import nullcontext
from dataclasses import replace

import pytest
from rich.console import Console

from lakescore.matrix import Task
from lakescore.models.deep import progress, supervise
from lakescore.models.deep.job import Shards, Standard, TrainingJob
from lakescore.models.deep.progress import progress_bar
from lakescore.models.deep.watch import progress_of
from tests.deep.conftest import fit


@pytest.mark.spark
def test_a_training_tells_how_far_it_is(data_for, monkeypatch):
    """A training of some seconds, seen from beside it."""
    told = []
    seen = threading.Event()

    def listening(job):
        def show(said):
            if said is not None and (not told or told[-1] != said):
                told.append(said)
            seen.set()

        return nullcontext(show)

    monkeypatch.setattr(supervise, "progress_bar", listening)
    monkeypatch.setattr(progress, "is_watched", lambda: True)
    fit(data_for(Task.BINARY), "single", epochs=400, patience=0)

    assert seen.is_set()
    epochs = [one["epochs"] for one in told]
    assert len(epochs) >= 2
    assert epochs == sorted(epochs)
    assert 0 < epochs[0] < epochs[-1] <= 400
    assert told[-1]["loss"] > 0


JOB = TrainingJob(
    folder="", checkpoints="", columns=(), task=Task.BINARY, train=Shards(()),
    validation=Shards(()), standards=(), label=Standard(0.0, 1.0), seed=1, ranks=1, threads=1,
    resume=False, deadline=0.0, parameters={"epochs": 30}, is_watched=True,
)  # fmt: skip


def test_the_bar_names_epoch_and_loss_and_leaves_nothing_behind():
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100)
    with progress_bar(JOB, console) as show:
        show(None)
        show({"epochs": 4.5, "loss": 0.41237})
    drawn = screen.getvalue()
    assert "epoch 5 of 30, validation loss 0.4124" in drawn
    assert drawn.endswith("\x1b[2K")  # the line is cleared


def test_nothing_is_drawn_where_nobody_watches():
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True)
    with progress_bar(replace(JOB, is_watched=False), console) as show:
        show({"epochs": 1, "loss": None})
    assert screen.getvalue() == ""


def test_what_cannot_be_drawn_disturbs_nothing():
    """Half a message, and a terminal that went away."""
    screen = io.StringIO()
    with progress_bar(JOB, Console(file=screen, force_terminal=True)) as show:
        show({"epochs": "many"})
        screen.close()
        show({"epochs": 2.0, "loss": 0.4})


def test_a_message_that_is_half_there_is_none(tmp_path):
    job = replace(JOB, folder=str(tmp_path))
    assert progress_of(job) is None
    (tmp_path / "ranks").mkdir()
    (tmp_path / "ranks" / "progress.json").write_text('{"epochs": 1')
    assert progress_of(job) is None
