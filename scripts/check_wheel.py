"""Check that the built wheel carries what it reads at run time, and runs where it is installed.

Usage: check_wheel.py FOLDER. The wheel is installed alone, without a network, in a new environment
that takes all other packages from this one, and runs in an empty folder: nothing of a checkout.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
from pathlib import Path

CONF = Path(__file__).resolve().parent.parent / "conf"
#: What a newcomer would ask first; `doctor` reads conf/ and opens a registry.
COMMANDS = (
    ("lakescore", "--help"),
    ("lakescore", "schema"),
    ("lakescore", "doctor"),
    ("lakescore", "validate"),
    ("lakescore-score", "--help"),
)


class WheelError(Exception):
    """One sentence, and what the command said."""


def main(folder: str) -> int:
    (wheel,) = Path(folder).glob("*.whl")
    try:
        count = _check_files(wheel)
        with tempfile.TemporaryDirectory(prefix="lakescore-wheel-") as scratch:
            _check_runs(wheel, Path(scratch))
    except WheelError as problem:
        print(problem, file=sys.stderr)
        return 1
    print(f"{wheel} ({wheel.stat().st_size / 1e3:.0f} kB, {count} files, conf/ included, runs)")
    return 0


def _check_files(wheel: Path) -> int:
    """The number of files; raises WheelError when one is missing."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    needed = {
        f"lakescore/_conf/{path.relative_to(CONF).as_posix()}" for path in CONF.rglob("*.yml")
    }
    needed |= {"lakescore/session/jars.lock", "lakescore/session/log4j2.properties"}
    missing = sorted(needed - names)
    if missing:
        raise WheelError(f"{wheel} lacks {', '.join(missing)}")
    return len(names)


def _check_runs(wheel: Path, scratch: Path) -> None:
    programs, empty = _install(wheel, scratch / "environment"), scratch / "empty"
    empty.mkdir()
    said = [_run([str(programs / program), *arguments], empty) for program, *arguments in COMMANDS]
    conf = str(scratch / "environment" / "lib")
    if not any(conf in one for one in said):
        raise WheelError(f"no command read the wheel's own conf/:\n{''.join(said)}")


def _install(wheel: Path, environment: Path) -> Path:
    """A new environment with the wheel, and this one's packages behind it; where its programs lie.

    A path in a .pth file is searched last, and .pth files at that place (an editable install of
    this very checkout) do not count.
    """
    venv.create(environment)
    programs = environment / "bin"
    pip = [sys.executable, "-m", "pip", "--python", str(programs / "python")]
    options = ("--quiet", "--no-deps", "--no-index", "--disable-pip-version-check")
    _run([*pip, "install", *options, str(wheel.absolute())], environment)
    (packages,) = environment.glob("lib/python*/site-packages")
    behind = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    (packages / "behind.pth").write_text("\n".join(behind))
    return programs


def _run(command: list[str], folder: Path) -> str:
    """What the command printed; raises WheelError when it fails."""
    elsewhere = ("PYTHONPATH", "LAKESCORE_CONF", "LAKESCORE_ENV")
    own = {name: value for name, value in os.environ.items() if name not in elsewhere}
    done = subprocess.run(command, cwd=folder, env=own, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = f"{done.stdout}{done.stderr}"
        raise WheelError(f"{' '.join(command)} ended with {done.returncode}:\n{said}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
