"""Switching hosts off and on, and mending what died, in a lab of their own.

Not in the session's lab: a host that was reset, or a CA that forgot its accounts, would surprise
the tests of a deployed fleet.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mailfleet.fleet.load import load
from mailfleet.fleet.model import Fleet
from mailfleet.lab import processes
from mailfleet.lab.lab import Lab

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def lab(
    able: None, tmp_path_factory: pytest.TempPathFactory, copy_example: Callable[[Path], Path]
) -> Iterator[Lab]:
    lab = Lab(Path("/var/lib/mailfleet/test-power"))
    lab.down()
    try:
        lab.up(load(copy_example(tmp_path_factory.mktemp("power") / "fleet")))
        yield lab
    finally:
        lab.down(purge=True)


@pytest.fixture(scope="module")
def fleet(lab: Lab) -> Fleet:
    return load(lab.record().fleet_directory)


def pids(lab: Lab) -> dict[str, tuple[int, ...]]:
    names = [*lab.services, *(f"host:{host.name}" for host in lab.record().hosts)]
    return {name: processes.service(lab.layout, name) for name in names}


def test_up_twice_is_harmless(lab: Lab, fleet: Fleet) -> None:
    before = pids(lab)
    marks = {
        host.name: lab.ssh(host.name, "cat /proc/sys/kernel/random/boot_id /etc/machine-id").stdout
        for host in lab.record().hosts
    }
    secret = (lab.layout.secrets / "tsig").read_text()
    lab.up(fleet)
    assert pids(lab) == before
    for name, mark in marks.items():
        now = lab.ssh(name, "cat /proc/sys/kernel/random/boot_id /etc/machine-id").stdout
        assert now == mark, name
    assert (lab.layout.secrets / "tsig").read_text() == secret


def test_an_orderly_stop_keeps_the_disk_and_tells_the_services(lab: Lab) -> None:
    unit = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=true\n"
    unit += "ExecStop=touch /root/stopped-in-order\n"
    lab.ssh("mx1.us", "cat > /run/systemd/system/lab-test.service", input=unit)
    lab.ssh("mx1.us", "systemctl daemon-reload && systemctl start lab-test; echo kept > /root/kept")
    lab.stop("mx1.us")
    assert not lab.is_on("mx1.us")
    assert lab.ssh("mx1.us", "true", check=False).returncode == 255
    lab.stop("mx1.us")  # off already
    lab.start("mx1.us")
    found = lab.ssh("mx1.us", "cat /root/kept; ls /root/stopped-in-order").stdout
    assert found.split() == ["kept", "/root/stopped-in-order"]
    lab.start("mx1.us")  # on already
    lab.ssh("mx1.us", "rm /root/kept /root/stopped-in-order")


def test_a_power_cut_gives_nobody_a_chance(lab: Lab) -> None:
    script = "trap 'touch /root/warned' TERM HUP INT EXIT; touch /root/running; sleep 60 & wait"
    lab.ssh("mx1.us", ["systemd-run", "--quiet", "--unit=lab-cut", "sh", "-c", script])
    lab.ssh("mx1.us", "until test -e /root/running; do sleep 0.1; done")
    started = time.monotonic()
    lab.kill("mx1.us")
    assert time.monotonic() - started < 10
    assert not lab.is_on("mx1.us")
    lab.start("mx1.us")
    assert lab.ssh("mx1.us", "ls /root").stdout.split() == ["running"]
    lab.ssh("mx1.us", "rm /root/running")


@pytest.mark.parametrize("who", ["supervisor", "init"])
def test_a_host_that_died_is_brought_back(who: str, lab: Lab, fleet: Fleet) -> None:
    host = lab.host("mta1.eu")
    lab.ssh(host.name, "echo kept > /root/kept")
    victim = (
        processes.service(lab.layout, f"host:{host.name}")[0]
        if who == "supervisor"
        else processes.init_of(lab.layout, host.name)
    )
    assert victim is not None
    os.kill(victim, signal.SIGKILL)
    lab.up(fleet)
    assert lab.ssh(host.name, "cat /root/kept; rm /root/kept").stdout == "kept\n"
    assert len(processes.service(lab.layout, f"host:{host.name}")) >= 1


@pytest.mark.parametrize("name", ["packages", "dns", "acme", "provider:google"])
def test_a_service_that_died_is_brought_back(name: str, lab: Lab, fleet: Fleet) -> None:
    assert name in lab.services
    text = f"before {name}"
    if name == "dns":
        lines = f'add kept.example.com. 60 TXT "{text}"'
        script = f"server 198.18.0.53\nzone example.com.\n{lines}\nsend\n"
        secret = (lab.layout.secrets / "tsig").read_text()
        lab.run(["knsupdate", "-y", f"hmac-sha256:mailfleet:{secret}"], input=script)
    for pid in processes.service(lab.layout, name):
        os.kill(pid, signal.SIGKILL)
    lab.up(fleet)
    assert processes.service(lab.layout, name)
    if name == "dns":
        answer = lab.run(["kdig", "@198.18.0.54", "+short", "kept.example.com", "TXT"]).stdout
        assert text in answer
    if name == "acme":
        # pebble makes a new root at each start; control must trust the new one.
        roots = ["curl", "--silent", "--fail", "https://198.18.0.14:15000/roots/0"]
        root = lab.run(roots).stdout
        assert root.strip() in (lab.layout.home / "ca-certificates.crt").read_text()


def test_reset_makes_a_host_bare_and_known_again(lab: Lab) -> None:
    name = "mx1.us.example.net"
    lab.ssh(name, "echo x > /root/x")
    before = lab.ssh(name, "cat /etc/ssh/ssh_host_ed25519_key.pub /etc/machine-id").stdout
    others = {k: v for k, v in pids(lab).items() if k != f"host:{name}"}
    lab.reset("mx1.us")
    assert lab.ssh(name, "ls /root").stdout == ""
    after = lab.ssh(name, "cat /etc/ssh/ssh_host_ed25519_key.pub /etc/machine-id").stdout
    assert not set(before.splitlines()) & set(after.splitlines())
    assert {k: v for k, v in pids(lab).items() if k != f"host:{name}"} == others


def test_a_bare_host_is_bare(lab: Lab) -> None:
    lab.reset("mx1.us")
    installed = set(lab.ssh("mx1.us", "dpkg-query -f '${Package}\n' -W").stdout.split())
    assert {"openssh-server", "systemd-sysv", "python3-minimal"} <= installed
    assert not installed & {"postfix", "opendkim", "unbound", "ufw", "clamav", "spamassassin"}
    listening = lab.ssh("mx1.us", "ss -Hlnt").stdout.splitlines()
    assert {line.split()[3].rpartition(":")[2] for line in listening} == {"22"}
    assert "InRelease" not in lab.ssh("mx1.us", "ls /var/lib/apt/lists").stdout
    assert lab.ssh("mx1.us", "systemctl is-system-running --wait").stdout.strip() == "running"


def test_every_host_runs_the_release_of_the_inventory(lab: Lab) -> None:
    for host in lab.record().hosts:
        found = lab.ssh(host.name, ". /etc/os-release; echo $VERSION_ID").stdout.strip()
        assert found == str(host.debian)


def test_a_disk_stays_mounted_once(lab: Lab) -> None:
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    for host in lab.record().hosts:
        root = str(lab.layout.hosts / host.name / "root")
        assert len([line for line in mounts if line.split()[1] == root]) == 1
