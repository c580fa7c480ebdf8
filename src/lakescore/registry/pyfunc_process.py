"""Scores batches with a foreign pyfunc model: the parent's side of `pyfunc_child`."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import weakref
import zipfile
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa

from lakescore.arrow_types import cast_columns
from lakescore.errors import LakescoreError, ModelBroken
from lakescore.hashing import folder_hashes, json_sha256
from lakescore.matrix import Answers
from lakescore.registry.pyfunc_child import LOADED, NAMES

if TYPE_CHECKING:
    import numpy.typing as npt

START_SECONDS, BATCH_SECONDS = 300.0, 600.0
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH")
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_COMMAND = (sys.executable, "-m", "lakescore.registry.pyfunc_child")
_SHOWN_LINES, _SHOWN_CHARACTERS = 12, 2000


class PyfuncScorer:
    """A pyfunc model as a batch scorer. Its files travel with the task; the child starts at use.

    One child serves one Python worker, at one thread. It is killed with its scorer, ends when the
    worker dies, and sees only PATH, HOME, locale and thread settings of the environment.
    """

    answers: ClassVar[Answers] = Answers()

    def __init__(
        self,
        folder: Path,
        inputs: Mapping[str, str],
        *,
        start_seconds: float = START_SECONDS,
        batch_seconds: float = BATCH_SECONDS,
    ) -> None:
        self.inputs = dict(inputs)
        self.sha256 = json_sha256({"files": folder_hashes(folder), "inputs": list(inputs.items())})
        self._archive = _packed(folder)
        self._start_seconds = start_seconds
        self._batch_seconds = batch_seconds
        self._child: _Child | None = None

    def predict(self, batch: pa.RecordBatch) -> npt.NDArray[np.float64]:
        """Score a batch; shape (rows,).

        Raises TypeMismatch and ColumnMissing for what does not fit, ModelBroken with the last of
        the child's standard error when it fails or overruns its deadline.
        """
        rows = cast_columns(batch, self.inputs)
        if not rows.num_rows:
            return np.empty(0)
        if self._child is None:
            self._child = _Child(self._archive, rows.schema, self._start_seconds)
        return self._child.predict(rows, self._batch_seconds)

    def close(self) -> None:
        """End the child now."""
        if self._child is not None:
            self._child.close()
            self._child = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_child": None}


def names_told(folder: Path, *, seconds: float = START_SECONDS) -> tuple[str, ...] | None:
    """The columns that a pyfunc model was fitted on, in its order; None where it does not tell.

    Loads it, which runs its code, in a process like the one that scores. Raises ModelBroken.
    """
    with tempfile.TemporaryDirectory(prefix="lakescore-model-") as workplace:
        model = Path(workplace) / "model"
        shutil.copytree(folder, model)
        try:
            answer = subprocess.run(
                [*_COMMAND, str(model), NAMES],
                capture_output=True,
                cwd=workplace,
                env=_environment(),
                timeout=seconds,
                check=True,
            )
        except subprocess.TimeoutExpired as error:
            raise _broken(f"took more than {seconds:g} s to load", ()) from error
        except subprocess.CalledProcessError as error:
            said = error.stderr.decode(errors="replace").splitlines()
            raise _broken("failed to load", said) from error
    names = json.loads(answer.stdout)
    return None if names is None else tuple(names)


def _broken(end: str, said: Iterable[str]) -> ModelBroken:
    last = "\n".join(list(said)[-_SHOWN_LINES:])[-_SHOWN_CHARACTERS:]
    return ModelBroken(
        f"the model's process {end}; it said last: {last.strip() or '(nothing)'}",
        hint="try it alone: mlflow.pyfunc.load_model(…).predict(…) in the same environment",
    )


class _Child:
    def __init__(self, archive: bytes, schema: pa.Schema, seconds: float) -> None:
        workplace = Path(tempfile.mkdtemp(prefix="lakescore-model-"))
        _unpack(archive, workplace / "model")
        self._process = subprocess.Popen(
            [*_COMMAND, str(workplace / "model")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=workplace,
            env=_environment(),
            start_new_session=True,
        )
        assert self._process.stdin and self._process.stdout  # noqa: S101 - both are pipes
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self.close = weakref.finalize(self, _end, self._process, workplace)
        self._said: deque[str] = deque(maxlen=200)
        self._listener = threading.Thread(
            target=_listen, args=(self._process.stderr, self._said), daemon=True
        )
        self._listener.start()
        with self._deadline(seconds, "to load"):
            if self._stdout.read(len(LOADED)) != LOADED:
                raise EOFError
        self._rows = pa.ipc.new_stream(self._stdin, schema)
        self._answers: pa.ipc.RecordBatchStreamReader | None = None

    def predict(self, rows: pa.RecordBatch, seconds: float) -> npt.NDArray[np.float64]:
        with self._deadline(seconds, "to score a batch"):
            self._rows.write_batch(rows)
            self._stdin.flush()
            if self._answers is None:  # Arrow writes a stream's schema with its first batch
                self._answers = pa.ipc.open_stream(self._stdout)
            answer = self._answers.read_next_batch()
        scores = answer.column(0)
        result: npt.NDArray[np.float64] = scores.fill_null(float("nan")).to_numpy(
            zero_copy_only=False
        )
        return result

    @contextlib.contextmanager
    def _deadline(self, seconds: float, doing: str) -> Iterator[None]:
        """Kill the child when time is up: its end is what wakes a blocked read."""
        overran = threading.Event()

        def end() -> None:
            overran.set()
            _kill(self._process)

        timer = threading.Timer(seconds, end)
        timer.start()
        try:
            yield
        except (pa.ArrowException, OSError, EOFError, StopIteration, ValueError) as error:
            raise self._failure(seconds if overran.is_set() else None, doing) from error
        finally:
            timer.cancel()

    def _failure(self, overran: float | None, doing: str) -> LakescoreError:
        _kill(self._process)
        self._listener.join(2)
        self.close()
        end = f"took more than {overran:g} s {doing}" if overran else f"failed {doing}"
        return _broken(end, self._said)


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {
        **kept,
        **dict.fromkeys(_ONE_THREAD, "1"),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTHONSAFEPATH": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "true",
    }


def _packed(folder: Path) -> bytes:
    content = BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            archive.write(path, path.relative_to(folder).as_posix())
    return content.getvalue()


def _unpack(archive: bytes, folder: Path) -> None:
    folder.mkdir()
    with zipfile.ZipFile(BytesIO(archive)) as content:
        content.extractall(folder)


def _listen(stream: IO[bytes], said: deque[str]) -> None:
    for line in stream:
        said.append(line.decode(errors="replace").rstrip()[:_SHOWN_CHARACTERS])


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _end(process: subprocess.Popen[bytes], workplace: Path) -> None:
    _kill(process)
    process.wait(10)
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
    shutil.rmtree(workplace, ignore_errors=True)
