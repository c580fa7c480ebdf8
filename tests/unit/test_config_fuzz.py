"""Whatever a file holds, it loads or is refused in plain words: never a traceback."""

import copy
import json

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from lakescore.config.loader import load_workload, shipped_conf
from lakescore.config.yaml_tree import TreeReader
from lakescore.errors import ConfigError

_SHIPPED = TreeReader("x", {}).read(
    (shipped_conf() / "workloads" / "flight_delays.yml").read_text()
)
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(
        ["", "x", "a b", "rand()", "1 hour", "2013-09-30", "`", "sum(x)", "models:/"]
    ),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["name", "on", "avg", "kind", "column"]), inner, max_size=2
        )
    ),
    max_leaves=4,
)


@st.composite
def broken_workloads(draw: DrawFn) -> dict:
    """The shipped workload with something else in one random place."""
    whole = copy.deepcopy(_SHIPPED.plain())
    here = whole
    while True:
        key = draw(st.sampled_from(sorted(here) if isinstance(here, dict) else range(len(here))))
        below = here[key]
        if not isinstance(below, (dict, list)) or not below or draw(st.integers(0, 3)) == 0:
            break
        here = below
    here[key] = draw(_VALUES)
    return whole


@settings(max_examples=100, deadline=None)
@given(broken_workloads())
def test_a_broken_workload_is_refused_in_plain_words(tmp_path_factory, workload):
    folder = tmp_path_factory.mktemp("conf")
    (folder / "workloads").mkdir()
    (folder / "workloads" / "w.yml").write_text(json.dumps({**workload, "name": "w"}))
    try:
        load_workload(folder, "w")
    except ConfigError as error:
        message = str(error)
        assert "w.yml:1:" in message
        for jargon in ("pydantic", "Input should", "value_error", "Traceback", "http"):
            assert jargon not in message


@settings(max_examples=60, deadline=None)
@given(st.text("ab:-[]{}#&*!|>'\"%@`, \n\t${env}", max_size=30))
def test_any_text_is_read_or_refused(text):
    try:
        TreeReader("x.yml", {}).read(text)
    except ConfigError as error:
        assert "x.yml" in str(error)
