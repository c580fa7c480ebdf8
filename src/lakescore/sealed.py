"""Folders of data sealed by one JSON file that holds the SHA-256 of every other. Pure Python.

The sealing file has `format` (of its kind), `files` (relative path -> SHA-256) and `sha256`, its
own hash without that entry.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lakescore.errors import ModelBroken
from lakescore.hashing import folder_hashes, json_sha256


def seal(folder: Path, name: str, description: Mapping[str, Any]) -> str:
    """Write the sealing file `name` over what is in `folder`; returns the SHA-256 of it all."""
    content = {**description, "files": folder_hashes(folder)}
    content["sha256"] = json_sha256(content)
    text = json.dumps(content, indent=1, sort_keys=True)
    (folder / name).write_text(text, encoding="utf-8")
    return str(content["sha256"])


def open_sealed(folder: Path, name: str, *, newest: int, what: str) -> dict[str, Any]:
    """What `seal` wrote, once every file is as it was sealed; `what` the folder should be.

    Raises ModelBroken when truncated, altered, or of a format above `newest`.
    """
    content = _read(folder, name, newest, what)
    _check_files(folder, name, content["files"])
    return content


def _read(folder: Path, name: str, newest: int, what: str) -> dict[str, Any]:
    path = folder / name
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        stated, format_, files = content.pop("sha256"), content["format"], content["files"]
    except FileNotFoundError as error:
        raise ModelBroken(f"no {name}: not a {what}", where=str(folder)) from error
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise ModelBroken("cannot be read: truncated or altered", where=str(path)) from error
    if not isinstance(format_, int) or format_ > newest:
        raise ModelBroken(
            f"written in format {format_}; this lakescore reads up to {newest}",
            where=str(path),
            hint="upgrade lakescore",
        )
    if json_sha256(content) != stated or not isinstance(files, dict):
        raise ModelBroken("was altered after it was saved", where=str(path))
    return {**content, "sha256": stated}


def _check_files(folder: Path, sealing: str, expected: Mapping[str, str]) -> None:
    found = {name: sha for name, sha in folder_hashes(folder).items() if name != sealing}
    for name in sorted(expected.keys() | found.keys()):
        if found.get(name) != expected.get(name):
            state = "missing" if name not in found else "altered" if name in expected else "unknown"
            raise ModelBroken(f"file {name} is {state}", where=str(folder))
