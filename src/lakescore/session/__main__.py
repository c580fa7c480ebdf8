"""`python -m lakescore.session`: make a machine ready to start Spark without a network."""

from __future__ import annotations

import sys

from lakescore.errors import LakescoreError
from lakescore.session.jars import cached_jars, ensure_jars, needed_jars


def main() -> int:
    """Check Java and fill the jar cache; say what stands in the way in one sentence."""
    try:
        jars = needed_jars()
        if cached_jars(jars) is None:
            print(f"set-up: jars for Spark ({', '.join(jars.coordinates)}) ...", file=sys.stderr)
            ensure_jars(jars)
    except LakescoreError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
