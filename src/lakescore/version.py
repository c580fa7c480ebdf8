"""The version of the code that runs."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def code_version() -> str:
    """The installed version; a checkout that was never installed says so."""
    try:
        return version("lakescore")
    except PackageNotFoundError:
        return "0+uninstalled"
