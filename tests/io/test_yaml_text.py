"""YAML that anybody may have written: plain values, and an end in a moment."""

from __future__ import annotations

import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bioseg_cli.io.yaml_text import DEEPEST, MOST_REPEATED, dump_yaml, parse_yaml

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 30)
)
MERGED = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 20))


def nested(levels: int) -> str:
    return f"a: {'[' * levels}{']' * levels}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, r"aliases .* repeat more than 100000 values"),
        (MERGED, r"aliases .* repeat more than 100000 values"),
        ("a: &a [1, *a]", "contains itself.*line 1, column 4"),
        ("&a {b: {c: *a}}", "contains itself"),
        ("a: &a {<<: *a}", "contains itself"),
        (nested(DEEPEST), f"more than {DEEPEST} levels"),
        (nested(100_000), f"more than {DEEPEST} levels"),
        ("a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 60)), f"more than {DEEPEST} levels"),
        ("- " * 100_000 + "x", f"more than {DEEPEST} levels"),
        ("a: 1\nb: !!int x", "the value is no int.*line 2, column 4"),
        ("a: !!float [1]", "expected a scalar node"),
        ("a: !!float x", "no float"),
        ("a: !!bool perhaps", "no bool"),
        ('a: !!int ""', "no int"),
        ("a: !!timestamp x", "tag:yaml.org,2002:timestamp has no meaning"),
        ("a: !!timestamp 2026-01-01", "timestamp has no meaning"),
        ("a: !!binary eA==", "binary has no meaning"),
        ("a: !!set {x}", "set has no meaning"),
        ("a: !!python/name:os.system", "has no meaning"),
        ("a: !own 1", "!own has no meaning"),
        ("a: 0x" + "f" * 5000, "more than 64 bits"),
        ("a: " + "9" * 5000, "no int"),
        ("a: " + "9" * 20, "more than 64 bits"),
        ("a: -9223372036854775808", "more than 64 bits"),
        ("? [a]\n: b", "unhashable"),
        ("a: [", "line 1"),
        ("a: 1\n---\nb: 2", "single document"),
        ("a: \x00", "special characters"),
    ],
)
def test_what_is_no_plain_value_or_too_much_is_refused(text: str, said: str):
    with pytest.raises(ValueError, match=said) as caught:
        parse_yaml(text)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("a: 2026-01-01", {"a": "2026-01-01"}),
        ("a: 2026-01-01T00:00:00+00:00", {"a": "2026-01-01T00:00:00+00:00"}),
        ("a: =", {"a": "="}),
        (
            "a: [1, 0x10, 1.5, .inf, true, ~, x, '1', \"\\udce9\"]",
            {"a": [1, 16, 1.5, math.inf, True, None, "x", "1", "\udce9"]},
        ),
        ("a: 9223372036854775807", {"a": 2**63 - 1}),
        ("a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: *a", {"a": {"x": 1}, "b": {"x": 1, "y": 2}, "c": {"x": 1}}),
        ("a: !!str 1\nb: !!int '7'", {"a": "1", "b": 7}),
        (nested(DEEPEST - 2), {"a": yaml.safe_load(nested(DEEPEST - 2))["a"]}),
    ],
)
def test_plain_values(text: str, value: object):
    assert parse_yaml(text) == value


def test_many_values_that_are_written_out_are_no_repetition():
    count = MOST_REPEATED // 100
    text = "a: &a [" + ", ".join(["1"] * 99) + "]\nb: [" + ", ".join(["*a"] * count) + "]"
    assert len(parse_yaml(text)["b"]) == count
    with pytest.raises(ValueError, match="repeat"):
        parse_yaml(text.replace("b: [", "b: [*a, *a, "))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    "name", ["a\x85b", "\u2028", "\u2029c", "d\ufeff", "\udce9", "\n", "é 細", "\x1b[31m", "2026-01-01", "="]
)
def test_names_of_files_are_read_as_they_were_written(name: str):
    assert parse_yaml(dump_yaml({name: [name]})) == {name: [name]}


@given(VALUES)
def test_what_bioseg_writes_is_read_again(value: object):
    assert parse_yaml(dump_yaml(value)) == value


@given(st.text(st.sampled_from(list("&*!|>'\"%@`[]{}:,-?<#~ \n\tab01.=")), max_size=40))
def test_any_text_has_a_value_or_a_reason(text: str):
    try:
        parse_yaml(text)
    except ValueError as error:
        assert str(error)
