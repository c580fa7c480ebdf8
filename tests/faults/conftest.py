"""What tests of faults share: registered models, and projects over them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import settings_under
from tests.linear import register_versions


@pytest.fixture(scope="session")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with every version of the linear model."""
    root = tmp_path_factory.mktemp("linear")
    register_versions(settings_under(root))
    return root
