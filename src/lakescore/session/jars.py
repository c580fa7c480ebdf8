"""The jars that Spark needs beside its own: resolved once by Spark's Ivy, then used by path.

A jar counts only when its SHA-256 is the one in `jars.lock`, so a start needs no network and a
damaged download never reaches Spark.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from lakescore.cache_folder import cache_folder
from lakescore.errors import EnvironmentProblem, did_you_mean
from lakescore.session.ivy import resolve
from lakescore.session.java import find_java

log = logging.getLogger(__name__)

LOCK = Path(__file__).with_name("jars.lock")

#: Spark line -> what Delta is there, and what SynapseML's LightGBM is.
DELTA = {"3.3": "io.delta:delta-core_2.12:2.3.0", "3.5": "io.delta:delta-spark_2.12:3.3.3"}
SYNAPSE = {
    "3.3": "com.microsoft.azure:synapseml-lightgbm_2.12:0.11.4",
    "3.5": "com.microsoft.azure:synapseml-lightgbm_2.12:1.1.3",
}


@dataclass(frozen=True)
class JarSet:
    """Maven coordinates, and the jars (file name -> SHA-256) that they resolve to."""

    name: str
    coordinates: tuple[str, ...]
    files: Mapping[str, str] = field(hash=False)

    @property
    def key(self) -> str:
        """The cache folder's name: another set, or another resolution of it, gets another."""
        text = "\n".join([*self.coordinates, *sorted(self.files.values())])
        return f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def spark_line() -> str:
    """The installed pyspark's line, such as "3.5"."""
    import pyspark

    return ".".join(pyspark.__version__.split(".")[:2])


def needed_jars(line: str | None = None, *, synapse: bool | None = None) -> JarSet:
    """The jars for a Spark line; with SynapseML's when its Python package is installed."""
    line = line or spark_line()
    if line not in DELTA:
        raise EnvironmentProblem(
            f"pyspark {line} is installed, and lakescore starts Spark {' or '.join(DELTA)}",
            hint="pip install 'lakescore[local]' brings one that fits",
        )
    if synapse is None:
        synapse = _has_synapseml()
    if not synapse:
        return _jar_set(f"spark-{line}-delta", (DELTA[line],))
    return _jar_set(f"spark-{line}-delta-synapse", (DELTA[line], SYNAPSE[line]))


def cached_jars(jars: JarSet) -> list[Path] | None:
    """The set's jars in the cache, verified; None unless each one is there and unaltered."""
    folder = cache_folder() / "jars" / jars.key
    paths = [folder / name for name in sorted(jars.files)]
    if not all(path.is_file() for path in paths):
        return None
    altered = [path.name for path in paths if _sha256(path) != jars.files[path.name]]
    if altered:
        log.warning("the jar cache is damaged (%s); it is filled anew", ", ".join(altered))
        return None
    return paths


def ensure_jars(jars: JarSet) -> list[Path]:
    """Return the set's jars by path, resolving them first when the cache lacks them.

    Raises EnvironmentProblem without a network, disk space or a supported Java.
    """
    found = cached_jars(jars)
    if found is not None:
        return found
    root = cache_folder() / "jars"
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(root / ".lock"):
            return cached_jars(jars) or _fill(jars, root)
    except OSError as error:
        raise EnvironmentProblem(
            f"the jar cache cannot be written: {error.strerror or error}",
            where=str(root),
            hint="make room there, or name another folder in LAKESCORE_CACHE",
        ) from error


def _has_synapseml() -> bool:
    try:
        distribution("synapseml")
    except PackageNotFoundError:
        return False
    return True


def _jar_set(name: str, coordinates: tuple[str, ...]) -> JarSet:
    rows = [line.split() for line in LOCK.read_text().splitlines() if line and line[0] != "#"]
    files = {row[2]: row[1] for row in rows if row[0] == name}
    if not files:
        raise EnvironmentProblem(
            f"no jars are locked for '{name}'",
            where=LOCK.name,
            hint=did_you_mean(name, {row[0] for row in rows}),
        )
    return JarSet(name, coordinates, files)


def _fill(jars: JarSet, root: Path) -> list[Path]:
    """Resolve into a folder beside the final one, verify, then rename: all of a set or nothing."""
    log.info("fetching the jars of %s (once)", ", ".join(jars.coordinates))
    target = root / jars.key
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=root) as scratch:
        fetched = resolve(jars.coordinates, Path(scratch), find_java())
        _verify(jars, fetched)
        shutil.rmtree(target, ignore_errors=True)
        fetched.rename(target)
    return [target / name for name in sorted(jars.files)]


def _verify(jars: JarSet, folder: Path) -> None:
    found = {path.name: _sha256(path) for path in folder.glob("*.jar")}
    if found == dict(jars.files):
        return
    wrong = sorted(
        name for name in found.keys() | jars.files.keys() if found.get(name) != jars.files.get(name)
    )
    raise EnvironmentProblem(
        f"downloaded jars are not the locked ones: {', '.join(wrong)}",
        where=jars.name,
        hint="try again; if it stays so, the package mirror in use serves something else",
    )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
