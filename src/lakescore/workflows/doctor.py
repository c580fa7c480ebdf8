"""What of this machine a run needs, looked at one by one. Starts no Spark session."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

from lakescore.config.settings import Settings
from lakescore.errors import LakescoreError

_MIN_FREE_BYTES = 2 * 1024**3


@dataclass(frozen=True)
class Check:
    """One thing that was looked at; `hint` says what to do when it did not pass."""

    name: str
    passed: bool
    detail: str
    hint: str = ""

    def describe(self) -> dict[str, str | bool]:
        return asdict(self)


def examine(env: str, conf: Path | None, overrides: Sequence[str]) -> list[Check]:
    """Every check, whatever the ones before it said."""
    checks = [_python(), _guarded("java", _java), _guarded("spark jars", _jars), *_engines()]
    settings: list[Settings] = []

    def configuration() -> str:
        from lakescore.config.loader import find_conf, load_settings, split_overrides

        folder = find_conf(conf)
        settings.append(load_settings(folder, env, split_overrides(overrides)[0]))
        return f"{folder}, environment {env}"

    checks.append(_guarded("configuration", configuration))
    for loaded in settings:
        checks.append(_guarded("lake", lambda: _lake(loaded)))  # noqa: B023 - called at once
        checks.append(_guarded("registry", lambda: _registry(loaded)))  # noqa: B023
    return checks


def _guarded(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, True, look())
    except LakescoreError as error:
        where = f"{error.where}: " if error.where else ""
        return Check(name, False, f"{where}{error.what}", error.hint or "")


def _python() -> Check:
    found = platform.python_version()
    fits = (3, 10) <= sys.version_info[:2] <= (3, 12)
    return Check("python", fits, found, "lakescore runs on Python 3.10, 3.11 and 3.12")


def _java() -> str:
    from lakescore.session.java import find_java

    java = find_java()
    return f"Java {java.version} at {java.home}"


def _jars() -> str:
    from lakescore.errors import EnvironmentProblem
    from lakescore.session.jars import cached_jars, needed_jars

    found = cached_jars(needed_jars())
    if found is None:
        raise EnvironmentProblem(
            "not in the cache yet", hint="the first session fetches them; it needs the network once"
        )
    return f"{len(found)} in {found[0].parent}"


def _engines() -> Iterable[Check]:
    for package, extra, gives in (
        ("lightgbm", "train", "LightGBM, native and for scoring"),
        ("llvmlite", "train", "trees scored by native code, several times faster"),
        ("synapse", "synapse", "LightGBM distributed over Spark"),
    ):
        there = find_spec(package) is not None
        detail = gives if there else f"not installed (optional: {gives}; lakescore[{extra}])"
        yield Check(package, True, detail)
    yield Check("native code", True, _native_code())


def _native_code() -> str:
    from lakescore.models.trees.kernel import kernel

    return "made for this processor" if kernel() else "none can be made here: trees score slowly"


def _lake(settings: Settings) -> str:
    root = settings.lake.root
    if root is None:
        return f"catalog {settings.lake.catalog}"
    if "://" in root:
        return root
    folder = Path(root).absolute()
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(nearest).free
    if free < _MIN_FREE_BYTES:
        from lakescore.errors import EnvironmentProblem

        raise EnvironmentProblem(
            f"only {free / 1024**3:.1f} GiB free", where=str(nearest), hint="make room for 2 GiB"
        )
    return f"{folder}, {free / 1024**3:.0f} GiB free"


def _registry(settings: Settings) -> str:
    from lakescore.registry.store import Registry

    registry = Registry(settings.registry)
    registry.versions(registry.full_name("doctor"))
    return registry.where
