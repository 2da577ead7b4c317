"""What goes wrong in the lab, always with the way out."""

from __future__ import annotations

import shlex
from subprocess import CalledProcessError


class LabError(Exception):
    """Something about the lab that the user can act on: what was found, and the remedy."""

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(f"{problem}\n{remedy}" if remedy else problem)
        self.problem = problem
        self.remedy = remedy


class CommandFailed(CalledProcessError):
    """A command in the lab ended with another exit code than 0; says what it printed last."""

    def __str__(self) -> str:
        said = "\n".join(f"{self.stdout}{self.stderr}".splitlines()[-15:])
        return f"`{shlex.join(self.cmd)[:500]}` ended with {self.returncode}:\n{said}"
