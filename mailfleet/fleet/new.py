"""The fleet directory that `mailfleet init` writes: a copy of `skeleton/`."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path


def write_skeleton(directory: Path) -> tuple[Path, ...]:
    """Copy the skeleton into a directory that is empty or does not exist.

    Returns what was written, relative to the directory. Raises FileExistsError when the directory
    is a file or not empty, OSError when it cannot be written.
    """
    if directory.exists() and not directory.is_dir():
        raise FileExistsError(f"{directory} is a file")
    if directory.is_dir() and any(directory.iterdir()):
        raise FileExistsError(f"{directory} is not empty")
    written = []
    with as_file(files("mailfleet.fleet") / "skeleton") as source:
        for path in sorted(source.rglob("*")):
            relative = path.relative_to(source)
            if path.is_dir() or "__pycache__" in path.parts:
                continue
            target = directory / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
            written.append(relative)
    return tuple(written)
