"""What does a YAML file say, and in which line? Every value stays as written; what may harm or hide is refused.

The reader works on the parser's events, so that it sees each line, and can stop before a bomb of aliases unfolds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
from yaml import (
    AliasEvent,
    CollectionStartEvent,
    Event,
    MappingEndEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from scripts.errors import KitError, Problems

Place = tuple[str | int, ...]  # keys and positions on the way from the top of the file

MAX_BYTES = 1_000_000
MAX_DEPTH = 20
MAX_UNFOLDED = 4_000_000  # characters, with all aliases written out
NODE_COST = 16  # what an empty node counts
_NOT_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]")
_NOT_IN_VALUES = re.compile(r"[\x00\ud800-\udfff]")
_NULL = ("", "~", "null", "Null", "NULL")
_NULL_TAG, _BOOL_TAG, _INT_TAG, _FLOAT_TAG = (f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float"))
_RESOLVER = yaml.resolver.Resolver()
# A number is what JSON has as one too: 0123, 12:30 and .inf stay the text they are.
_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9_]{0,300})")


@dataclass(slots=True)
class Node:
    """A value of the file: text, a list, or a mapping with the line of each key."""

    line: int
    value: str | list[Node] | dict[str, tuple[int, Node]]
    is_plain: bool = False  # text without quotes
    size: int = NODE_COST


@dataclass(frozen=True, slots=True)
class Document:
    """A file that was read."""

    name: str
    root: Node

    @property
    def data(self) -> object:
        """The tree with every value as written; only an unquoted null is None."""
        return _as_written(self.root)

    def line(self, place: Place) -> int:
        """Return the line of a key, or of the nearest above it that there is."""
        line, node = self.root.line, self.root
        for part in place:
            if isinstance(node.value, dict) and part in node.value:
                line, node = node.value[str(part)]
            elif isinstance(node.value, list) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
                line = node.line
            else:
                break
        return line

    def typed(self, place: Place) -> object:
        """Return the tree below a key with YAML's own types; None where there is nothing."""
        node = self._below(place)
        return None if node is None else _typed(node)

    def written(self, place: Place) -> str | None:
        """Return the text at a place as written; None where there is none."""
        node = self._below(place)
        return node.value if node is not None and isinstance(node.value, str) else None

    def _below(self, place: Place) -> Node | None:
        node = self.root
        for part in place:
            if not isinstance(node.value, dict) or part not in node.value:
                return None
            node = node.value[str(part)][1]
        return node


def read(path: Path, name: str = "") -> Document:
    """Read a file; every KitError says the line, never what stands there."""
    shown = name or path.name
    try:
        if not path.is_file():
            raise KitError(shown, "is not a file", "put a text file there")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise KitError(shown, "cannot be read by you", "correct its owner or its mode") from error
    return parse(content, shown)


def parse(content: bytes, name: str) -> Document:
    """Read YAML from its bytes."""
    if len(content) > MAX_BYTES:
        raise KitError(name, f"is larger than {MAX_BYTES // 1000} kB", "keep large values in files of their own")
    text = _decode(content, name)
    builder = _Builder(name)
    try:
        root = builder.build(yaml.parse(text, Loader=yaml.SafeLoader))
    # The parser lets slip what chr() says of an escape like "\U99999999".
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise Problems([*builder.problems, _syntax_error(error, name)]) from None
    except KitError as error:
        raise Problems([*builder.problems, error]) from None
    if builder.problems:
        raise Problems(builder.problems)
    return Document(name, root)


def _decode(content: bytes, name: str) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise KitError(f"{name} line {line}", "is not UTF-8 text", "save the file as UTF-8") from None
    found = _NOT_TEXT.search(text)
    if found:
        line = text.count("\n", 0, found.start()) + 1
        raise KitError(f"{name} line {line}", "holds a control character", "delete it")
    return text


def _syntax_error(error: Exception, name: str) -> KitError:
    mark = getattr(error, "problem_mark", None)
    where = f"{name} line {mark.line + 1}" if mark is not None else name
    if "'\\t'" in str(getattr(error, "problem", "")):
        return KitError(where, "is not YAML: a tab stands where only blanks may", "indent with blanks")
    fix = "mend the indentation or brackets there, and put values with special characters into quotes"
    return KitError(where, "is not YAML", fix)


class _Builder:
    """Makes the tree of nodes from the parser's events."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.problems: list[KitError] = []
        self.anchors: dict[str, Node | None] = {}  # None: still being read
        self.unfolded = 0

    def build(self, stream: Iterator[Event]) -> Node:
        kept = (event for event in stream if not isinstance(event, _MARKERS))
        first = next(kept, None)
        if first is None:
            return Node(1, "", is_plain=True)
        root = self.node(first, kept, 0)
        extra = next(kept, None)
        if extra is not None:
            self.report(extra, "begins a second document", "keep everything in one, without `---` between")
        return root

    def node(self, event: Event, stream: Iterator[Event], depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise self.problem(event, f"is nested deeper than {MAX_DEPTH} levels", "write it flatter")
        if isinstance(event, AliasEvent):
            node = self.alias(event)
            self.count(event, node.size)
            return node
        assert isinstance(event, ScalarEvent | CollectionStartEvent)  # noqa: S101 - no other begins a node
        anchor = event.anchor
        if event.tag is not None:
            self.report(event, "has a YAML tag (a word that begins with `!`)", "delete the tag, or quote the value")
        if anchor is not None:
            self.anchors[anchor] = None
        self.count(event, NODE_COST)
        node = self.content(event, stream, depth)
        if anchor is not None:
            self.anchors[anchor] = node
        return node

    def content(self, event: Event, stream: Iterator[Event], depth: int) -> Node:
        line = line_of(event)
        if isinstance(event, ScalarEvent):
            if _NOT_IN_VALUES.search(event.value):
                self.report(event, "has an escape for a character that no text can hold", "delete the escape")
            self.count(event, len(event.value))
            return Node(line, event.value, event.style is None, NODE_COST + len(event.value))
        if isinstance(event, SequenceStartEvent):
            items = []
            while not isinstance(event := next(stream), SequenceEndEvent):
                items.append(self.node(event, stream, depth + 1))
            return Node(line, items, size=NODE_COST + sum(item.size for item in items))
        return self.mapping(line, stream, depth)

    def mapping(self, line: int, stream: Iterator[Event], depth: int) -> Node:
        own: dict[str, tuple[int, Node]] = {}
        merged: list[Node] = []
        while not isinstance(event := next(stream), MappingEndEvent):
            key = self.node(event, stream, depth + 1)
            value = self.node(next(stream), stream, depth + 1)
            key_line = line_of(event)
            if not isinstance(key.value, str) or (key.is_plain and key.value in _NULL):
                self.report(event, "has a key that is not a word", "write `key: value`")
            elif key.is_plain and key.value == "<<":
                merged += self.sources(event, value)
            elif key.value in own:
                fix = f"keep one of them (the first is in line {own[key.value][0]})"
                self.report(event, "repeats a key of its mapping", fix)
            else:
                own[key.value] = (key_line, value)
        for source in merged:
            assert isinstance(source.value, dict)  # noqa: S101 - sources() returns nothing else
            own = {**source.value, **own}
        return Node(line, own, size=NODE_COST + sum(node.size for _, node in own.values()))

    def sources(self, event: Event, value: Node) -> list[Node]:
        """Return the mappings that `<<` takes in, the one that counts most first."""
        found = value.value if isinstance(value.value, list) else [value]
        if not all(isinstance(source.value, dict) for source in found):
            self.report(event, "merges (`<<`) what is not a mapping", "name the anchor of a mapping")
            return []
        return list(found)

    def alias(self, event: AliasEvent) -> Node:
        if event.anchor not in self.anchors:
            raise self.problem(event, "names an anchor that is not above it", "quote a value that begins with `*`")
        node = self.anchors[event.anchor]
        if node is None:
            raise self.problem(event, "names the anchor it is part of", "write the value itself")
        return node

    def count(self, event: Event, size: int) -> None:
        self.unfolded += size
        if self.unfolded > MAX_UNFOLDED:
            raise self.problem(event, "makes the file too large with what its aliases stand for", "use fewer aliases")

    def problem(self, event: Event, problem: str, fix: str) -> KitError:
        return KitError(f"{self.name} line {line_of(event)}", problem, fix)

    def report(self, event: Event, problem: str, fix: str) -> None:
        self.problems.append(self.problem(event, problem, fix))


_MARKERS = (yaml.StreamStartEvent, yaml.StreamEndEvent, yaml.DocumentStartEvent, yaml.DocumentEndEvent)


def line_of(event: Event) -> int:
    """Return the line in which something begins."""
    return event.start_mark.line + 1 if event.start_mark is not None else 1


def _as_written(node: Node) -> object:
    if isinstance(node.value, dict):
        return {key: _as_written(value) for key, (_, value) in node.value.items()}
    if isinstance(node.value, list):
        return [_as_written(item) for item in node.value]
    return None if node.is_plain and node.value in _NULL else node.value


def _typed(node: Node) -> object:
    if isinstance(node.value, dict):
        return {key: _typed(value) for key, (_, value) in node.value.items()}
    if isinstance(node.value, list):
        return [_typed(item) for item in node.value]
    return _typed_text(node.value) if node.is_plain else node.value


def _typed_text(text: str) -> object:
    tag = _RESOLVER.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    if tag == _NULL_TAG:
        return None
    if tag == _BOOL_TAG:
        return text.lower() in ("yes", "true", "on")
    if tag == _INT_TAG and _DECIMAL.fullmatch(text):
        return int(text.replace("_", ""))
    if tag == _FLOAT_TAG and ":" not in text and math.isfinite(number := _float(text)):
        return number
    return text


def _float(text: str) -> float:
    try:
        return float(text.replace("_", ""))
    except ValueError:  # .inf and .nan
        return math.nan
