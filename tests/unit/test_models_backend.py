"""Which backend fits LightGBM, and why: known without fitting."""

from __future__ import annotations

import platform

import pytest

from lakescore.errors import EnvironmentProblem, MissingExtra
from lakescore.models import candidate, check_parameters
from lakescore.models.lightgbm import backend


def chosen(wanted: str = "auto"):
    return candidate("lightgbm").backend(check_parameters("lightgbm", {"backend": wanted}))


@pytest.fixture
def without_package(monkeypatch):
    monkeypatch.setattr(backend, "_has_package", lambda: False)


@pytest.fixture
def on_apple_silicon(monkeypatch):
    monkeypatch.setattr(backend, "_has_package", lambda: True)
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")


@pytest.fixture
def on_linux(monkeypatch):
    monkeypatch.setattr(backend, "_has_package", lambda: True)
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")


def test_synapse_where_it_can_load(on_linux):
    assert chosen().name == "synapse"
    assert "if the session has its jars" in chosen().reason


def test_native_where_synapse_is_not_installed(without_package):
    assert chosen().name == "native"
    assert "synapseml is not installed" in chosen().reason


def test_native_on_apple_silicon(on_apple_silicon):
    assert chosen().name == "native"
    assert "no library for Darwin arm64" in chosen().reason


def test_native_when_the_workload_says_so(on_linux):
    assert chosen("native") == backend.Backend("native", "chosen in the workload")


def test_synapse_asked_for_and_not_installed_names_the_extra(without_package):
    with pytest.raises(MissingExtra, match="needs the package 'synapseml'") as caught:
        chosen("synapse")
    assert caught.value.hint == "pip install 'lakescore[synapse]'"


def test_synapse_asked_for_where_it_cannot_run_is_refused(on_apple_silicon):
    with pytest.raises(EnvironmentProblem, match="no library for Darwin arm64") as caught:
        chosen("synapse")
    assert "backend: native" in caught.value.hint
