"""The roles `base` and `resolver` on real hosts of both Debian releases."""

from __future__ import annotations

import re

import pytest

from mailfleet.fleet.model import Fleet
from mailfleet.lab.lab import Lab

pytestmark = pytest.mark.lab

HOSTS = ("mta1.eu.example.net", "mx1.eu.example.net", "mta1.us.example.net", "mx1.us.example.net")


@pytest.fixture(params=HOSTS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_host_is_called_what_the_fleet_calls_it(deployed: Lab, name: str) -> None:
    said = deployed.ssh(name, "hostname; hostname -f; cat /etc/mailname /proc/sys/kernel/hostname")
    assert said.stdout.split() == [name] * 4


def test_its_own_name_is_its_public_addresses(deployed: Lab, fleet: Fleet, name: str) -> None:
    said = deployed.ssh(name, f"getent -s hosts:files ahosts {name}").stdout
    found = {line.split()[0] for line in said.splitlines()}
    assert found == {str(address) for address in fleet.host(name).addresses}


def test_no_unit_has_failed(deployed: Lab, name: str) -> None:
    assert deployed.ssh(name, "systemctl --failed --no-legend --plain").stdout == ""


def test_security_updates_are_on(deployed: Lab, name: str) -> None:
    said = deployed.ssh(
        name,
        "apt-config dump | grep -i 'periodic::unattended'; "
        "systemctl is-enabled apt-daily-upgrade.timer",
    ).stdout
    assert said.splitlines() == ['APT::Periodic::Unattended-Upgrade "1";', "enabled"]


def test_its_resolver_validates(deployed: Lab, name: str) -> None:
    """The flag is unbound's, the question a stub's: what Postfix asks before it trusts a TLSA."""
    said = deployed.ssh(name, "dig +dnssec gmail.com MX").stdout
    assert re.search(r"flags: qr rd ra ad;", said), said
    assert "status: NOERROR" in said
    assert "SERVER: 127.0.0.1#53" in said


def test_a_signature_that_does_not_fit_is_refused(deployed: Lab, name: str) -> None:
    """Without the right trust anchor the same answers are worth nothing: SERVFAIL."""
    said = deployed.ssh(
        name,
        "printf 'server:\\n  trust-anchor: \"outlook.com. DS 1 13 2 "
        f"{'00' * 32}\"\\n' >/tmp/wrong.conf; "
        "printf 'forward-zone:\\n  name: \".\"\\n  forward-addr: 127.0.0.1\\n' >>/tmp/wrong.conf; "
        "sed 's/^server:/server:\\n  do-not-query-localhost: no\\n  port: 5399\\n  "
        'interface: 127.0.0.1\\n  chroot: ""\\n  pidfile: ""\\n  username: ""/\' '
        "-i /tmp/wrong.conf; "
        "timeout 15 unbound -d -c /tmp/wrong.conf >/dev/null 2>&1 & sleep 2; "
        "dig -p 5399 +time=10 @127.0.0.1 outlook.com MX; kill %1",
    ).stdout
    assert "status: SERVFAIL" in said, said


def test_it_answers_nobody_else(deployed: Lab, fleet: Fleet, name: str) -> None:
    other = next(each for each in HOSTS if each != name)
    for address in fleet.host(name).addresses:
        said = deployed.ssh(other, f"dig +time=1 +tries=1 @{address} . NS", check=False)
        assert said.returncode != 0, said.stdout


def test_postfix_in_its_chroot_asks_the_same_resolver(deployed: Lab, name: str) -> None:
    deployed.ssh(name, "cmp /etc/resolv.conf /var/spool/postfix/etc/resolv.conf")
    assert "nameserver 127.0.0.1\n" in deployed.ssh(name, "cat /etc/resolv.conf").stdout


def test_reverse_names_of_documentation_addresses_are_asked_of_the_world(
    deployed: Lab, fleet: Fleet, name: str
) -> None:
    for host in fleet.hosts:
        for address in host.addresses:
            assert deployed.ssh(name, f"dig +short -x {address}").stdout == f"{host.name}.\n"
