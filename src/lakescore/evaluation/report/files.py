"""A report on disk: one HTML file and the same content as JSON, side by side."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from lakescore.errors import CorruptFile
from lakescore.evaluation.report.model import Report
from lakescore.evaluation.report.render import render_html


@dataclass(frozen=True)
class ReportFiles:
    """Where a report was written."""

    html: Path
    json: Path


def write_report(report: Report, folder: Path) -> ReportFiles:
    """Write `report.html` and `report.json` into `folder`, each of them whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    written = ReportFiles(folder / "report.html", folder / "report.json")
    _replace(written.json, report.model_dump_json(indent=2) + "\n")
    _replace(written.html, render_html(report))
    return written


def read_report(path: Path) -> Report:
    """Read what `write_report` wrote as JSON. Raises CorruptFile when it is not a report."""
    try:
        return Report.model_validate_json(path.read_bytes())
    except OSError as error:
        raise CorruptFile(
            f"the report cannot be read: {error.strerror}",
            where=str(path),
            hint="name the report.json of a run",
        ) from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise CorruptFile(
            f"not a report of format 1: {place}: {first['msg']}",
            where=str(path),
            hint="name the report.json of a run, written by this version of lakescore",
        ) from error


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
