"""A directory that stands for a host, and the scripts run on it by the local shell."""

from __future__ import annotations

import grp
import os
import pwd
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mailfleet.hosts import facts, scripts
from mailfleet.hosts.files import File


@dataclass
class Sandbox:
    """Files below `root`, owned by whoever runs the tests."""

    root: Path
    run: Path

    def file(self, name: str, content: str, mode: str = "644", secret: bool = False) -> File:
        user = pwd.getpwuid(os.getuid()).pw_name
        group = grp.getgrgid(os.getgid()).gr_name
        return File(f"{self.root}/{name}", content, mode, user, group, secret)

    def sh(self, script: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-c", script], input=stdin, capture_output=True, text=True, check=False
        )

    def install(
        self,
        files: Sequence[File],
        absent: Sequence[str] = (),
        leftovers: Sequence[str] = (),
        validate: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        script = scripts.install_files(files, absent, leftovers, validate)
        return self.sh(script, scripts.payload(files) + "\n")

    def states(self, paths: Sequence[str]) -> dict[str, facts.FileState]:
        fact = facts.FileStates()
        found = fact.process(self.sh(fact.command(paths)).stdout.splitlines())
        assert found is not None
        return found

    def everything(self) -> list[str]:
        found = (path.relative_to(self.root) for path in self.root.rglob("*") if path.is_file())
        return sorted(map(str, found))
