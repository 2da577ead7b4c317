"""What the demo can show where the lab cannot run: everything that needs no hosts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from mailfleet.lab.demo.story import DemoError, Say, Step


def steps(directory: Path) -> list[Step]:
    """Checks, renders, plans and simulates the fleet in `directory`, touching no host."""

    def run(say: Say, *arguments: str) -> list[str]:
        say(f"   $ mailfleet {' '.join(arguments)}")
        done = subprocess.run(
            [sys.executable, "-m", "mailfleet", *arguments],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        lines = (done.stdout + done.stderr).splitlines()
        for line in lines:
            say(f"     {line}")
        if done.returncode:
            raise DemoError(f"exit code {done.returncode} of mailfleet {' '.join(arguments)}")
        return lines

    def check(say: Say) -> Iterator[str]:
        run(say, "check")
        yield "the fleet files are right"

    def render(say: Say) -> Iterator[str]:
        target = directory / "build" / "rendered"
        run(say, "render", str(target))
        files = [path for path in target.rglob("*") if path.is_file()]
        yield f"{len(files)} files, for you to read: {target}"

    def plan(say: Say) -> Iterator[str]:
        run(say, "dns", "plan", "--offline")
        yield "the records that empty zones would get"

    def simulate(say: Say) -> Iterator[str]:
        run(say, "warmup", "simulate", "--days", "30")
        yield "caps and delays of 30 days"

    return [
        Step("mailfleet check", check, essential=True),
        Step("mailfleet render: every host's files", render),
        Step("mailfleet dns plan --offline", plan),
        Step("mailfleet warmup simulate: 30 days", simulate),
    ]


def left_out(missing: Sequence[str]) -> list[str]:
    """What was not shown, exactly what is missing for it, and what to do."""
    lines = [
        "Left out, because the lab cannot run here: bare hosts and their deploy, DNS applied and"
        " verified, certificates, mail judged by the providers, spam and virus refusal, the"
        " backup_mx, and the warm-up in main.cf.",
        "Missing:",
    ]
    return [*lines, *(f"  - {reason}" for reason in missing)]
