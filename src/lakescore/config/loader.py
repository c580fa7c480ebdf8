"""Find and read conf/: environments and workloads, checked before anything starts."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from lakescore.config import overlay
from lakescore.config.base import ConfigModel, attach_secrets
from lakescore.config.problems import combined, problems_in, problems_of
from lakescore.config.settings import Settings
from lakescore.config.workload import Workload
from lakescore.config.yaml_tree import Node, Origin, TreeReader
from lakescore.errors import ConfigError, did_you_mean

Model = TypeVar("Model", bound=ConfigModel)

#: Names of places: values from the environment that may be shown. All others are secret.
_SHOWN = (
    *("lake.*", "runs", "staging", "registry.model_prefix", "registry.experiment"),
    *("spark.master", "*.table", "*.quarantine_table", "model"),
)
_SUFFIX = ".yml"
_PACKAGE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Selected:
    """The workloads of a selection, and what is wrong with the files that cannot be read.

    A file that cannot be read tells no tags: it belongs to every selection by tag.
    """

    workloads: tuple[Workload, ...]
    broken: Mapping[str, ConfigError] = field(default_factory=dict)


def find_conf(explicit: Path | None = None) -> Path:
    """The configuration folder: the one named, else ./conf, else the one that is shipped.

    Raises ConfigError when `explicit` is not a folder.
    """
    if explicit is not None:
        if not explicit.is_dir():
            raise ConfigError("no such configuration folder", where=str(explicit))
        return explicit
    here = Path("conf")
    return here if here.is_dir() else shipped_conf()


def shipped_conf() -> Path:
    """conf/ as installed in the wheel, or of the checkout in an editable install."""
    packaged, checkout = _PACKAGE / "_conf", _PACKAGE.parent.parent / "conf"
    return packaged if packaged.is_dir() else checkout


def split_overrides(pairs: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Sort ``--set key=value`` texts into (those for the settings, those for the workload).

    The first component of a key decides; Settings and Workload share none:
    ``spark.driver_memory=2g`` is a setting, ``promotion=auto`` the workload's.
    """
    return overlay.split_overrides(pairs, Settings, Workload)


def load_settings(
    conf_dir: Path,
    env: str,
    overrides: Mapping[str, str] | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """conf/base.yml, overlaid by conf/ENV.yml, overlaid by `overrides`.

    A file that `conf_dir` lacks is taken from the shipped conf/, so that a folder with only
    workloads will do. Setting one of lake.root and lake.catalog removes the other.
    """
    problems: list[ConfigError] = []
    tree: Node | None = None
    for name in ("base", env):
        layer = _read(_environment_file(conf_dir, name), environ, problems)
        tree = layer if tree is None else overlay.overlay(tree, layer)
    assert tree is not None  # noqa: S101 - there are always two layers
    reader = TreeReader("--set", environ, problems)
    tree = overlay.apply_overrides(tree, overrides or {}, Settings, reader)
    return _validate(tree, Settings, problems)


def load_workload(
    conf_dir: Path,
    name: str,
    overrides: Mapping[str, str] | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
) -> Workload:
    """conf/workloads/NAME.yml, overlaid by `overrides`. Expressions are checked as well."""
    from lakescore.config.checks import check_workload

    file = _workload_file(conf_dir, name)
    problems: list[ConfigError] = []
    tree = _read(file, environ, problems)
    reader = TreeReader("--set", environ, problems)
    tree = overlay.apply_overrides(tree, overrides or {}, Workload, reader)
    workload = _validate(tree, Workload, problems)
    if workload.name != file.stem:
        where = _origin_of(tree, "name")
        raise ConfigError(
            f"name: '{workload.name}' does not fit the file {file.name}",
            where=str(where),
            hint=f"write name: {file.stem}, or rename the file to {workload.name}{_SUFFIX}",
        )
    found = check_workload(workload, tree)
    if found:
        raise combined(found)
    return workload


def load_workloads(
    conf_dir: Path,
    select: str | None = None,
    overrides: Mapping[str, str] | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
) -> list[Workload]:
    """The selected workloads, by name. Errors of all files are listed at once.

    `select` is as in `select_workloads`.
    """
    selected = select_workloads(conf_dir, select, overrides, environ=environ)
    problems = [one for error in selected.broken.values() for one in problems_in(error)]
    if problems:
        raise combined(problems)
    return list(selected.workloads)


def select_workloads(
    conf_dir: Path,
    select: str | None = None,
    overrides: Mapping[str, str] | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
) -> Selected:
    """The selected workloads, by name: all, ``tag:nightly``, a name, or a glob like ``flight*``.

    Several selections are separated by commas. Raises ConfigError for a name or tag that no
    workload has.
    """
    names = workload_names(conf_dir)
    wanted = [part.strip() for part in select.split(",") if part.strip()] if select else ["*"]
    tags = [part.removeprefix("tag:") for part in wanted if part.startswith("tag:")]
    globs = [part for part in wanted if not part.startswith("tag:")]
    for glob in globs:
        if glob != "*" and not any(fnmatchcase(name, glob) for name in names):
            raise _unknown_workload(conf_dir, glob)
    loaded: dict[str, Workload] = {}
    broken: dict[str, ConfigError] = {}
    for name in names:
        if not tags and not any(fnmatchcase(name, glob) for glob in globs):
            continue
        try:
            loaded[name] = load_workload(conf_dir, name, overrides, environ=environ)
        except ConfigError as error:
            broken[name] = error
    if not broken:
        _check_tags(tags, loaded.values())
    found = (
        workload
        for name, workload in loaded.items()
        if set(tags) & set(workload.tags) or any(fnmatchcase(name, glob) for glob in globs)
    )
    return Selected(tuple(found), broken)


def workload_names(conf_dir: Path) -> list[str]:
    """The workloads that conf/ has a file for, sorted."""
    return sorted(file.stem for file in (conf_dir / "workloads").glob(f"*{_SUFFIX}"))


def environment_names(conf_dir: Path) -> list[str]:
    """The environments that `--env` may name, sorted."""
    files = [*conf_dir.glob(f"*{_SUFFIX}"), *shipped_conf().glob(f"*{_SUFFIX}")]
    return sorted({file.stem for file in files} - {"base"})


def _environment_file(conf_dir: Path, name: str) -> Path:
    for folder in (conf_dir, shipped_conf()):
        file = folder / f"{name}{_SUFFIX}"
        if file.is_file() and file.parent == folder:
            return file
    known = environment_names(conf_dir)
    where = str(conf_dir / f"{name}{_SUFFIX}")
    raise ConfigError(f"unknown environment '{name}'", where=where, hint=did_you_mean(name, known))


def _workload_file(conf_dir: Path, name: str) -> Path:
    file = conf_dir / "workloads" / f"{name}{_SUFFIX}"
    if name not in workload_names(conf_dir):
        raise _unknown_workload(conf_dir, name)
    return file


def _unknown_workload(conf_dir: Path, name: str) -> ConfigError:
    known = workload_names(conf_dir)
    hint = did_you_mean(name, known) if known else "write one with: lakescore init"
    return ConfigError(f"unknown workload '{name}'", where=str(conf_dir / "workloads"), hint=hint)


def _check_tags(tags: Iterable[str], workloads: Iterable[Workload]) -> None:
    known = {tag for workload in workloads for tag in workload.tags}
    for tag in tags:
        if tag not in known:
            hint = did_you_mean(tag, known)
            raise ConfigError(f"no workload has the tag '{tag}'", where="--select", hint=hint)


def _read(file: Path, environ: Mapping[str, str], problems: list[ConfigError]) -> Node:
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        what = f"the file is not UTF-8 text (byte {error.start + 1})"
        raise ConfigError(what, where=str(file), hint="save it as UTF-8") from None
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=str(file)) from error
    tree = TreeReader(str(file), environ, problems).read(text)
    if not isinstance(tree.value, dict):
        found = "a list" if isinstance(tree.value, list) else "one value"
        what = f"the file must be a mapping of keys, found {found}"
        raise ConfigError(what, where=str(tree.origin), hint="write `key: value` lines")
    return tree


def _validate(tree: Node, model: type[Model], problems: list[ConfigError]) -> Model:
    try:
        validated = model.model_validate(tree.plain())
    except ValidationError as error:
        raise combined([*problems, *problems_of(error, model, tree)]) from None
    if problems:
        raise combined(problems)
    return attach_secrets(validated, tree.all_secrets(shown=_SHOWN))


def _origin_of(tree: Node, key: str) -> Origin:
    return tree.value[key].node.origin if isinstance(tree.value, dict) else tree.origin
