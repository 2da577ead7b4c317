"""The role `tls` on real hosts: what is served, and what the CA saw."""

from __future__ import annotations

import json

import pytest

from mailfleet.fleet.model import Fleet
from mailfleet.lab.lab import Lab

pytestmark = pytest.mark.lab

INBOUND = ("mx1.eu.example.net", "mx1.us.example.net")
ALL = (*INBOUND, "mta1.eu.example.net", "mta1.us.example.net")
SCRIPT = "/usr/local/lib/mailfleet/mailfleet-cert"

# Runs on the control machine, whose trust store has the lab's CA: STARTTLS, verified by name.
SERVED = r"""
import json, smtplib, ssl, sys
address, name = sys.argv[1:]
with smtplib.SMTP(address, 25, timeout=20) as smtp:
    smtp._host = name
    smtp.starttls(context=ssl.create_default_context())
    peer = smtp.sock.getpeercert()
issuer = dict(pair[0] for pair in peer["issuer"])
print(json.dumps({"issuer": issuer, "names": peer["subjectAltName"],
                  "serial": peer["serialNumber"]}))
"""


@pytest.mark.parametrize("family", [0, 1], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("name", INBOUND)
def test_the_cas_certificate_is_served(deployed: Lab, fleet: Fleet, name: str, family: int) -> None:
    address = str(fleet.host(name).addresses[family])
    served = json.loads(deployed.run(["python3", "-c", SERVED, address, name]).stdout)
    assert "Pebble" in served["issuer"]["commonName"]
    assert served["names"] == [["DNS", name]]


@pytest.mark.parametrize("name", ALL)
def test_keys_are_roots_alone(deployed: Lab, name: str) -> None:
    find = "find /etc/mailfleet/tls /var/lib/mailfleet/acme -type f -printf '%U:%G %m\\n' | sort -u"
    assert deployed.ssh(name, find).stdout.splitlines() == ["0:0 600"]


@pytest.mark.parametrize("name", ALL)
def test_it_is_renewed_in_time(deployed: Lab, name: str) -> None:
    said = deployed.ssh(name, "systemctl is-active mailfleet-cert.timer").stdout
    assert said == "active\n"


@pytest.mark.parametrize("name", INBOUND)
def test_what_was_lost_comes_back_by_the_timers_unit_and_is_served(
    deployed: Lab, fleet: Fleet, name: str
) -> None:
    """In the confinement of the unit: self-signed, asked for, installed, Postfix reloaded."""

    def serial() -> str:
        argv = ["python3", "-c", SERVED, str(fleet.host(name).ipv4), name]
        return str(json.loads(deployed.run(argv).stdout)["serial"])

    before = serial()
    deployed.ssh(
        name,
        f"rm -r /etc/mailfleet/tls/{name}.pem /var/lib/mailfleet/acme/certificates; "
        "systemctl start mailfleet-cert.service",
    )
    assert deployed.ssh(name, f"{SCRIPT} status").stdout == "mailfleet-cert state=issued\n"
    assert serial() != before


@pytest.mark.parametrize("name", INBOUND)
def test_a_ca_that_cannot_reach_the_host_is_told_in_its_words(deployed: Lab, name: str) -> None:
    """Port 80 is taken, so nobody answers the CA; what is served stays."""
    said = deployed.ssh(
        name,
        "sed 's/^RENEW_DAYS=.*/RENEW_DAYS=99999/' /etc/mailfleet/cert.conf >/run/due.conf; "
        "perl -MIO::Socket::IP -e 'my $s = IO::Socket::IP->new(LocalPort => 80, Listen => 1, "
        'LocalAddr => "::", V6Only => 0, ReuseAddr => 1) or die $@; sleep 60\' '
        ">/dev/null 2>&1 </dev/null & sleep 1; "
        f"MAILFLEET_CERT_CONF=/run/due.conf {SCRIPT} ensure; code=$?; kill %1; "
        "rm /run/due.conf; exit $code",
        check=False,
    )
    assert said.returncode == 1
    assert "address already in use" in said.stderr
    assert f"{name} points to this host, but" in said.stderr
    assert deployed.ssh(name, f"{SCRIPT} status").stdout == "mailfleet-cert state=issued\n"
