"""Check that the built wheel carries what it reads at run time. Usage: check_wheel.py FOLDER"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

CONF = Path("conf")


def main(folder: str) -> int:
    (wheel,) = Path(folder).glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    needed = {
        f"lakescore/_conf/{path.relative_to(CONF).as_posix()}" for path in CONF.rglob("*.yml")
    }
    needed |= {"lakescore/session/jars.lock", "lakescore/session/log4j2.properties"}
    missing = sorted(needed - names)
    if missing:
        print(f"{wheel} lacks {', '.join(missing)}", file=sys.stderr)
        return 1
    print(f"{wheel} ({wheel.stat().st_size / 1e3:.0f} kB, {len(names)} files, conf/ included)")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
