"""The role `firewall` on real hosts: asked from other hosts, and when it would lock us out."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from mailfleet.fleet.model import Fleet
from mailfleet.lab.lab import Lab

pytestmark = pytest.mark.lab

MX, SENDER, OTHER = "mx1.eu.example.net", "mta1.eu.example.net", "mta1.us.example.net"
# Listens on a port of every address until it is killed, or a minute has gone.
LISTEN = (
    "perl -MIO::Socket::IP -e 'my $s = IO::Socket::IP->new(LocalPort => {port}, Listen => 5, "
    'LocalAddr => "::", V6Only => 0, ReuseAddr => 1) or die $@; alarm 60; '
    "while (my $c = $s->accept) {{ close $c }}' >/dev/null 2>&1 </dev/null & echo $!"
)


def reached(lab: Lab, source: str, address: object, port: int) -> bool:
    """Whether a TCP connection from one host to an address succeeds within 2 s."""
    line = f"timeout 2 bash -c '</dev/tcp/{address}/{port}' 2>/dev/null && echo open || echo shut"
    return lab.ssh(source, line).stdout.strip() == "open"


def deploy(lab: Lab, name: str, fleet: Path | None = None) -> tuple[int, str]:
    """The whole site on one host, by plain pyinfra, from the fleet's or another directory."""
    command = ["pyinfra", "-y", "--limit", name, "inventories/eu_central.py", "deploy/site.py"]
    done = lab.run(command, check=False, cwd=fleet, timeout=300)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("family", [0, 1], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize(
    ("name", "port", "expected"),
    [
        (MX, 25, True),
        (MX, 22, False),
        (MX, 783, False),
        (MX, 8894, False),
        (SENDER, 25, False),
        (SENDER, 22, False),
    ],
)
def test_the_world_reaches_mail_and_nothing_else(
    deployed: Lab, fleet: Fleet, family: int, name: str, port: int, expected: bool
) -> None:
    address = fleet.host(name).addresses[family]
    assert reached(deployed, OTHER, address, port) is expected


@pytest.mark.parametrize("family", [0, 1], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize(("port", "expected"), [(80, True), (8080, False)])
def test_a_listener_is_reached_only_on_a_port_of_a_role(
    deployed: Lab, fleet: Fleet, family: int, port: int, expected: bool
) -> None:
    process = deployed.ssh(MX, LISTEN.format(port=port)).stdout.strip()
    try:
        time.sleep(1)
        assert reached(deployed, MX, "::1", port)
        address = fleet.host(MX).addresses[family]
        assert reached(deployed, OTHER, address, port) is expected
    finally:
        deployed.ssh(MX, f"kill {process}")


def test_it_is_on_after_a_reboot(deployed: Lab) -> None:
    said = deployed.ssh(SENDER, "systemctl is-enabled ufw; grep ^ENABLED /etc/ufw/ufw.conf").stdout
    assert said.split() == ["enabled", "ENABLED=yes"]


def test_rules_come_back_unless_they_are_confirmed(deployed: Lab, fleet: Fleet) -> None:
    script = "/usr/local/lib/mailfleet/mailfleet-firewall"
    before = deployed.ssh(MX, "ufw show added").stdout
    deployed.ssh(MX, f"{script} arm 4 && ufw delete allow 25/tcp")
    assert not reached(deployed, OTHER, fleet.host(MX).ipv4, 25)
    time.sleep(6)
    assert reached(deployed, OTHER, fleet.host(MX).ipv4, 25)
    assert deployed.ssh(MX, "ufw show added").stdout == before


def test_confirmed_rules_stay(deployed: Lab) -> None:
    script = "/usr/local/lib/mailfleet/mailfleet-firewall"
    deployed.ssh(SENDER, f"{script} arm 3 && ufw allow 4444/udp && {script} keep")
    time.sleep(5)
    assert "4444/udp" in deployed.ssh(SENDER, "ufw show added").stdout
    deployed.ssh(SENDER, "ufw delete allow 4444/udp")


def test_our_stale_rules_go_and_those_of_others_stay(deployed: Lab) -> None:
    deployed.ssh(SENDER, "ufw allow 587/tcp comment mailfleet; ufw allow 5555/tcp")
    try:
        code, said = deploy(deployed, SENDER)
        assert code == 0, said
        assert "ufw has rules that are not mailfleet's, they stay: allow 5555/tcp" in said
        rules = deployed.ssh(SENDER, "ufw show added").stdout
        assert "587" not in rules
        assert "5555" in rules
    finally:
        deployed.ssh(SENDER, "ufw delete allow 5555/tcp")


def test_a_deploy_that_would_lock_us_out_takes_its_rules_back(
    deployed: Lab, fleet: Fleet, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong"
    shutil.copytree(fleet.directory, wrong, ignore=shutil.ignore_patterns("__pycache__", ".git"))
    text = (wrong / "fleet.yml").read_text()
    own = 'management_networks: [198.18.0.0/24, "2001:db8:0:18::/112"]'
    assert own in text
    (wrong / "fleet.yml").write_text(text.replace(own, "management_networks: [198.18.99.0/24]"))
    before = deployed.ssh(SENDER, "ufw show added").stdout
    code, said = deploy(deployed, SENDER, wrong)
    assert code != 0
    assert "would have cut this control machine off" in said
    assert "add your network to fleet.management_networks" in said
    # A new connection, after the deploy has ended.
    assert deployed.ssh(SENDER, "ufw show added").stdout == before
    armed = deployed.ssh(
        SENDER, "systemctl is-active mailfleet-firewall-rollback.timer", check=False
    )
    assert armed.stdout.strip() == "inactive"
