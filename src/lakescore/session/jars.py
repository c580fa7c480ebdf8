"""The jars that Spark needs beside its own: resolved once by Spark's Ivy, then used by path.

A jar counts only when its SHA-256 is the one in `jars.lock`, so a start needs no network and a
damaged download never reaches Spark.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from lakescore.errors import EnvironmentProblem, did_you_mean
from lakescore.session.java import Java, find_java
from lakescore.session.trust_store import certificate_bundle, write_trust_store

log = logging.getLogger(__name__)

LOCK = Path(__file__).with_name("jars.lock")

#: Spark line -> what Delta is there, and what SynapseML's LightGBM is.
DELTA = {"3.3": "io.delta:delta-core_2.12:2.3.0", "3.5": "io.delta:delta-spark_2.12:3.3.3"}
SYNAPSE = {
    "3.3": "com.microsoft.azure:synapseml-lightgbm_2.12:0.11.4",
    "3.5": "com.microsoft.azure:synapseml-lightgbm_2.12:1.1.3",
}

#: What SynapseML declares and its LightGBM never loads, or what Spark has already.
EXCLUDES = (
    "com.beust:*",
    "com.chuusai:*",
    "com.github.*:*",
    "com.jcraft:*",
    "com.linkedin.*:*",
    "commons-*:*",
    "net.sf.*:*",
    "net.sourceforge.*:*",
    "org.apache.commons:*",
    "org.apache.httpcomponents*:*",
    "org.apache.spark:*",
    "org.beanshell:*",
    "org.scala-lang*:*",
    "org.scalactic:*",
    "org.scalanlp:*",
    "org.scalatest:*",
    "org.slf4j:*",
    "org.testng:*",
    "org.tukaani:*",
    "org.typelevel:*",
    "pl.edu.icm:*",
)

_ANSWER_SECONDS = 900


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
        synapse = find_spec("synapse") is not None
    if not synapse:
        return _jar_set(f"spark-{line}-delta", (DELTA[line],))
    return _jar_set(f"spark-{line}-delta-synapse", (DELTA[line], SYNAPSE[line]))


def cache_folder() -> Path:
    """LAKESCORE_CACHE, else lakescore's folder in the user's cache."""
    own = os.environ.get("LAKESCORE_CACHE")
    if own:
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "lakescore"


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


def resolve(coordinates: tuple[str, ...], ivy: Path, java: Java) -> Path:
    """Let Spark's own Ivy download `coordinates` into the folder `ivy`; return where the jars lie.

    Mirrors are the user's to set, where Spark reads them: spark-defaults.conf
    (spark.jars.ivySettings) and DEFAULT_ARTIFACT_REPOSITORY.
    """
    nothing = ivy / "nothing.py"
    nothing.write_text("")
    answer = subprocess.run(
        [
            *_spark_submit(),
            *("--master", "local[1]", "--packages", ",".join(coordinates)),
            *("--exclude-packages", ",".join(EXCLUDES)),
            *("--conf", f"spark.jars.ivy={ivy}", "--conf", "spark.ui.enabled=false"),
            *("--driver-java-options", shlex.join(_resolver_options(ivy, java))),
            str(nothing),
        ],
        env=os.environ | {"JAVA_HOME": str(java.home), "SPARK_HOME": str(spark_home())},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_ANSWER_SECONDS,
        check=False,
    )
    if answer.returncode != 0:
        raise _unresolved(coordinates, answer.stdout)
    return ivy / "jars"


def spark_home() -> Path:
    """The folder of the installed pyspark, so that a foreign SPARK_HOME is never mixed in."""
    import pyspark

    return Path(pyspark.__file__).parent


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
        name
        for name in found.keys() | jars.files.keys()
        if found.get(name) != jars.files.get(name)
    )
    raise EnvironmentProblem(
        f"downloaded jars are not the locked ones: {', '.join(wrong)}",
        where=jars.name,
        hint="try again; if it stays so, the package mirror in use serves something else",
    )


def _resolver_options(ivy: Path, java: Java) -> list[str]:
    """A home of its own: half-filled ~/.m2 and ~/.ivy2 folders break the resolution."""
    options = [f"-Duser.home={ivy}", *_proxy_options()]
    bundle = certificate_bundle()
    if java.bundled and bundle is not None:
        options += write_trust_store(bundle, ivy / "trust.p12")
    return options


def _proxy_options() -> list[str]:
    """HTTPS_PROXY, which Java does not read."""
    proxy = urlsplit(os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy") or "")
    if not proxy.hostname:
        return []
    return [f"-Dhttps.proxyHost={proxy.hostname}", f"-Dhttps.proxyPort={proxy.port or 443}"]


def _spark_submit() -> list[str]:
    return [str(spark_home() / "bin" / "spark-submit")]


def _unresolved(coordinates: tuple[str, ...], output: str) -> EnvironmentProblem:
    if "No space left on device" in output:
        cause, hint = "the disk is full", "make room, or name another folder in LAKESCORE_CACHE"
    elif "PKIX" in output or "SSLHandshake" in output:
        cause = "the server's certificate is not trusted by Java"
        hint = "name your certificates (PEM) in SSL_CERT_FILE, or use a Java that knows them"
    else:
        hosts = sorted(set(re.findall(r"Host (\S+) not found", output)))
        cause = f"no connection ({', '.join(hosts)} not found)" if hosts else _last_error(output)
        hint = "connect once, or point LAKESCORE_CACHE at a copy of a filled cache"
    return EnvironmentProblem(
        f"Spark's jars could not be fetched: {cause}", where=", ".join(coordinates), hint=hint
    )


def _last_error(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [
        line
        for line in lines
        if re.search(r"Exception|unresolved dependency|not found|refused|timed out", line)
    ]
    return (telling or lines or ["no output"])[-1]


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
