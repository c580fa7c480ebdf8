"""The command line. Arguments in, workflow functions called, results printed; no other logic."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 failed, 2 configuration or usage."""
    from lakescore.cli.app import run

    return run(list(sys.argv[1:] if argv is None else argv))
