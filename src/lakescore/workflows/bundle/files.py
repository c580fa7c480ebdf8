"""The files of a bundle: what they should hold, what they hold, and writing them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from lakescore.config.job import JobSpec
from lakescore.config.workload import Workload
from lakescore.workflows.bundle.jobs import HERE, WHEEL, Deployment, jobs_of

MAIN, RESOURCES = "databricks.yml", "resources"
_SUFFIX = ".job.yml"
_LIKE_A_NUMBER = re.compile(r"[-+.]?[0-9][0-9a-fox_.eE+-]*", re.IGNORECASE)
_HEADER = "# Written by `lakescore bundle` from conf/: change that, and run it again.\n"
_TEMPLATES = {MAIN: "databricks.yml", f"{RESOURCES}/storage.yml": "storage.yml"}


@dataclass(frozen=True)
class Written:
    """The files that were written, and those that were removed, by their names in the bundle."""

    written: tuple[str, ...]
    removed: tuple[str, ...]


def job_files(
    workloads: Iterable[Workload], defaults: JobSpec, where: Deployment = HERE
) -> dict[str, str]:
    """Name of the file in the bundle -> its text, one job each. Raises what `jobs_of` does."""
    found = jobs_of(workloads, defaults, where)
    return {f"{RESOURCES}/{key}{_SUFFIX}": _text(key, job) for key, job in found.items()}


def write_bundle(root: Path, wanted: Mapping[str, str], *, library: str = WHEEL) -> Written:
    """Make the job files what they should be; what is missing of the rest is made as well.

    A job file of ours that no workload asks for is removed. Of databricks.yml and storage.yml,
    which are their owner's, nothing is changed. The first builds the wheel where `library` is it.
    """
    owned = {name: _template(source, library) for name, source in _TEMPLATES.items()}
    missing = {name: text for name, text in owned.items() if not (root / name).exists()}
    changed = {name: text for name, text in wanted.items() if _read(root / name) != text}
    for name, text in {**missing, **changed}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    left = stale(root, wanted)
    for name in left:
        (root / name).unlink()
    return Written(tuple(sorted({**missing, **changed})), left)


def stale(root: Path, wanted: Mapping[str, str]) -> tuple[str, ...]:
    """Job files that were written here and that no workload asks for any more."""
    present = (f"{RESOURCES}/{path.name}" for path in (root / RESOURCES).glob(f"*{_SUFFIX}"))
    return tuple(
        name
        for name in sorted(present)
        if name not in wanted and (_read(root / name) or "").startswith(_HEADER)
    )


def differing(root: Path, wanted: Mapping[str, str]) -> tuple[str, ...]:
    """Job files that are not what the workloads say."""
    return tuple(name for name, text in wanted.items() if _read(root / name) != text)


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def _template(name: str, library: str) -> str:
    text = (files(__package__) / "templates" / name).read_text(encoding="utf-8")
    if library == WHEEL:
        return text
    before, _, rest = text.partition("artifacts:\n")
    return before + rest[rest.index("targets:\n") :] if rest else text


class _Dumper(yaml.SafeDumper):
    """Writes a value that stands twice twice: anchors are hard to read in a diff."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """Quoted where another reader of YAML would take it for a number, as 1e3 and 0o17."""
        style = "'" if _LIKE_A_NUMBER.fullmatch(data) else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


_Dumper.add_representer(str, _Dumper.represent_str)


def _text(key: str, job: Mapping[str, Any]) -> str:
    body = {"resources": {"jobs": {key: dict(job)}}}
    return _HEADER + yaml.dump(body, Dumper=_Dumper, sort_keys=False, width=100)
