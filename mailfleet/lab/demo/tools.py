"""What the steps of the demo share: commands on the control machine, and independent clients."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mailfleet.fleet.model import Fleet, Host, IPAddress
from mailfleet.lab.demo.story import DemoError, Say
from mailfleet.lab.lab import Lab
from mailfleet.lab.world import NAME_SERVERS

# Every authoritative address of the lab, and the one that is asked when one is enough.
SERVERS = tuple(address for addresses in NAME_SERVERS.values() for address in addresses)
SERVER = SERVERS[0]

# Address of the server, name, type.
Question = tuple[IPAddress, str, str]


@dataclass(frozen=True)
class Stage:
    """Where the demo plays."""

    lab: Lab
    fleet: Fleet

    def mailfleet(self, say: Say, *arguments: str) -> list[str]:
        """Run a mailfleet command on the control machine, showing its output as it comes.

        Raises DemoError when it fails.
        """
        say(f"   $ mailfleet {' '.join(arguments)}")
        return self.stream(say, [sys.executable, "-m", "mailfleet", *arguments])

    def pyinfra(self, say: Say, *arguments: str) -> list[str]:
        """Run plain pyinfra the same way."""
        say(f"   $ pyinfra {' '.join(arguments)}")
        return self.stream(say, [sys.executable, "-m", "pyinfra", *arguments])

    def stream(self, say: Say, argv: Sequence[str]) -> list[str]:
        """Run a command on the control machine; its lines, which `say` gets at once, indented."""
        command, environment = self.lab.command(argv)
        lines = []
        with subprocess.Popen(
            command,
            env=environment,
            cwd=self.fleet.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            for line in process.stdout or ():
                lines.append(line.rstrip("\n"))
                say(f"     {lines[-1]}")
        if process.returncode:
            raise DemoError(f"exit code {process.returncode} of: {' '.join(argv)}")
        return lines

    def kdig(self, questions: Sequence[Question]) -> dict[Question, list[str]]:
        """What the name servers answer to kdig, without recursion; each answer's lines sorted."""
        mark = ";; end"
        lines = [
            f"kdig @{server} +short +norec +retry=1 {name} {kind}; echo '{mark}'"
            for server, name, kind in questions
        ]
        said = self.lab.run(["sh", "-c", "\n".join(lines)]).stdout.split(f"{mark}\n")
        return {
            question: sorted(answer.splitlines())
            for question, answer in zip(questions, said, strict=False)
        }

    def certificate(self, host: Host) -> dict[str, Any]:
        """The certificate a host serves on port 25, verified against the lab's trust store."""
        words = [sys.executable, "-m", "mailfleet.lab.probe", host.name, str(host.ipv4)]
        done = self.lab.run(words, check=False)
        if done.returncode:
            raise DemoError(done.stderr.strip())
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def main_cf(self, host: Host, parameter: str) -> str:
        """A parameter as Postfix itself reads it on the host."""
        return self.lab.ssh(host.name, ["postconf", "-h", parameter]).stdout.strip()
