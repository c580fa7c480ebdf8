"""`python -m lakescore.session`: make a machine ready to start Spark without a network."""

from __future__ import annotations

import sys

from lakescore.errors import EnvironmentProblem, LakescoreError
from lakescore.session.class_archive import make_archive, needs_archive
from lakescore.session.jars import cached_jars, ensure_jars, needed_jars
from lakescore.session.java import find_java


def main() -> int:
    """Check Java and fill the jar cache. Stdout gets one sentence, if something is in the way."""
    try:
        _make_ready()
    except LakescoreError as error:
        print(_sentence(error))
        return error.exit_code
    except OSError as error:
        problem = EnvironmentProblem(
            f"a file cannot be written or read: {error.strerror or error}",
            where=str(error.filename or "the cache"),
            hint="make room there, or name another folder in LAKESCORE_CACHE",
        )
        print(_sentence(problem))
        return problem.exit_code
    return 0


def _make_ready() -> None:
    jars = needed_jars()
    if cached_jars(jars) is None:
        _say(f"jars for Spark ({', '.join(jars.coordinates)}) ...")
    java, paths = find_java(), ensure_jars(jars)
    if needs_archive(java, paths):
        _say("Spark's classes, for faster starts ...")
        make_archive(java, paths)


def _sentence(error: LakescoreError) -> str:
    """What, where and what to do on one line, for set-up to say as its own."""
    place = f" ({error.where})" if error.where else ""
    advice = f": {error.hint}" if error.hint else ""
    return " ".join(f"{error.what}{place}{advice}".split())


def _say(line: str) -> None:
    print(f"set-up: {line}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
