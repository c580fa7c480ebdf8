"""Entry points of the wheel and of jobs/: named parameters in, a return value out.

A scheduler that imports and calls these (a Databricks wheel task) takes any `sys.exit`, even of
0, for a failure, and no return value for one. So they return 0, and leave only on failure.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence


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


def maintain(argv: Sequence[str] | None = None) -> int:
    """``--workload NAME [options of `lakescore maintain`]``"""
    return _command("maintain", "workload", argv)


def restore(argv: Sequence[str] | None = None) -> int:
    """``--workload NAME [options of `lakescore restore`]``"""
    return _command("restore", "workload", argv)


def _command(command: str, subject: str, argv: Sequence[str] | None) -> int:
    from lakescore.cli.app import run

    parser = argparse.ArgumentParser(prog=f"lakescore-{command}", allow_abbrev=False)
    parser.add_argument(f"--{subject}", required=True)
    known, rest = parser.parse_known_args(sys.argv[1:] if argv is None else list(argv))
    code = run([command, getattr(known, subject), *rest])
    if code:
        raise SystemExit(code)
    return 0
