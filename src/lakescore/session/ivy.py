"""Downloading jars: Spark's own Ivy, in a throw-away process that starts no Spark."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

from lakescore.errors import EnvironmentProblem
from lakescore.session.java import Java
from lakescore.session.trust_store import certificate_bundle, write_trust_store

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

_DEADLINE_SECONDS = 900
_TELLING = re.compile(r"^(?!at ).*(Exception|timed out)")


def resolve(coordinates: tuple[str, ...], ivy: Path, java: Java) -> Path:
    """Let Spark's own Ivy download `coordinates` into the folder `ivy`; return where the jars lie.

    Mirrors are the user's to set, where Spark reads them: spark-defaults.conf
    (spark.jars.ivySettings) and DEFAULT_ARTIFACT_REPOSITORY.
    """
    nothing = ivy / "nothing.py"
    nothing.write_text("")
    command = [
        str(spark_home() / "bin" / "spark-submit"),
        *("--master", "local[1]", "--packages", ",".join(coordinates)),
        *("--exclude-packages", ",".join(EXCLUDES)),
        *("--conf", f"spark.jars.ivy={ivy}", "--conf", "spark.ui.enabled=false"),
        *("--driver-java-options", shlex.join(_resolver_options(ivy, java))),
        str(nothing),
    ]
    own = {
        "JAVA_HOME": str(java.home),
        "SPARK_HOME": str(spark_home()),
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
    }
    try:
        answer = subprocess.run(
            command,
            env=os.environ | own,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_DEADLINE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as expired:
        raise _unresolved(coordinates, f"timed out after {_DEADLINE_SECONDS} s") from expired
    if answer.returncode != 0:
        raise _unresolved(coordinates, answer.stdout)
    return ivy / "jars"


def spark_home() -> Path:
    """The Spark inside the installed pyspark, so that a foreign SPARK_HOME is never mixed in.

    A pyspark that came with a Spark of its own (its spark-submit runs us) has none inside.
    """
    import pyspark

    inside = Path(pyspark.__file__).parent
    if (inside / "bin" / "spark-submit").exists():
        return inside
    return Path(os.environ.get("SPARK_HOME", inside))


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


def _unresolved(coordinates: tuple[str, ...], output: str) -> EnvironmentProblem:
    if "No space left on device" in output:
        cause, hint = "the disk is full", "make room, or name another folder in LAKESCORE_CACHE"
    elif "PKIX" in output or "SSLHandshake" in output:
        cause = "the server's certificate is not trusted by Java"
        hint = "name your certificates (PEM) in SSL_CERT_FILE, or use a Java that knows them"
    else:
        cause = _cause(output)
        hint = "connect once, or point LAKESCORE_CACHE at a copy of a filled cache"
    return EnvironmentProblem(
        f"Spark's jars could not be fetched: {cause}", where=", ".join(coordinates), hint=hint
    )


def _cause(output: str) -> str:
    refused = re.search(r"Connection refused|timed out|Network is unreachable", output)
    hosts = sorted(set(re.findall(r"Host (\S+) not found", output)))
    if "unresolved dependency" not in output:
        lines = [line.strip() for line in output.splitlines() if line.strip()]
        return ([line for line in lines if _TELLING.search(line)] or lines or ["no output"])[-1]
    if refused:
        return f"no connection ({refused[0]})"
    return f"no connection ({', '.join(hosts)} not found)" if hosts else "no repository has them"
