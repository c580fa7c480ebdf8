"""Staged rows of runs that died: told by the lock that a living run holds, and removed.

A run holds an advisory lock on `RUN_ID.lock` beside its staged folder for as long as it lives;
the kernel lets go of it however the process ends. So a lock that can be taken belongs to a run
that is dead. That is believed of runs of this machine alone, for not every shared file system
carries locks between machines: what others left, and folders without a lock, go when nothing in
them changed for `UNTOUCHED_DAYS`. Only folders of this machine (or mounted here) are looked at.
"""

from __future__ import annotations

import fcntl
import logging
import platform
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lakescore.lake.tables import local_folder

log = logging.getLogger("lakescore")

#: Longer than any run lives.
UNTOUCHED_DAYS = 7
_RUN_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")


@contextmanager
def held(folder: str) -> Iterator[None]:
    """Hold the lock that says that the run of this staged folder lives.

    Where the file system knows no locks (or is full) the run goes on without: its folder is then
    safe for `UNTOUCHED_DAYS`.
    """
    local = local_folder(folder)
    if local is None:
        yield
        return
    lock = _lock_of(local)
    unseen = lock.with_name(f".{lock.name}")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with unseen.open("wb", buffering=0) as file:
        try:
            file.write(platform.node().encode())
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Locked before anyone can see it, so that nobody can take it in between.
            unseen.rename(lock)
        except OSError:
            unseen.unlink()
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def remove_leftovers(staging: str) -> list[str]:
    """Remove what dead runs left below `staging`; the ids of these runs. Of living ones nothing."""
    root = local_folder(staging)
    if root is None or not root.is_dir():
        return []
    names = {path.name.removesuffix(".lock") for path in root.iterdir()}
    runs = sorted(name for name in names if _RUN_ID.fullmatch(name))
    removed = [run_id for run_id in runs if _removed(root / run_id)]
    if removed:
        log.info("removed the staged rows of runs that died: %s", ", ".join(removed))
    return removed


def _removed(folder: Path) -> bool:
    lock = _lock_of(folder)
    try:
        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            dead = file.read() == platform.node() or _is_untouched(folder)
            return dead and _remove(folder, lock)
    except FileNotFoundError:
        return folder.is_dir() and _is_untouched(folder) and _remove(folder, lock)
    except OSError:
        return False  # it lives, or is not ours to read


def _remove(folder: Path, lock: Path) -> bool:
    shutil.rmtree(folder, ignore_errors=True)
    lock.unlink(missing_ok=True)
    return not folder.exists()


def _is_untouched(folder: Path) -> bool:
    """Whether nothing at the folder's top changed for long; so it is when there is no folder."""
    if not folder.exists():
        return True
    return time.time() - folder.stat().st_mtime > UNTOUCHED_DAYS * 86_400


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")
