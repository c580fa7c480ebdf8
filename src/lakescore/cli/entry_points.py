"""Entry points of the wheel and of jobs/: named parameters in, a return value out.

A scheduler that imports and calls these (a Databricks wheel task) takes any `sys.exit`, even of
0, for a failure, and no return value for one. So they return 0, and leave only on failure.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence, Set


def ingest(argv: Sequence[str] | None = None) -> int:
    """``--table NAME --from FILES [options of `lakescore ingest`]``"""
    return _command("ingest", "table", argv)


def train(argv: Sequence[str] | None = None) -> int:
    """``--workload NAME [options of `lakescore train`]``"""
    return _command("train", "workload", argv)


def promote(argv: Sequence[str] | None = None) -> int:
    """``--workload NAME [options of `lakescore promote`]``"""
    return _command("promote", "workload", argv)


def rollback(argv: Sequence[str] | None = None) -> int:
    """``--workload NAME [options of `lakescore rollback`]``"""
    return _command("rollback", "workload", argv)


def score(argv: Sequence[str] | None = None) -> int:
    """``--workload NAME [options of `lakescore score`]``"""
    return _command("score", "workload", argv)


def backfill(argv: Sequence[str] | None = None) -> int:
    """``--workload NAME [options of `lakescore backfill`]``"""
    return _command("backfill", "workload", argv)


def restore(argv: Sequence[str] | None = None) -> int:
    """``--workload NAME [options of `lakescore restore`]``"""
    return _command("restore", "workload", argv)


def maintain(argv: Sequence[str] | None = None) -> int:
    """``--workload NAME [options of `lakescore maintain`]``"""
    return _command("maintain", "workload", argv)


def _command(command: str, subject: str, argv: Sequence[str] | None) -> int:
    from lakescore.cli.app import flags_of, run

    parser = argparse.ArgumentParser(prog=f"lakescore-{command}", allow_abbrev=False)
    parser.add_argument(f"--{subject}", required=True)
    known, rest = parser.parse_known_args(sys.argv[1:] if argv is None else list(argv))
    code = run([command, getattr(known, subject), *_as_options(rest, flags_of(command))])
    if code:
        raise SystemExit(code)
    return 0


def _as_options(given: Sequence[str], flags: Set[str]) -> list[str]:
    """Named parameters are all ``--name=value``: an empty one was left out, and flags are said."""
    found = []
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or (value and name not in flags):
            found.append(one)
        elif value.lower() == "true":
            found.append(name)
        elif value and value.lower() != "false":
            found.append(one)  # which the command refuses by name
    return found
