"""A Spark standalone cluster of real processes on the loopback address."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lakescore
from lakescore.session.ivy import spark_home
from lakescore.session.jars import ensure_jars, needed_jars
from lakescore.session.java import find_java
from tests.faults.processes import marked

_MARK = "LAKESCORE_TEST_CLUSTER"
_START_SECONDS = 240


class Cluster:
    """A master and its workers of one core each; `url` is where a driver finds them."""

    def __init__(self, root: Path, workers: int) -> None:
        self.root, self.mark = root, uuid.uuid4().hex
        self.url = f"spark://127.0.0.1:{_free_port()}"
        port = self.url.rpartition(":")[2]
        self._processes: list[subprocess.Popen[bytes]] = []
        self._start("master.Master", "--host", "127.0.0.1", "--port", port, "--webui-port", "0")
        self._until("master", "Started daemon", "New state: ALIVE", "Bound MasterWebUI")
        for number in range(workers):
            self._start(
                "worker.Worker", self.url, "--host", "127.0.0.1", "--webui-port", "0",
                "--cores", "1", "--memory", "1g", "-d", str(root / f"worker-{number}"),
            )  # fmt: skip
        self._until("worker", "Successfully registered with master")

    def executors(self) -> list[int]:
        """The process ids of the executors' JVMs."""
        java = [pid for pid, name in marked(_MARK, self.mark).items() if name == "java"]
        return [pid for pid in java if b"CoarseGrainedExecutorBackend" in _command(pid)]

    def conf(self) -> dict[str, str]:
        """What a driver needs beside `url`: the executors have no jars of their own."""
        return {
            "spark.executor.extraClassPath": ":".join(map(str, ensure_jars(needed_jars()))),
            "spark.executor.memory": "640m",
        }

    def stop(self) -> None:
        for pid in marked(_MARK, self.mark):
            os.kill(pid, signal.SIGKILL)
        for process in self._processes:
            process.wait(60)

    def _start(self, role: str, *arguments: str) -> None:
        name = role.partition(".")[0] + f"-{len(self._processes)}"
        environment = {
            "JAVA_HOME": str(find_java().home),
            "SPARK_HOME": str(spark_home()),
            "SPARK_LOCAL_DIRS": str(self.root / "local"),
            "SPARK_DAEMON_MEMORY": "256m",
            "PYTHONPATH": str(Path(lakescore.__file__).parents[1]),
            _MARK: self.mark,
        }
        with (self.root / f"{name}.log").open("w") as log:
            process = subprocess.Popen(
                [str(spark_home() / "bin" / "spark-class"),
                 f"org.apache.spark.deploy.{role}", *arguments],
                cwd=self.root,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip
        self._processes.append(process)

    def _until(self, role: str, *said: str) -> None:
        """Wait until each process of the role has said one of these."""
        deadline = time.monotonic() + _START_SECONDS
        while True:
            logs = [log.read_text() for log in self.root.glob(f"{role}-*.log")]
            if all(any(one in log for one in said) for log in logs):
                return
            assert time.monotonic() < deadline, logs
            time.sleep(0.2)


@contextmanager
def standalone(root: Path, workers: int = 2) -> Iterator[Cluster]:
    """A cluster for the time of the block; every process of it is gone afterwards."""
    cluster = Cluster(root, workers)
    try:
        yield cluster
    finally:
        cluster.stop()


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
