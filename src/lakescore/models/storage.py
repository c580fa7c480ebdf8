"""Scorers as folders of data: `scorer.json` says what is in one, and the SHA-256 of each file.

Nothing in such a folder is code and nothing is a pickle.
"""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

from lakescore.errors import LakescoreError, ModelBroken, did_you_mean
from lakescore.hashing import folder_hashes, json_sha256
from lakescore.models.base import Scorer

FORMAT = 1
HEADER = "scorer.json"

#: Kind -> where its class is; imported when one is loaded.
_SCORERS = {
    "forest": "lakescore.models.mllib.forest_scorer:ForestScorer",
    "lightgbm": "lakescore.models.lightgbm.scorer:LightGBMScorer",
    "linear": "lakescore.models.mllib.linear_scorer:LinearScorer",
    "prior": "lakescore.models.prior:PriorScorer",
}


def save_scorer(scorer: Scorer, folder: Path) -> None:
    """Write a scorer into `folder` (made if need be, must be empty)."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty")
    scorer.save(folder)
    header: dict[str, Any] = {
        "format": FORMAT,
        "kind": scorer.kind,
        "columns": list(scorer.columns),
        "files": folder_hashes(folder),
    }
    header["sha256"] = json_sha256(header)
    (folder / HEADER).write_text(json.dumps(header, indent=1, sort_keys=True), encoding="utf-8")


def load_scorer(folder: Path) -> Scorer:
    """Read what `save_scorer` wrote. Raises ModelBroken when truncated, altered or newer."""
    header = _read_header(folder)
    _check_files(folder, header["files"])
    scorer_type = _scorer_type(header["kind"], folder)
    try:
        scorer = scorer_type.load(folder)
    except LakescoreError:
        raise
    except (ValueError, KeyError, TypeError, IndexError, EOFError, OSError) as error:
        raise ModelBroken(f"its files do not fit: {error}", where=str(folder)) from error
    if list(scorer.columns) != header["columns"]:
        raise ModelBroken("its columns are not those of its description", where=str(folder))
    return scorer


def _read_header(folder: Path) -> dict[str, Any]:
    path = folder / HEADER
    try:
        header = json.loads(path.read_text(encoding="utf-8"))
        stated, format_ = header.pop("sha256"), header["format"]
        columns, files, kind = header["columns"], header["files"], header["kind"]
    except FileNotFoundError as error:
        raise ModelBroken(f"no {HEADER}: not a saved scorer", where=str(folder)) from error
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise ModelBroken("cannot be read: truncated or altered", where=str(path)) from error
    if not isinstance(format_, int) or format_ > FORMAT:
        raise ModelBroken(
            f"written in format {format_}; this lakescore reads up to {FORMAT}",
            where=str(path),
            hint="upgrade lakescore",
        )
    shapes = isinstance(columns, list) and isinstance(files, dict) and isinstance(kind, str)
    if json_sha256(header) != stated or not shapes:
        raise ModelBroken("was altered after it was saved", where=str(path))
    return dict(header)


def _check_files(folder: Path, expected: dict[str, str]) -> None:
    found = {name: sha for name, sha in folder_hashes(folder).items() if name != HEADER}
    for name in sorted(expected.keys() | found.keys()):
        if found.get(name) != expected.get(name):
            state = "missing" if name not in found else "altered" if name in expected else "unknown"
            raise ModelBroken(f"file {name} is {state}", where=str(folder))


def _scorer_type(kind: str, folder: Path) -> type[Scorer]:
    if kind not in _SCORERS:
        raise ModelBroken(
            f"no scorer is called '{kind}'", where=str(folder), hint=did_you_mean(kind, _SCORERS)
        )
    module, _, name = _SCORERS[kind].partition(":")
    found: type[Scorer] = getattr(import_module(module), name)
    return found
