"""Draw a report again from its JSON: `python -m lakescore.evaluation.report picture IN OUT`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lakescore.errors import LakescoreError
from lakescore.evaluation.report import read_report, readme_picture, render_html

_DRAW = {"html": render_html, "picture": readme_picture}


def main(arguments: list[str] | None = None) -> int:
    """Write the page (`html`) or the README's picture (`picture`, SVG). Returns an exit code."""
    parser = argparse.ArgumentParser(prog="python -m lakescore.evaluation.report")
    parser.add_argument("form", choices=sorted(_DRAW))
    parser.add_argument("report", type=Path, help="report.json of a run")
    parser.add_argument("output", type=Path)
    chosen = parser.parse_args(arguments)
    try:
        text = _DRAW[chosen.form](read_report(chosen.report))
        chosen.output.write_text(text, encoding="utf-8")
    except LakescoreError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"{chosen.output}: cannot be written: {error.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
