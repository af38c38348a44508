"""YAML that anybody may have written: plain values, and an end in a moment whatever it holds.

YAML lets a value stand for another (`*name`), which a few lines can make a billion values of, lets it contain itself,
and has tags that make objects of texts. Here values are mappings, lists, texts, numbers of at most 64 bits, true, false
and nothing. A date is a text, as no setting is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

DEEPEST = 50
"""Levels of values within values."""
MOST_REPEATED = 100_000
"""Values that aliases stand for, beyond those that are written out."""
LARGEST_NUMBER = 2**63

_TOO_DEEP = f"values lie within values, more than {DEEPEST} levels deep"

_PLAIN = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "str", "int", "float", "bool", "null", "merge")
)


class _PlainLoader(yaml.SafeLoader):
    """PyYAML's safe loader, of plain values alone."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as PyYAML has it
        first: [(tag, pattern) for tag, pattern in known if tag in _PLAIN]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    _levels = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """The node of the next value, with those inside."""
        if self._levels >= DEEPEST:
            raise yaml.MarkedYAMLError(problem=_TOO_DEEP, problem_mark=self.get_mark())
        self._levels += 1
        node = super().compose_node(parent, index)
        self._levels -= 1
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """The value of a node; a text that its tag does not fit is an error of the document."""
        try:
            value = super().construct_object(node, deep)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError):
            raise _refusal(f"the value is no {_kind(node)}", node) from None
        if type(value) is int and abs(value) >= LARGEST_NUMBER:
            raise _refusal("the number has more than 64 bits", node)
        return value


def parse_yaml(text: str) -> Any:
    """The value that a YAML document stands for.

    Raises:
        ValueError: it is no YAML, or holds what is no plain value, or too much of it.
    """
    try:
        loader = _PlainLoader(text)
        root = loader.get_single_node()
        if root is None:
            return None
        _check(root)
        return loader.construct_document(root)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None


class _Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper, which writes some separators of lines in a way that it does not read."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    escaped = '"' if any(separator in text for separator in "\x85\u2028\u2029") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=escaped)


_Dumper.add_representer(str, _text)


def dump_yaml(value: Any) -> str:
    """A document that stands for a plain value; `parse_yaml` gives it back."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120))


def _check(root: yaml.Node) -> None:
    """Refuse tags of other values, values that contain themselves, and too many levels or repetitions of values."""
    sizes: dict[yaml.Node, int] = {}  # with all that is inside, as often as it is there
    levels: dict[yaml.Node, int] = {}
    path: dict[yaml.Node, Iterator[yaml.Node]] = {root: _inside(root)}
    while path:
        node, left = next(reversed(path.items()))
        inner = next(left, None)
        if inner is None:
            path.popitem()
            if node.tag not in _PLAIN:
                raise _refusal(f"the tag {node.tag} has no meaning here", node)
            sizes[node] = 1 + sum(sizes[each] for each in _inside(node))
            levels[node] = 1 + max((levels[each] for each in _inside(node)), default=0)
            if levels[node] > DEEPEST:
                raise _refusal(_TOO_DEEP, node)
        elif inner in path:
            raise _refusal("the value contains itself", inner)
        elif inner not in sizes:
            path[inner] = _inside(inner)
    if sizes[root] - len(sizes) > MOST_REPEATED:
        raise _refusal(f"its aliases (*name) repeat more than {MOST_REPEATED} values", root)


def _inside(node: yaml.Node) -> Iterator[yaml.Node]:
    for inner in () if isinstance(node, yaml.ScalarNode) else node.value:
        if isinstance(inner, tuple):
            yield from inner
        else:
            yield inner


def _kind(node: yaml.Node) -> str:
    return str(node.tag).rpartition(":")[2]


def _refusal(problem: str, node: yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
