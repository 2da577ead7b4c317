"""Installing packages starts and enables nothing: against a stub of a machine and of apt-get."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mailfleet.lab import install as module
from mailfleet.lab.errors import LabError
from mailfleet.lab.install import Machine, held_back, install

OWN = b"#!/bin/sh\n# the machine's own \xff\nexit 104\n"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    for name in ("usr/sbin", "run", "etc/rc3.d", "etc/systemd/system/multi-user.target.wants"):
        (tmp_path / name).mkdir(parents=True)
    return Machine(tmp_path)


def enable(machine: Machine, name: str) -> list[Path]:
    """What the maintainer scripts of a daemon leave."""
    etc = machine.root / "etc"
    wants = etc / f"systemd/system/multi-user.target.wants/{name}.service"
    wants.symlink_to(f"/lib/systemd/system/{name}.service")
    start = etc / f"rc3.d/S01{name}"
    start.symlink_to(f"../init.d/{name}")
    return [wants, start]


def forbids(machine: Machine) -> bool:
    return subprocess.run([machine.policy, "knot", "start"], check=False).returncode == 101


def test_nothing_starts_meanwhile_and_no_policy_stays(machine: Machine) -> None:
    with held_back(machine):
        assert forbids(machine)
    assert list(machine.policy.parent.iterdir()) == []


@pytest.mark.parametrize("fails", [False, True])
def test_the_machines_own_policy_comes_back(machine: Machine, fails: bool) -> None:
    machine.policy.write_bytes(OWN)
    machine.policy.chmod(0o750)
    try:
        with held_back(machine):
            assert forbids(machine)
            if fails:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert fails
    assert machine.policy.read_bytes() == OWN
    assert stat.S_IMODE(machine.policy.stat().st_mode) == 0o750
    assert list(machine.policy.parent.iterdir()) == [machine.policy]


def test_a_policy_that_is_a_link_stays_one(machine: Machine) -> None:
    machine.policy.symlink_to("/etc/alternatives/policy-rc.d")
    with held_back(machine):
        assert forbids(machine)
    assert os.readlink(machine.policy) == "/etc/alternatives/policy-rc.d"


@pytest.mark.parametrize("own", [True, False])
def test_what_a_killed_run_left_is_put_right_by_the_next(machine: Machine, own: bool) -> None:
    if own:
        machine.policy.write_bytes(OWN)
    script = (
        "import os, sys; from pathlib import Path\n"
        "from mailfleet.lab.install import Machine, held_back\n"
        "with held_back(Machine(Path(sys.argv[1]))): os.kill(os.getpid(), 9)"
    )
    argv = [sys.executable, "-c", script, str(machine.root)]
    assert subprocess.run(argv, check=False).returncode == -9
    assert forbids(machine)
    with held_back(machine):
        assert forbids(machine)
    assert machine.policy.exists() == own
    assert not machine.kept.exists()


def test_daemons_are_disabled_but_not_those_the_machine_had(machine: Machine) -> None:
    had = enable(machine, "named")
    with held_back(machine):
        wants, start = enable(machine, "knot")
        other = enable(machine, "ssh")
        alias = machine.root / "etc/systemd/system/bind9.service"
        alias.symlink_to("/lib/systemd/system/named.service")
    assert all(path.is_symlink() for path in (*had, *other))
    assert not wants.is_symlink()
    assert not alias.is_symlink()
    assert not start.is_symlink()
    assert (start.parent / "K01knot").is_symlink()


def test_apt_runs_with_services_held_back(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bin_directory = tmp_path / "bin"
    bin_directory.mkdir()
    apt = bin_directory / "apt-get"
    apt.write_text(
        f'#!/bin/sh\n{machine.policy}\necho "$? $*" >> {tmp_path}/log\nexit ${{RC:-0}}\n'
    )
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_directory}:{os.environ['PATH']}")
    install(["knot", "bind9"], machine)
    lines = (tmp_path / "log").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["101", "101"]
    assert lines[0].endswith("update")
    assert lines[1].endswith("knot bind9")
    monkeypatch.setenv("RC", "100")
    with pytest.raises(LabError, match="failed"):
        install(["knot"], machine)
    assert not machine.policy.exists()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError, match=re.escape("There is no apt-get here.")):
        install(["knot"], machine)


def test_the_real_machine_is_the_default() -> None:
    assert str(Machine().policy) == "/usr/sbin/policy-rc.d"
    assert {"knot", "named"} <= set(module.DAEMONS)
