"""fleet.yml as plain data, together with the line of every key and value."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError, SafeConstructor

from mailfleet.fleet.errors import Problem, Severity

Step = str | int
Where = tuple[Step, ...]

# Far more than any fleet needs; a file over it is a mistake (or an alias bomb).
MAX_DEPTH = 50
MAX_NODES = 100_000
_PLAIN = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null")}
_TIMESTAMP = "tag:yaml.org,2002:timestamp"
# What PyYAML repeats of the text; an unquoted secret may start with * & or !.
_QUOTED = re.compile(r"\b(alias|anchor|handle|tag) .*")
_MERGE = "tag:yaml.org,2002:merge"


def read_text(path: Path) -> str:
    """The text of a file. Raises Unreadable, which names the line of a byte that is not UTF-8."""
    try:
        if path.exists() and not path.is_file():
            raise Unreadable(None, "this is not a regular file", "a text file")
        raw = path.read_bytes()
    except OSError as error:
        raise Unreadable(None, error.strerror or str(error), "a readable file") from error
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        found = f"the byte 0x{raw[error.start]:02x}, which is not UTF-8"
        raise Unreadable(line, found, "UTF-8 text") from error


class Unreadable(Exception):
    """A file that cannot be read as text."""

    def __init__(self, line: int | None, found: str, accepted: str) -> None:
        super().__init__(found)
        self.line, self.found, self.accepted = line, found, accepted

    def problem(self, file: str, subject: str = "") -> Problem:
        """The same as a Problem of the file."""
        return Problem(
            Severity.ERROR, file, self.line, subject or file, "", self.found, self.accepted
        )


@dataclass
class Source:
    """A YAML file: its data, and the lines (from 1) of every key and value."""

    file: str
    data: Any = None
    problems: list[Problem] = field(default_factory=list)
    key_lines: dict[Where, int] = field(default_factory=dict)
    value_lines: dict[Where, int] = field(default_factory=dict)

    def complain(
        self, line: int | None, where: Where, *, found: str, accepted: str, hint: str = ""
    ) -> None:
        """Add an error."""
        subject, name = subject_of(where)
        self.problems.append(
            Problem(Severity.ERROR, self.file, line, subject, name, found, accepted, hint)
        )

    def line(self, where: Where, key: bool = False) -> int:
        """The line of a value (or its key), or of the nearest thing around it that exists."""
        if not key and where in self.value_lines:
            return self.value_lines[where]
        while where:
            found = self.key_lines.get(where) or self.value_lines.get(where)
            if found:
                return found
            where = where[:-1]
        return 1


def parse(text: str, file: str) -> Source:
    """Parse YAML 1.1 as PyYAML's safe loader does, except that dates stay text.

    Syntax errors, duplicate keys, keys that are no text and tags are problems of the result.
    """
    source = Source(file)
    last = max(1, len(text.splitlines()))
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is None:
            accepted = "the sections fleet, dns and domains"
            source.complain(1, (), found="an empty file", accepted=accepted)
        else:
            source.data = _Reader(source).read(root, (), 0)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = min(mark.line + 1, last) if mark else None
        found = _QUOTED.sub(r"\1", " ".join(filter(None, (error.context, error.problem))))
        source.complain(line, (), found=found, accepted="well-formed YAML")
    except yaml.reader.ReaderError as error:
        line = min(text.count("\n", 0, error.position) + 1, last)
        found = f"the character U+{ord(text[error.position]):04X}"
        source.complain(line, (), found=found, accepted="printable text")
    except RecursionError:
        accepted = f"at most {MAX_DEPTH} levels"
        source.complain(None, (), found="values nested too deeply", accepted=accepted)
    except _TooMuch as error:
        found = "values nested too deeply or repeated too often"
        accepted = f"at most {MAX_DEPTH} levels and {MAX_NODES} values"
        source.complain(error.line, (), found=found, accepted=accepted)
    return source


def dotted(where: Where) -> str:
    """A path in the words of an error: domains.example.com.pools[0]."""
    text = ""
    for step in where:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def subject_of(where: Where) -> tuple[str, str]:
    """Who a place of fleet.yml is about (a domain, a pool, a section), and the field there."""
    if len(where) < 2:
        return "fleet.yml", dotted(where)
    if where[0] == "domains":
        return str(where[1]), dotted(where[2:])
    if where[0] == "pools":
        return f"pool {where[1]}", dotted(where[2:])
    return str(where[0]), dotted(where[1:])


class _TooMuch(Exception):
    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line


class _Reader:
    """Walks the nodes, which carry their lines, and builds the data."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.scalars = SafeConstructor()
        self.nodes = 0

    def read(self, node: yaml.Node, where: Where, depth: int) -> Any:
        self.nodes += 1
        line = node.start_mark.line + 1
        if depth > MAX_DEPTH or self.nodes > MAX_NODES:
            raise _TooMuch(line)
        self.source.value_lines.setdefault(where, line)
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, where, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*where, i), depth + 1) for i, item in enumerate(node.value)]
        return self.scalar(node, where, line)

    def mapping(self, node: yaml.MappingNode, where: Where, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        seen: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                found = "a key that is a list or mapping"
                self.source.complain(line, where, found=found, accepted="text")
                continue
            if key_node.tag == _MERGE:
                continue
            key = key_node.value
            if key in seen:
                self.source.complain(
                    line,
                    (*where, key),
                    found=f"the same key again, first in line {seen[key]}",
                    accepted="every key once",
                    hint="YAML would silently keep only the last.",
                )
                continue
            seen[key] = line
            self.source.key_lines[(*where, key)] = line
            result[key] = self.read(value_node, (*where, key), depth + 1)
        for merged in self.merged(node, where, depth):
            result = merged | result
        return result

    def merged(self, node: yaml.MappingNode, where: Where, depth: int) -> Iterator[dict[str, Any]]:
        """The mappings that `<<:` brings in; earlier ones win."""
        for key_node, value_node in node.value:
            if key_node.tag != _MERGE:
                continue
            sequence = isinstance(value_node, yaml.SequenceNode)
            for item in value_node.value if sequence else [value_node]:
                if isinstance(item, yaml.MappingNode):
                    self.nodes += 1
                    if depth > MAX_DEPTH or self.nodes > MAX_NODES:
                        raise _TooMuch(item.start_mark.line + 1)
                    yield self.mapping(item, where, depth + 1)
                else:
                    line = item.start_mark.line + 1
                    found = "<< with a plain value"
                    self.source.complain(line, where, found=found, accepted="a mapping")

    def scalar(self, node: yaml.Node, where: Where, line: int) -> Any:
        text = str(node.value)
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            found = "half of a surrogate pair"
            self.source.complain(line, where, found=found, accepted="UTF-8 text")
            return text.encode("utf-8", "replace").decode()
        if node.tag == _TIMESTAMP:
            return text
        if node.tag not in _PLAIN:
            found = "a YAML tag (!…)"
            self.source.complain(line, where, found=found, accepted="plain values")
            return None
        try:
            value = self.scalars.construct_object(node)
        except (ValueError, ConstructorError):
            return text
        # JSON has no larger numbers that every reader agrees on; as text it is a wrong type.
        return text if isinstance(value, int) and abs(value) >= 2**63 else value
