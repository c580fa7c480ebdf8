"""The oldest stack itself: that it is what it claims to be, and that lakescore loads on it."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyspark
import pytest

import lakescore


def test_stack_is_the_old_one() -> None:
    assert sys.version_info[:2] == (3, 10)
    assert pyspark.__version__.startswith("3.3.")
    assert pd.__version__.startswith("1.5.")
    assert np.__version__.startswith("1.")
    assert pa.__version__.startswith("14.")


SOURCES = Path(lakescore.__file__).parent
#: What only the processes that train a net load: the oldest stack has no PyTorch.
TORCH = {f"lakescore.models.deep.{name}" for name in ("checkpoint", "export", "loop", "net")}
MODULES = sorted(
    found.name
    for found in pkgutil.walk_packages(lakescore.__path__, "lakescore.")
    if not found.name.endswith("__main__") and found.name not in TORCH
)


@pytest.mark.parametrize("name", MODULES)
def test_module_loads(name: str) -> None:
    importlib.import_module(name)


def test_every_spark_function_that_is_called_exists() -> None:
    from pyspark.sql import functions

    missing = {
        f"{path.relative_to(SOURCES)}:{node.lineno} F.{node.attr}"
        for path in SOURCES.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "F"
        and not hasattr(functions, node.attr)
    }
    assert not missing
