"""What the wheel is told to hold, against what is there."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Packages that live beside mailfleet/ and ship inside it.
OUTSIDE = ("roles", "deploy", "templates")


def test_every_package_ships() -> None:
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    inside = [path.parent for path in (ROOT / "mailfleet").rglob("__init__.py")]
    there = {".".join(path.relative_to(ROOT).parts) for path in inside}
    assert set(setup["packages"]) == there | {f"mailfleet.{name}" for name in OUTSIDE}
