"""The wheel, built and installed alone in an environment of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.scripts import load_script

ROOT = Path(__file__).resolve().parents[2]


def test_wheel_brings_its_configuration_and_commands(tmp_path: Path, capsys) -> None:
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(tmp_path),
    ]
    subprocess.run([*command, str(ROOT)], check=True, capture_output=True)
    code = load_script("check_wheel").main(str(tmp_path))
    printed = capsys.readouterr()
    assert code == 0, printed.err
    assert "conf/ included, runs" in printed.out
