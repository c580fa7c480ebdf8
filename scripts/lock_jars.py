"""Write src/lakescore/session/jars.lock: resolve every set of jars and note each one's SHA-256.

Usage: .venv/bin/python scripts/lock_jars.py (by `make lock`, after a change of coordinates).
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from lakescore.session.ivy import resolve
from lakescore.session.jars import DELTA, LOCK, SYNAPSE
from lakescore.session.java import find_java

HEADER = "# Set, SHA-256 and file name of each jar. Written by `make lock`.\n"


def main() -> None:
    java = find_java()
    lines = []
    for line, delta in sorted(DELTA.items()):
        for name, coordinates in (
            (f"spark-{line}-delta", (delta,)),
            (f"spark-{line}-delta-synapse", (delta, SYNAPSE[line])),
        ):
            with tempfile.TemporaryDirectory() as scratch:
                jars = sorted(resolve(coordinates, Path(scratch), java).glob("*.jar"))
                lines += [f"{name} {_sha256(jar)} {jar.name}\n" for jar in jars]
    LOCK.write_text(HEADER + "".join(lines))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
