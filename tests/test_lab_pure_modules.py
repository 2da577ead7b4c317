"""Every Python package that the lab imports is one that it asks for."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from mailfleet.lab import requirements

ROOT = Path(__file__).parents[1]
# Import names of base dependencies whose project has another name.
NAMES = {"dns": "dnspython", "yaml": "pyyaml"}


def imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module.partition(".")[0]


def project(requirement: str) -> str:
    return re.split(r"[^\w-]", requirement, maxsplit=1)[0].lower()


def test_every_imported_module_is_required() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    base = {project(line) for line in settings["dependencies"]}
    extra = {project(line) for line in settings["optional-dependencies"]["lab"]}
    own = {*sys.stdlib_module_names, "mailfleet"}
    files = sorted((ROOT / "mailfleet/lab").rglob("*.py"))
    wanted = {name for file in files for name in imported(file)} - own
    assert {"dns", "aiosmtpd", "publicsuffixlist"} <= wanted
    from_extra = {name for name in wanted if NAMES.get(name, name) not in base}
    assert from_extra == set(requirements.MODULES)
    assert {name.lower() for name in requirements.MODULES.values()} == extra
