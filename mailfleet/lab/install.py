"""Installing Debian packages for their programs only: no daemon of theirs starts, now or later."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mailfleet.lab.errors import LabError
from mailfleet.lab.files import locked

# The daemons in the packages that the lab and the tests install, with their other names.
DAEMONS = ("knot", "named", "bind9")
# invoke-rc.d(8): 101 forbids the action. https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt
_FORBID = "#!/bin/sh\n# While `mailfleet lab install` runs: packages start no service.\nexit 101\n"


@dataclass(frozen=True)
class Machine:
    """Where a machine says which services start; another root in tests."""

    root: Path = Path("/")

    @property
    def policy(self) -> Path:
        return self.root / "usr/sbin/policy-rc.d"

    @property
    def kept(self) -> Path:
        """The machine's own policy meanwhile; also found by the next run if this one is killed."""
        return self.policy.with_name("policy-rc.d.mailfleet-kept")

    @property
    def lock(self) -> Path:
        return self.root / "run/mailfleet-install.lock"

    def links(self) -> set[Path]:
        """The links that make init start one of the daemons: systemd's, and those of SysV."""
        found = set()
        for path in (self.root / "etc/systemd/system").rglob("*"):
            if path.is_symlink() and {path.stem, Path(os.readlink(path)).stem} & set(DAEMONS):
                found.add(path)
        for path in (self.root / "etc").glob("rc[2-5S].d/S*"):
            if re.sub(r"^S\d\d", "", path.name) in DAEMONS:
                found.add(path)
        return found


@contextmanager
def held_back(machine: Machine) -> Iterator[None]:
    """No service is started in this block, and no daemon that it brings is enabled after it.

    What the machine had (its own policy, daemons that were enabled before) is as it was afterwards.
    """
    with locked(machine.lock):
        before = machine.links()
        policy, kept = machine.policy, machine.kept
        if os.path.lexists(policy) and not os.path.lexists(kept) and not _is_ours(policy):
            policy.rename(kept)
        policy.parent.mkdir(parents=True, exist_ok=True)
        staged = policy.with_name("policy-rc.d.mailfleet-new")
        staged.write_text(_FORBID)
        staged.chmod(0o755)
        staged.replace(policy)
        try:
            yield
        finally:
            if os.path.lexists(kept):
                kept.replace(policy)
            else:
                policy.unlink(missing_ok=True)
            for link in machine.links() - before:
                _disable(link)


def install(packages: Sequence[str], machine: Machine | None = None) -> None:
    """Install Debian packages with apt-get. Raises LabError with what apt said last."""
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    options = ["-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0"]
    with held_back(machine or Machine()):
        for argv in (
            ["apt-get", *options, "update"],
            ["apt-get", *options, "install", "--yes", "--no-install-recommends", *packages],
        ):
            try:
                result = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
            except FileNotFoundError as error:
                raise LabError(
                    "There is no apt-get here.",
                    f"Install these by hand (Debian's names): {', '.join(packages)}.",
                ) from error
            if result.returncode:
                tail = "\n".join((result.stdout + result.stderr).splitlines()[-5:])
                raise LabError(
                    f"`{' '.join(argv)}` failed:\n{tail}", "Mend this machine's apt first."
                )


def _is_ours(policy: Path) -> bool:
    return policy.is_file() and policy.read_bytes() == _FORBID.encode()


def _disable(link: Path) -> None:
    """As `systemctl disable` and `update-rc.d disable` do, neither of which every machine has."""
    if link.parent.name.startswith("rc"):
        link.rename(link.with_name("K01" + link.name[3:]))  # update-rc.d(8): S becomes K
    else:
        link.unlink()
