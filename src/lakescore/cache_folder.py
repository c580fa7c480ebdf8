"""Where lakescore caches what it can make again: jars, archives of classes, wheels. Pure Python."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """LAKESCORE_CACHE, else lakescore's folder in the user's cache.

    Raises RuntimeError for a user without a home.
    """
    own = os.environ.get("LAKESCORE_CACHE")
    if own:
        return Path(own).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "lakescore"
