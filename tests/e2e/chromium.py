"""A headless Chromium for tests, driven over its DevTools pipe with the standard library alone."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import struct
import subprocess
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_DEADLINE = 60.0
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)


def find_chromium() -> str:
    """The path of a Chromium, or the test is skipped with how to get one."""
    chosen = os.environ.get("CHROMIUM")
    found = chosen or next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        pytest.skip(
            "no Chromium: install it (apt-get install chromium, brew install --cask chromium) "
            "or name one in the CHROMIUM variable"
        )
    return found


class Browser:
    """One page. Everything it asked for and complained about is kept in `requests`, `problems`."""

    def __init__(self, process: subprocess.Popen[bytes], reader: int, writer: int) -> None:
        self._process, self._reader, self._writer = process, reader, writer
        self._buffer, self._last, self._session = b"", 0, ""
        self.requests: list[str] = []
        self.problems: list[str] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self._call(f"{domain}.enable")

    def show(self, path: Path, *, width: int, scheme: str, height: int = 900) -> None:
        """Open a file at a viewport width, in the 'light' or 'dark' colour scheme."""
        self.requests.clear()
        self.problems.clear()
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                   deviceScaleFactor=1, mobile=False)  # fmt: skip
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self._call("Emulation.setEmulatedMedia", media="screen", features=[feature])
        self._call("Page.navigate", url=path.resolve().as_uri())
        self._wait_for("Page.loadEventFired")
        self.run("document.fonts.ready.then(() => new Promise(requestAnimationFrame))")

    def print_view(self) -> None:
        """Show the page as it would be printed for someone who prefers dark screens."""
        feature = {"name": "prefers-color-scheme", "value": "dark"}
        self._call("Emulation.setEmulatedMedia", media="print", features=[feature])

    def run(self, script: str) -> Any:
        """The JSON value of a JavaScript expression (or of the promise that it gives)."""
        answer = self._call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def screenshot(self, *, whole_page: bool = True) -> bytes:
        """A PNG."""
        answer = self._call("Page.captureScreenshot", captureBeyondViewport=whole_page)
        return base64.b64decode(answer["data"])

    def pixel(self, x: int, y: int) -> tuple[int, int, int]:
        """The colour that is really painted at a place of the viewport."""
        clip = {"x": x, "y": y, "width": 1, "height": 1, "scale": 1}
        answer = self._call("Page.captureScreenshot", clip=clip)
        return _only_pixel(base64.b64decode(answer["data"]))

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._writer, json.dumps(message).encode() + b"\0")
        for answer in self._messages():
            if answer.get("id") == self._last:
                assert "error" not in answer, (method, answer)
                return answer["result"]
        raise AssertionError("unreachable")

    def _wait_for(self, event: str) -> None:
        for message in self._messages():
            if message.get("method") == event:
                return

    def _messages(self) -> Iterator[dict[str, Any]]:
        end = time.monotonic() + _DEADLINE
        while True:
            while b"\0" in self._buffer:
                text, self._buffer = self._buffer.split(b"\0", 1)
                message = json.loads(text)
                self._note(message)
                yield message
            ready, _, _ = select.select([self._reader], [], [], max(0.0, end - time.monotonic()))
            chunk = os.read(self._reader, 1 << 20) if ready else b""
            assert chunk, f"Chromium gave no answer (exit status {self._process.poll()})"
            self._buffer += chunk

    def _note(self, message: dict[str, Any]) -> None:
        method, values = message.get("method"), message.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(values["request"]["url"])
        elif method == "Log.entryAdded":
            self.problems.append(values["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and values["type"] in {"error", "warning"}:
            self.problems.append(str(values["args"]))
        elif method == "Runtime.exceptionThrown":
            self.problems.append(values["exceptionDetails"]["text"])


@contextmanager
def open_browser(profile: Path) -> Iterator[Browser]:
    """A running browser with a profile of its own; ended with all its processes on the way out."""
    chromium = find_chromium()
    # Chromium reads commands from descriptor 3 and answers on 4. Both ends are first moved out
    # of the way, so that neither is lost when they are put there in the child.
    theirs_in, ours_out = map(_move_up, os.pipe())
    ours_in, theirs_out = map(_move_up, os.pipe())

    def place_pipes() -> None:
        os.dup2(theirs_in, 3)
        os.dup2(theirs_out, 4)

    process = subprocess.Popen(
        [chromium, *_FLAGS, f"--user-data-dir={profile}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=place_pipes,  # noqa: PLW1509 - it only calls dup2
        close_fds=False,
        start_new_session=True,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Browser(process, ours_in, ours_out)
    finally:
        os.close(ours_out)
        os.close(ours_in)
        deadline = time.monotonic() + 5
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=10)


def _move_up(descriptor: int) -> int:
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return moved


def _only_pixel(png: bytes) -> tuple[int, int, int]:
    """The colour of a PNG of one pixel: no filter can change a lone first pixel."""
    data, place = b"", 8
    while place < len(png):
        (length,), kind = struct.unpack(">I", png[place : place + 4]), png[place + 4 : place + 8]
        if kind == b"IDAT":
            data += png[place + 8 : place + 8 + length]
        place += 12 + length
    row = zlib.decompress(data)
    return row[1], row[2], row[3]
