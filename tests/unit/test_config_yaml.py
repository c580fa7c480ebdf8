"""YAML is read as YAML 1.2 means it, and what is not plain data is refused with a position."""

import pytest

from lakescore.config.yaml_tree import TreeReader
from lakescore.errors import ConfigError


def read(text: str, **environ: str) -> object:
    reader = TreeReader("w.yml", environ)
    tree = reader.read(text)
    assert reader.problems == []
    return tree.plain()


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        TreeReader("w.yml", {}).read(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on: flight_id", {"on": "flight_id"}),
        ("yes: no", {"yes": "no"}),
        ("countries: [no, se, on, off, y]", {"countries": ["no", "se", "on", "off", "y"]}),
        ("a: true\nb: False", {"a": True, "b": False}),
        ("a: 2013-09-30", {"a": "2013-09-30"}),
        ("a: 12:30", {"a": "12:30"}),
        ("a: 007\nb: 1_000\nc: 0x1f", {"a": "007", "b": "1_000", "c": "0x1f"}),
        ("a: 1e-3\nb: -5\nc: .5\nd: 1.", {"a": 0.001, "b": -5, "c": 0.5, "d": 1.0}),
        ("a: .inf\nb: .nan", {"a": ".inf", "b": ".nan"}),
        ("a: '1'\nb: \"true\"", {"a": "1", "b": "true"}),
        ("a:\nb: ~", {"a": None, "b": None}),
        ("<<: {a: 1}", {"<<": {"a": 1}}),
    ],
)
def test_plain_values_mean_what_they_look_like(text, value):
    assert read(text) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: !!python/object:os.system x", "w.yml:1:4: the tag tag:yaml.org,2002:python"),
        ("a: !env X", "w.yml:1:4: the tag !env is not allowed"),
        ("a: !!str 5", "w.yml:1:4: the tag"),
        ("a: [1]\nb: *a", "w.yml:2:4: aliases (*name) are not allowed"),
        ("a: &a [1]", "w.yml:1:4: anchors (&name) are not allowed"),
        ("a:\n\tb: 1", "w.yml:2:1: a tab is used for indentation"),
        ("a: 'x\nb: 2", "w.yml:1:4: a quote is opened here and never closed"),
        ('a: "x', "w.yml:1:4: a quote is opened here and never closed"),
        ("a: b: c", "w.yml:1:5: a second ': ' on one line"),
        ("a: [1, 2", "w.yml:1:9: a list that is not closed"),
        ("a: {b: 1", "w.yml:1:9: a mapping that is not closed"),
        ("a: `x`", "w.yml:1:4: a value begins with a character that YAML reserves"),
        ("a:\n  b: 1\n c: 2", "w.yml:3:2: this line does not fit the lines above it"),
        ("a: 1\n---\nb: 1", "w.yml:2:1: a second document begins here"),
        ("? [a]\n: 1", "w.yml:1:3: a key must be plain text"),
        ("a: \x01", "w.yml:1:4: the character U+0001 is not allowed"),
        ("[" * 1000, "nested too deeply"),
        ("# nothing\n", "w.yml: the file is empty"),
    ],
)
def test_what_is_not_plain_yaml_is_refused_with_its_position(text, message):
    lines = refusal(text).splitlines()
    assert message in lines[0]
    assert len(lines) <= 2


def test_duplicate_keys_are_listed_with_both_lines():
    reader = TreeReader("w.yml", {})
    reader.read("a:\n  x: 1\n  x: 2\nb: 1\nb: 2\n")
    assert [str(problem) for problem in reader.problems] == [
        "w.yml:3:3: a.x: duplicate key\n  -> it is first set on line 2",
        "w.yml:5:1: b: duplicate key\n  -> it is first set on line 4",
    ]


def test_values_from_the_environment_are_filled_in_and_remembered():
    reader = TreeReader("w.yml", {"USER": "ann", "PW": "s3cret"})
    tree = reader.read("uri: db://${env:USER}:${env:PW}@host\nplain: ${other}\nn: [1]")
    assert tree.plain() == {"uri": "db://ann:s3cret@host", "plain": "${other}", "n": [1]}
    assert tree.all_secrets() == {"ann", "s3cret"}


def test_unset_and_misspelt_references_are_all_listed():
    reader = TreeReader("w.yml", {})
    reader.read("a: ${env:NOPE}\nb: {c: '${ENV:X}'}")
    assert [str(problem) for problem in reader.problems] == [
        "w.yml:1:4: a: the environment variable NOPE is not set",
        "w.yml:2:8: b.c: ${ENV:X} is not a reference\n  -> write ${env:NAME}",
    ]
