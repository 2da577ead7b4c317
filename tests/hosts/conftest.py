"""Fixtures for what runs on hosts: a sandbox, and programs replaced by stubs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hosts_sandbox import Sandbox

from mailfleet.hosts import facts, scripts


@pytest.fixture
def sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    root, run = tmp_path / "host", tmp_path / "run"
    root.mkdir()
    for module in (scripts, facts):
        monkeypatch.setattr(module, "RUN", str(run))
    return Sandbox(root, run)


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Puts a shell script in the place of a program; returns the file it can log to."""
    programs, log = tmp_path / "bin", tmp_path / "calls"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(log))

    def put(name: str, body: str) -> Path:
        path = programs / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >>"$CALLS"\n{body}\n')
        path.chmod(0o755)
        return log

    return put
