"""Build Horovod's wheel for this PyTorch and Python, once, and install it. Safe to run again.

Usage: python scripts/horovod.py, by the Python of the environment that has PyTorch (.venv-deep).
There is no wheel of Horovod, and one fits the PyTorch alone that it was built beside. The source
is taken as it is: PyTorch's headers want C++17, Horovod's build asks for C++14 in a place where no
flag of ours comes after it, so a CMake toolchain file of one line says the compile command anew.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from lakescore.cache_folder import cache_folder

ROOT = Path(__file__).resolve().parent.parent
PINNED = ROOT / "requirements" / "horovod.txt"
TOOLCHAIN = (
    'set(CMAKE_CXX_COMPILE_OBJECT "<CMAKE_CXX_COMPILER> <DEFINES> <INCLUDES> <FLAGS> -std=c++17 '
    '-o <OBJECT> -c <SOURCE>")\n'
)
SWITCHES = {
    "HOROVOD_WITH_PYTORCH": "1",
    "HOROVOD_WITH_GLOO": "1",
    "HOROVOD_WITHOUT_TENSORFLOW": "1",
    "HOROVOD_WITHOUT_MXNET": "1",
    "HOROVOD_WITHOUT_MPI": "1",
}
USUAL_MINUTES = "5 to 8 minutes on 2 cores"


def main() -> int:
    wheels = cache_folder() / "wheels" / _key()
    built = sorted(wheels.glob("horovod-*.whl"))
    if not built:
        problem = _missing()
        if problem:
            print(f"horovod: stopped: {problem}", file=sys.stderr)
            return 1
        built = _build(wheels)
    if not built:
        return 1
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--force-reinstall"]
    return subprocess.run([*pip, str(built[0])], check=False).returncode


def _key() -> str:
    pinned = next(line for line in PINNED.read_text().splitlines() if line.startswith("horovod=="))
    name = pinned.split()[0].replace("==", "-")
    python = f"py{sys.version_info[0]}{sys.version_info[1]}"
    return f"{name}-torch{version('torch')}-{python}-{os.uname().machine}"


def _missing() -> str:
    """What stands in the way of a build, in a sentence; nothing where nothing does."""
    tools = [tool for tool in ("cmake", "g++", "make") if shutil.which(tool) is None]
    if tools:
        return f"no {', '.join(tools)} on PATH: install a C++ compiler and CMake, then run it again"
    try:
        version("torch")
    except PackageNotFoundError:
        return "PyTorch is not installed beside it: run `make setup-deep`"
    return ""


def _build(wheels: Path) -> list[Path]:
    """The wheel, or nothing where it failed: then all output is in a file that is named."""
    log = ROOT / ".cache" / "horovod.log"
    log.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        toolchain = Path(scratch) / "toolchain.cmake"
        toolchain.write_text(TOOLCHAIN)
        settings = {
            **os.environ,
            **SWITCHES,
            "CMAKE_TOOLCHAIN_FILE": str(toolchain),
            "MAKEFLAGS": f"-j{os.cpu_count() or 1}",
        }
        command = [
            *(sys.executable, "-m", "pip", "wheel", "--require-hashes", "-r", str(PINNED)),
            *("--no-build-isolation", "--no-deps", "--no-binary", ":all:"),
            *("--wheel-dir", str(Path(scratch) / "wheels")),
        ]
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                env=settings,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            code = _wait(process)
        if code != 0:
            print(f"horovod: not built; all output: {log.relative_to(ROOT)}", file=sys.stderr)
            return []
        wheels.mkdir(parents=True, exist_ok=True)
        for made in (Path(scratch) / "wheels").glob("horovod-*.whl"):
            unseen = wheels / f".{made.name}"
            shutil.copyfile(made, unseen)
            unseen.rename(wheels / made.name)
    return sorted(wheels.glob("horovod-*.whl"))


def _wait(process: subprocess.Popen[bytes]) -> int:
    """Tell how long it has been, on one line of a terminal."""
    started, alive = time.monotonic(), sys.stderr.isatty()
    print(f"horovod: building its wheel, once ({USUAL_MINUTES}) ...", file=sys.stderr, flush=True)
    while True:
        try:
            code = process.wait(10)
        except subprocess.TimeoutExpired:
            if alive:
                told = f"\rhorovod: building, {time.monotonic() - started:.0f} s"
                print(told, end="", file=sys.stderr, flush=True)
            continue
        if code == 0:
            end = "\n" if alive else ""
            print(f"{end}horovod: built in {time.monotonic() - started:.0f} s", file=sys.stderr)
        return code


if __name__ == "__main__":
    sys.exit(main())
