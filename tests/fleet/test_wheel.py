"""A built wheel carries the skeleton, dotfiles included, and `mailfleet init` works from it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("mailfleet", "roles", "deploy", "templates")


def test_init_from_a_wheel(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, source)
    (source / "README.md").write_text("mailfleet\n")
    for name in PACKAGES:
        shutil.copytree(
            ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
        )
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    done = subprocess.run(
        [*pip, "--wheel-dir", str(tmp_path), str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("mailfleet-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")

    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}
    program = (
        "from mailfleet.cli.main import main; import mailfleet; print(mailfleet.__file__); main()"
    )
    for arguments in (["init", "new"], ["check", "--fleet", "new"]):
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.startswith(str(tmp_path / "installed"))
    skeleton = ROOT / "mailfleet" / "fleet" / "skeleton"
    for path in skeleton.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            copy = tmp_path / "new" / path.relative_to(skeleton)
            assert copy.read_bytes() == path.read_bytes()
