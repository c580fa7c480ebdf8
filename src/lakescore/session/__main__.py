"""`python -m lakescore.session`: make a machine ready to start Spark without a network."""

from __future__ import annotations

import sys

from lakescore.errors import LakescoreError
from lakescore.session.class_archive import make_archive, needs_archive
from lakescore.session.jars import cached_jars, ensure_jars, needed_jars
from lakescore.session.java import find_java


def main() -> int:
    """Check Java and fill the jar cache; say what stands in the way in one sentence."""
    try:
        jars = needed_jars()
        if cached_jars(jars) is None:
            print(f"set-up: jars for Spark ({', '.join(jars.coordinates)}) ...", file=sys.stderr)
        java, paths = find_java(), ensure_jars(jars)
        if needs_archive(java, paths):
            print("set-up: Spark's classes, for faster starts ...", file=sys.stderr)
            make_archive(java, paths)
    except LakescoreError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
