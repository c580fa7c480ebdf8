"""A `lakescore` command as a process of its own, found and killed with all that it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import lakescore

#: Each process that a command starts inherits this variable, so that none can hide.
_MARK = "LAKESCORE_TEST_COMMAND"
#: How long what a killed process left behind may take to notice.
GRACE_SECONDS = 180
#: A busy machine may take minutes for what takes seconds on an idle one.
START_SECONDS = 600
_POLL_SECONDS = 0.002


class Command:
    """`lakescore …` started in the folder `root`, in a process group of its own."""

    def __init__(
        self, root: Path, argv: Sequence[str], environment: dict[str, str] | None = None
    ) -> None:
        self.mark = uuid.uuid4().hex
        scratch = root / "tmp" / self.mark
        scratch.mkdir(parents=True)
        self.output, self.messages = scratch / "stdout", scratch / "stderr"
        own = {
            "PYTHONPATH": str(Path(lakescore.__file__).parents[1]),
            "TMPDIR": str(scratch),
            "SPARK_LOCAL_DIRS": str(scratch),
            _MARK: self.mark,
        }
        with self.output.open("w") as out, self.messages.open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "lakescore", *argv, "--conf", str(root / "conf")],
                cwd=root,
                env={**os.environ, **own, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *_: object) -> None:
        """Whatever the test came to, none of its processes outlives it."""
        for pid in self.alive():
            os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def wait_until(self, happened: Callable[[], bool], seconds: float = START_SECONDS) -> None:
        """Return the moment it did. Fails when the process ends before, or never gets there."""
        deadline = time.monotonic() + seconds
        while not happened():
            ended = self.process.poll()
            assert ended is None, f"ended with {ended} before its moment: {self.said()}"
            assert time.monotonic() < deadline, f"nothing after {seconds} s: {self.said()}"
            time.sleep(_POLL_SECONDS)

    def kill(self, victim: str) -> None:
        """SIGKILL to the Python `driver`, to its `jvm`, or to the whole `group`."""
        if victim == "group":
            os.killpg(self.process.pid, signal.SIGKILL)
        elif victim == "driver":
            self.process.kill()
        else:
            (jvm,) = [pid for pid, name in self.alive().items() if name == "java"]
            os.kill(jvm, signal.SIGKILL)

    def ended(self, seconds: float = GRACE_SECONDS) -> int:
        """The exit code, once it has one; negative for a signal."""
        return self.process.wait(seconds)

    def alive(self) -> dict[int, str]:
        """Its processes: id -> name."""
        return marked(_MARK, self.mark)

    def all_gone(self, seconds: float = GRACE_SECONDS) -> None:
        """Return once none of its processes is left. Fails when one stays."""
        self.process.wait(seconds)
        deadline = time.monotonic() + seconds
        while left := self.alive():
            assert time.monotonic() < deadline, f"still running after {seconds} s: {left}"
            time.sleep(0.05)

    def said(self) -> str:
        return self.messages.read_text() + self.output.read_text()[-2000:]


def marked(name: str, value: str) -> dict[int, str]:
    """The processes whose environment has the variable: id -> name."""
    found, wanted = {}, f"{name}={value}".encode()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = (folder / "comm").read_text().strip()
        except OSError:
            continue  # it ended meanwhile
    return found
