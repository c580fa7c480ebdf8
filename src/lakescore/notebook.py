"""Configuration as a notebook reads it: by name, with the folder found as the command line does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lakescore.config import loader
from lakescore.config.settings import Settings
from lakescore.config.workload import Workload


def load_settings(
    env: str = "local", *, conf: str | Path | None = None, overrides: Sequence[str] = ()
) -> Settings:
    """conf/base.yml and conf/ENV.yml; `overrides` are texts like ``"lake.root=./lake"``.

    Raises ConfigError with file, line and column.
    """
    folder = loader.find_conf(Path(conf) if conf is not None else None)
    return loader.load_settings(folder, env, loader.split_overrides(overrides)[0])


def load_workload(
    name: str, *, conf: str | Path | None = None, overrides: Sequence[str] = ()
) -> Workload:
    """conf/workloads/NAME.yml; `overrides` are texts like ``"promotion=manual"``.

    Raises ConfigError with file, line and column.
    """
    folder = loader.find_conf(Path(conf) if conf is not None else None)
    return loader.load_workload(folder, name, loader.split_overrides(overrides)[1])
