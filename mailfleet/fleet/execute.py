"""Python files that pyinfra executes (inventories, group data), executed the way it does."""

from __future__ import annotations

import ast
import io
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mailfleet.fleet.errors import Problem, Severity
from mailfleet.fleet.source import Unreadable, read_text


@dataclass(frozen=True)
class Origin:
    """Where something is written; line is None where the file does not say it literally."""

    file: str
    line: int | None = None


@dataclass(frozen=True)
class Site:
    """A literal `("name", {data})` of a file: its line, and the lines of its data."""

    line: int
    fields: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Module:
    """What a file defined: its names in order, which of them it imported, and where they are."""

    file: str
    names: Mapping[str, Any]
    imported: frozenset[str]
    lines: Mapping[str, int]
    sites: Mapping[str, tuple[Site, ...]]


def execute(directory: Path, path: Path) -> tuple[Module | None, list[Problem]]:
    """Execute a file with the fleet directory as working directory and on sys.path.

    Nothing that the file does is an exception of ours: what it raises becomes a Problem, with the
    line where it happened. What it prints goes to standard error, with a warning.
    """
    file = path.relative_to(directory).as_posix()
    try:
        text = read_text(path)
    except Unreadable as error:
        return None, [error.problem(file)]
    values: dict[str, Any] = {"__file__": str(path)}
    printed = io.StringIO()
    try:
        tree = ast.parse(text, filename=str(path))
        code = compile(text, str(path), "exec")
        with _as_pyinfra(directory), _stdout_to_stderr(), redirect_stdout(printed):
            exec(code, values)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return None, [_raised(file, path, error)]
    problems = []
    if printed.getvalue():
        sys.stderr.write(printed.getvalue())
        problems.append(
            Problem(
                Severity.WARNING,
                file,
                None,
                file,
                "",
                "it prints to standard output",
                "an inventory that prints to standard error or not at all",
                "What it prints corrupts the JSON of pyinfra --json.",
            )
        )
    module = Module(file, values, _imported(tree), _assignments(tree), _sites(tree))
    return module, problems


@contextmanager
def _as_pyinfra(directory: Path) -> Iterator[None]:
    """`cd DIR && pyinfra …`: the working directory, also on sys.path."""
    here = str(directory)
    added = here not in sys.path
    if added:
        sys.path.append(here)
    try:
        with chdir(directory):
            yield
    finally:
        if added and here in sys.path:
            sys.path.remove(here)


@contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """Also for programs that an inventory starts: their standard output is ours."""
    if sys.stdout is not None:  # None where it is closed
        sys.stdout.flush()
    try:
        saved = os.dup(1)
    except OSError:  # there is none
        yield
        return
    try:
        os.dup2(2, 1)
        yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)


def _raised(file: str, path: Path, error: BaseException) -> Problem:
    """What a file raised, and the last of its own lines that led there."""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    line = lines[-1] if lines else None
    message = str(error)
    if isinstance(error, SyntaxError) and error.filename == str(path):
        line, message = error.lineno, error.msg
    message = " ".join(message.split())[:300]
    found = f"it raises {type(error).__name__}" + (f": {message}" if message else "")
    accepted = "a Python file that pyinfra can execute"
    return Problem(Severity.ERROR, file, line, file, "", found, accepted)


def _imported(tree: ast.Module) -> frozenset[str]:
    """The names that import statements at module level bind."""
    return frozenset(
        alias.asname or alias.name.split(".")[0]
        for node in tree.body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    )


def _assignments(tree: ast.Module) -> dict[str, int]:
    """Name to the line of its last assignment at module level."""
    lines: dict[str, int] = {}
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, (ast.AnnAssign, ast.AugAssign)):
            targets = [node.target]
        for target in targets:
            if isinstance(target, ast.Name):
                lines[target.id] = target.lineno
    return lines


def _sites(tree: ast.Module) -> dict[str, tuple[Site, ...]]:
    """Text to where it is written: as `("name", {data})` if anywhere, else by itself."""
    pairs: dict[str, list[Site]] = {}
    alone: dict[str, list[Site]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            alone.setdefault(node.value, []).append(Site(node.lineno))
        if not isinstance(node, ast.Tuple) or not node.elts:
            continue
        first = node.elts[0]
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            second = node.elts[1] if len(node.elts) > 1 else None
            keys = second.keys if isinstance(second, ast.Dict) else []
            fields = {
                key.value: key.lineno
                for key in keys
                if isinstance(key, ast.Constant) and isinstance(key.value, str)
            }
            pairs.setdefault(first.value, []).append(Site(first.lineno, fields))
    return {
        name: tuple(sorted(sites, key=lambda site: site.line))
        for name, sites in (alone | pairs).items()
    }
