"""Make a pinned environment and the jar cache. Standard library only; safe to run again.

Usage: python scripts/setup.py dev|compat|deep (through setup.sh, which finds the Python).
Every package is checked against the hashes of its lock, the build back end included.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements"

NETWORK = re.compile(
    r"dns error|name resolution|Name or service not known|Connection refused|connection error"
    r"|error sending request|Max retries|timed out|Network is unreachable|operation timed out"
    r"|No matching distribution|tunnel|certificate",
    re.IGNORECASE,
)


class SetupError(Exception):
    """One sentence: what is missing, and what to do."""


@dataclass(frozen=True)
class Environment:
    folder: Path
    lock: Path
    needed_bytes: int = 2_500_000_000

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def uv(self) -> Path:
        return self.folder / "tools" / "bin" / "uv"

    @property
    def stamp(self) -> Path:
        return self.folder / ".lakescore-setup"

    @property
    def key(self) -> str:
        """Changes with the locks, the entry points, this Python, and the folder's place."""
        digest = hashlib.sha256(f"{sys.version}\n{self.folder}\n".encode())
        for path in (self.lock, REQUIREMENTS / "uv.txt", ROOT / "pyproject.toml"):
            digest.update(path.read_bytes())
        return digest.hexdigest()


ENVIRONMENTS = {
    "dev": Environment(ROOT / ".venv", REQUIREMENTS / "dev.txt"),
    "compat": Environment(ROOT / ".venv-compat", REQUIREMENTS / "compat.txt"),
    "deep": Environment(ROOT / ".venv-deep", REQUIREMENTS / "deep.txt", 9_000_000_000),
}


def main(name: str) -> int:
    environment = ENVIRONMENTS[name]
    try:
        if not _is_current(environment):
            _install(environment)
        _fetch_jars(environment)
    except SetupError as problem:
        print(f"set-up stopped: {problem}", file=sys.stderr)
        return 1
    except OSError as problem:
        print(f"set-up stopped: {_disk_or(problem)}", file=sys.stderr)
        return 1
    return 0


def _is_current(environment: Environment) -> bool:
    stamp = environment.stamp
    return environment.python.exists() and stamp.exists() and stamp.read_text() == environment.key


def _install(environment: Environment) -> None:
    started = time.monotonic()
    _check_disk(environment.needed_bytes)
    version = ".".join(map(str, sys.version_info[:3]))
    _say(f"Python {version} -> {environment.folder.name}")
    _make_venv(environment)
    _install_uv(environment)
    _say(f"packages of {environment.lock.relative_to(ROOT)} ...")
    # A Python that keeps nothing of what it compiles would compile it in every process again.
    compiling = ["--compile-bytecode"] if sys.dont_write_bytecode else []
    _uv(environment, "sync", *compiling, "--require-hashes", str(environment.lock))
    _uv(environment, "install", "--no-deps", "--no-build-isolation", "--editable", str(ROOT))
    if compiling:
        _run([str(environment.python), "-m", "compileall", "-q", str(ROOT / "src")])
    environment.stamp.write_text(environment.key)
    _say(f"packages are in place ({time.monotonic() - started:.0f} s)")


def _make_venv(environment: Environment) -> None:
    environment.stamp.unlink(missing_ok=True)
    made_by = _answer([str(environment.python), "-c", "import sys; print(sys.version)"])
    if made_by == sys.version:
        return
    command = [sys.executable, "-m", "venv", "--clear", str(environment.folder)]
    missing = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
    _run(command, otherwise=f"this Python cannot make environments: install {missing}")


def _install_uv(environment: Environment) -> None:
    """uv installs in a third of pip's time; it comes by pip, pinned by hash as all the rest."""
    pinned = (REQUIREMENTS / "uv.txt").read_text().split()[0].replace("==", " ")
    if _answer([str(environment.uv), "--version"]).startswith(pinned):
        return
    target = environment.folder / "tools"
    shutil.rmtree(target, ignore_errors=True)
    pip = [str(environment.python), "-m", "pip"]
    if not _answer([*pip, "--version"]):
        _run([str(environment.python), "-m", "ensurepip"])
    _run(
        [
            *pip,
            *("install", "--quiet", "--disable-pip-version-check", "--retries", "2"),
            *("--require-hashes", "--target", str(target)),
            *("-r", str(REQUIREMENTS / "uv.txt")),
        ]
    )


def _uv(environment: Environment, *arguments: str) -> None:
    command = [str(environment.uv), "pip", *arguments, "--python", str(environment.python)]
    _run(command, env=os.environ | _uv_settings(environment))


def _uv_settings(environment: Environment) -> dict[str, str]:
    """What the user told pip (variables and pip.conf), said to uv, unless uv was told itself."""
    listed = _answer([str(environment.python), "-m", "pip", "config", "list"])
    told = dict(re.findall(r"^[\w:.-]+\.([a-z-]+)='(.*)'$", listed, re.MULTILINE))
    wanted = {
        "UV_DEFAULT_INDEX": told.get("index-url"),
        "UV_INDEX": told.get("extra-index-url"),
        "SSL_CERT_FILE": told.get("cert") or os.environ.get("REQUESTS_CA_BUNDLE"),
        "UV_PYTHON_DOWNLOADS": "never",
    }
    if "UV_INDEX_URL" in os.environ:
        del wanted["UV_DEFAULT_INDEX"]
    return {key: value for key, value in wanted.items() if value and key not in os.environ}


def _fetch_jars(environment: Environment) -> None:
    """On stdout it says in one sentence what stands in the way; progress goes to stderr."""
    command = [str(environment.python), "-m", "lakescore.session"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sentence = done.stdout.strip() or "Spark's jars could not be made ready (see above)"
        raise SetupError(f"{sentence}; then run it again")


def _check_disk(needed: int) -> None:
    free = shutil.disk_usage(ROOT).free
    if free < needed:
        raise SetupError(
            f"{ROOT} has {free / 1e9:.1f} GB free and set-up needs {needed / 1e9:.1f} GB: "
            "make room, or clone onto another disk"
        )


def _run(command: list[str], otherwise: str = "", env: dict[str, str] | None = None) -> None:
    """Run quietly; a failure becomes one sentence, with the whole output in a file beside it."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=env,
        check=False,
    )
    if done.returncode == 0:
        return
    log = ROOT / ".cache" / "setup.log"
    log.parent.mkdir(exist_ok=True)
    log.write_text(f"{' '.join(command)}\n{done.stdout}")
    raise SetupError(f"{_cause(done.stdout, otherwise)} (all output: {log.relative_to(ROOT)})")


def _cause(output: str, otherwise: str) -> str:
    if "No space left" in output:
        return "the disk is full: make room, then run it again"
    if NETWORK.search(output):
        return (
            "the package index cannot be reached: check the network, or name your own index in "
            "PIP_INDEX_URL (and its certificates in SSL_CERT_FILE), then run it again"
        )
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return otherwise or (lines[-1] if lines else "a command failed without a word")


def _disk_or(problem: OSError) -> str:
    if problem.errno == errno.ENOSPC:
        return "the disk is full: make room, then run it again"
    return f"{problem.filename or ''}: {problem.strerror}; mend that, then run it again"


def _answer(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _say(line: str) -> None:
    print(f"set-up: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
