"""Nets over the tiny encoded data, and their ranks as processes of this machine."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lakescore.errors import TrainingFailed
from lakescore.matrix import Task
from lakescore.models import candidate, check_parameters
from lakescore.models.base import EncodedData, FittedModel
from tests.contract.encoded_data import tiny_data

SEED = 3
BACKENDS = ("single", "torch_distributor", "horovod")
#: A small net that learns the tiny data in seconds.
SMALL = {"width": 32, "layers": 2, "epochs": 12, "batch_size": 128, "learning_rate": 0.01}
#: So long that a test comes in time to break it.
ENDLESS = {**SMALL, "epochs": 10_000, "patience": 0}


@pytest.fixture(scope="module")
def data_for(spark, tmp_path_factory) -> Callable[[Task], EncodedData]:
    made = {task: tiny_data(spark, tmp_path_factory.mktemp("rows"), task) for task in Task}
    return made.__getitem__


def fit(data: EncodedData, backend: str, **parameters: object) -> FittedModel:
    raw = {"backend": backend, **SMALL, **parameters}
    return candidate("deep_tabular").fit(data, check_parameters("deep_tabular", raw), seed=SEED)


@dataclass
class Breaking:
    """Breaks, in a thread of its own, a fit that the test makes: Horovod wants the main one."""

    data: EncodedData
    broken_at: float = 0.0
    processes: list[int] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return Path(str(self.data.scratch))

    def wait_for(self, name: str, seconds: float = 120) -> Path:
        """Until the file is there; patterns count from the folder of the fit."""
        return _until(lambda: next(iter(sorted(self.folder.rglob(name))), None), name, seconds)

    def at_work(self, ranks: int) -> list[int]:
        """The processes of the ranks, once an epoch is done."""
        _until((Path(str(self.data.checkpoints)) / "last.pt").exists, "an epoch", 120)
        started = [self.wait_for(f"{rank}.started") for rank in range(ranks)]
        self.processes = [int(path.read_text().split()[1]) for path in started]
        return self.processes

    def fails(self, backend: str, act: Callable[[], None], **parameters: object) -> str:
        """What the fit fails with when `act` is done to it."""

        def acted() -> None:
            act()
            self.broken_at = time.monotonic()

        thread = threading.Thread(target=acted, daemon=True)
        thread.start()
        try:
            with pytest.raises(TrainingFailed) as caught:
                fit(self.data, backend, **{**ENDLESS, **parameters})
            self.seconds = time.monotonic() - self.broken_at
        finally:
            thread.join(10)
            for process in self.processes:
                end(process)
        return str(caught.value)


def _until(found: Callable[[], object], what: str, seconds: float) -> object:
    deadline = time.monotonic() + seconds
    while not (one := found()):
        assert time.monotonic() < deadline, f"no {what} after {seconds} s"
        time.sleep(0.02)
    return one


def end(process: int) -> None:
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return


def gone(processes: list[int], within: float = 5) -> bool:
    """Whether all of them are, soon."""
    deadline = time.monotonic() + within
    while any(map(is_alive, processes)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def is_alive(process: int) -> bool:
    """Neither gone nor a zombie."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False
