"""The memory of this process and of all that it started, by kind, as Linux accounts it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

_EVERY_SECONDS = 0.1


class PeakMemory:
    """The peak of each kind's summed resident memory (MiB) while the block runs.

    Kinds: `driver` (the Python that drives), `java`, `workers` (Python workers, all together).
    """

    def __init__(self) -> None:
        self.peak: dict[str, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(_EVERY_SECONDS):
            for kind, size in _now().items():
                self.peak[kind] = max(self.peak.get(kind, 0.0), size)


def _now() -> dict[str, float]:
    parents, found = {}, {"driver": 0.0, "java": 0.0, "workers": 0.0}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text()
            except OSError:
                continue
            name, _, rest = stat.partition(" (")[2].rpartition(") ")
            parents[int(folder.name)] = (int(rest.split()[1]), name)
    own = os.getpid()
    for pid, (parent, name) in parents.items():
        above = parent
        while above not in (0, own) and above in parents:
            above = parents[above][0]
        if pid == own or above == own:
            kind = "driver" if pid == own else "java" if name == "java" else "workers"
            found[kind] += _share(pid)
    return found


def _share(pid: int) -> float:
    """Proportional set size: pages that forked workers share count once, in all."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
