"""The local cache of compiled LightGBM models.

What is in it is native code, made on this host from a model's text and never shipped. One folder
a model, keyed by the model's hash, the compiler's version, and the processor's name and features:

    <cache>/<key>/model.txt     the text that was compiled, which lleaves reads the shape from
    <cache>/<key>/model.o       the object
    <cache>/<key>/seal.json     the SHA-256 of both, or that the compiled model was not equal

lleaves loads an object without looking at it, so ours is checked against its seal first. A folder
appears whole, by a rename. One process a host compiles; others score with LightGBM meanwhile.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakescore.cache_folder import cache_folder
from lakescore.hashing import folder_hashes, json_sha256
from lakescore.models.lightgbm.booster import interpreted, rewritten
from lakescore.models.lightgbm.edge_rows import edge_rows
from lakescore.models.lightgbm.text import read_model_text

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

log = logging.getLogger(__name__)

FORMAT = 1
_MODEL, _OBJECT, _SEAL, _SCRATCH = "model.txt", "model.o", "seal.json", ".compile-"

#: One tree a block: the trees of a row are added one by one, as LightGBM adds them. Larger blocks
#: add up by themselves first and differ in the last bit. As fast, and compiles faster.
_TREES_PER_BLOCK = 1

#: llvmlite swallows the error of a write that finds the disk full, and half an object remains.
_ROOM_BYTES = 256 << 20


@dataclass(frozen=True)
class Host:
    """What native code depends on, beside the model."""

    cpu: str
    features: str
    compiler: str


class CompiledModel:
    """A loaded native model."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def predict(self, matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Score a C-contiguous float64 matrix on this thread."""
        scores: npt.NDArray[np.float64] = self._model.predict(matrix, n_jobs=1)
        return scores


@dataclass
class CompileCache:
    """Compiled models under `root`, for `host`. Without a host or a root it is always empty."""

    root: Path | None
    host: Host | None
    _loaded: dict[str, CompiledModel | None] = field(default_factory=dict)

    def load(self, model_sha256: str) -> CompiledModel | None:
        """The compiled model; None when there is none for this host, or it is not as sealed."""
        if model_sha256 in self._loaded:
            return self._loaded[model_sha256]
        folder = self.folder(model_sha256)
        if folder is None or not (folder / _SEAL).exists():
            return None
        self._loaded[model_sha256] = _load(folder)
        return self._loaded[model_sha256]

    def compile(self, model_sha256: str, model_text: str) -> None:
        """Compile unless it is there, cannot be done here, or another process is compiling."""
        folder = self.folder(model_sha256)
        if folder is None or self.load(model_sha256) is not None or _is_sound(folder):
            return
        try:
            with _only_one(folder.parent) as alone:
                if alone and not _is_sound(folder):
                    _fill(folder, rewritten(model_text))
        except OSError as error:
            log.warning("not compiled, the cache cannot be written: %s", error)
        self._loaded.pop(model_sha256, None)

    def folder(self, model_sha256: str) -> Path | None:
        """Where the compiled form of a model is, or would be."""
        if self.root is None or self.host is None:
            return None
        key = {"model": model_sha256, "format": FORMAT, **vars(self.host)}
        return self.root / json_sha256(key)[:32]


@lru_cache(maxsize=1)
def this_host() -> Host | None:
    """This machine and its compiler; None without lleaves."""
    if find_spec("lleaves") is None or find_spec("llvmlite") is None:
        return None
    import llvmlite.binding as llvm

    try:
        features = llvm.get_host_cpu_features().flatten()
    except RuntimeError:
        features = ""
    compiler = f"lleaves {version('lleaves')} llvmlite {version('llvmlite')}"
    return Host(llvm.get_host_cpu_name(), features, compiler)


def local_cache() -> CompileCache:
    """The cache of this user on this host, in LAKESCORE_CACHE or the user's cache folder."""
    try:
        return _cache_in(cache_folder())
    except RuntimeError:  # a user without a home
        return CompileCache(None, None)


@lru_cache(maxsize=4)
def _cache_in(folder: Path) -> CompileCache:
    return CompileCache(folder / "compiled", this_host())


def _load(folder: Path) -> CompiledModel | None:
    if not _is_sound(folder):
        log.warning("%s is not as it was sealed; it is not used", folder)
        return None
    if not (folder / _OBJECT).exists():
        return None
    return CompiledModel(_lleaves(folder))


def _lleaves(folder: Path) -> Any:
    import lleaves

    model = lleaves.Model(str(folder / _MODEL))
    model.compile(cache=str(folder / _OBJECT), fblocksize=_TREES_PER_BLOCK)
    return model


def _is_sound(folder: Path) -> bool:
    """Written by this user alone, complete, and as sealed."""
    try:
        status = folder.stat()
        if status.st_uid != os.getuid() or status.st_mode & 0o022:
            return False
        sealed = json.loads((folder / _SEAL).read_text(encoding="utf-8"))
        found = folder_hashes(folder)
    except (OSError, ValueError):
        return False
    return bool(found.pop(_SEAL, None)) and sealed.get("files") == found


def _fill(folder: Path, text: str) -> None:
    """Compile in a folder beside it, compare with LightGBM, seal, rename."""
    scratch = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=folder.parent))
    try:
        (scratch / _MODEL).write_text(text, encoding="utf-8")
        reason = _compiled_wrongly(scratch, text)
        if reason is not None:
            log.warning("scored without compiling: %s", reason)
            (scratch / _MODEL).unlink()
            (scratch / _OBJECT).unlink(missing_ok=True)
        seal = {"files": folder_hashes(scratch), "not_used": reason}
        (scratch / _SEAL).write_text(json.dumps(seal), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _compiled_wrongly(scratch: Path, text: str) -> str | None:
    """Compile; say why the result must not be used, or None."""
    model = read_model_text(text, str(scratch))
    if model.is_linear:
        return "lleaves ignores the linear functions in this model's leaves"
    if model.classes:
        return "of several classes lleaves' probabilities differ from LightGBM's in the last bit"
    try:
        compiled = CompiledModel(_lleaves(scratch))
    except Exception as error:  # lleaves raises assertions and LLVM errors alike
        return f"lleaves cannot compile it: {type(error).__name__}: {error}"
    rows = edge_rows(model)
    differing = int((compiled.predict(rows) != interpreted(text, rows)).sum())
    return f"{differing} of {len(rows)} test rows differ" if differing else None


@contextmanager
def _only_one(root: Path) -> Iterator[bool]:
    """Whether this process may compile. What a killed one left behind is removed first."""
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (root / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        for left in root.glob(f"{_SCRATCH}*"):
            shutil.rmtree(left, ignore_errors=True)
        has_room = shutil.disk_usage(root).free >= _ROOM_BYTES
        if not has_room:
            log.warning("not compiled: less than %d MiB are free in %s", _ROOM_BYTES >> 20, root)
        yield has_room
