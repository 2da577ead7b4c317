"""The fleet's DNS in the lab, asked with kdig: another client, every server, both families."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mailfleet.fleet.model import Fleet
from mailfleet.lab.lab import Lab

pytestmark = pytest.mark.lab

SERVERS = ("198.18.0.53", "198.18.0.54", "2001:db8:0:18::53", "2001:db8:0:18::54")
MX = {"10 mx1.eu.example.net.", "100 mx1.us.example.net."}
DOMAINS = {
    "example.com": '"v=DMARC1; p=quarantine; rua=mailto:dmarc@example.com"',
    "example.org": '"v=DMARC1; p=none"',
    "example.net": '"v=DMARC1; p=reject"',
}
SENDERS = {
    "mta1.eu.example.net": ("198.51.100.10", "2001:db8:1::10"),
    "mta1.us.example.net": ("198.51.100.138", "2001:db8:2::10"),
}
HOSTS = {
    **SENDERS,
    "mx1.eu.example.net": ("198.51.100.25", "2001:db8:1::25"),
    "mx1.us.example.net": ("198.51.100.153", "2001:db8:2::25"),
}
# Which senders sign for which domain: the pools of fleet.yml.
SIGNS = {
    "example.com": ["mta1.eu.example.net"],
    "example.org": ["mta1.eu.example.net", "mta1.us.example.net"],
    "example.net": ["mta1.eu.example.net", "mta1.us.example.net"],
}


def kdig(lab: Lab, server: str, *questions: str) -> list[str]:
    """The answers' values, in one run of kdig. A question is `NAME TYPE` or `-x ADDRESS`."""
    words = [word for question in questions for word in question.split()]
    done = lab.run(["kdig", f"@{server}", "+short", "+norec", "+time=3", *words])
    return [line for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize("server", SERVERS)
def test_every_record_is_published_on_every_address(deployed: Lab, server: str) -> None:
    for domain, dmarc in DOMAINS.items():
        assert set(kdig(deployed, server, f"{domain} MX")) == MX
        assert '"v=spf1 include:_spf.example.net ~all"' in kdig(deployed, server, f"{domain} TXT")
        assert kdig(deployed, server, f"_dmarc.{domain} TXT") == [dmarc]
    (spf,) = kdig(deployed, server, "_spf.example.net TXT")
    assert set(spf.strip('"').split()) == {
        "v=spf1",
        "-all",
        *(f"ip4:{v4}" for v4, _ in SENDERS.values()),
        *(f"ip6:{v6}" for _, v6 in SENDERS.values()),
    }
    for host, (v4, v6) in HOSTS.items():
        assert kdig(deployed, server, f"{host} A", f"{host} AAAA") == [v4, v6]
        assert kdig(deployed, server, f"{host} TXT") == ['"v=spf1 a -all"']
        assert kdig(deployed, server, f"-x {v4}", f"-x {v6}") == [f"{host}.", f"{host}."]


def test_the_keys_of_the_hosts_are_published_for_the_domains_they_sign_for(
    deployed: Lab, fleet: Fleet
) -> None:
    for domain, hosts in SIGNS.items():
        for host in hosts:
            record = fleet.directory / "state" / "dkim" / f"{host}.json"
            (key,) = json.loads(record.read_text())["keys"]
            # The key as the host itself has it, not as the fleet directory remembers it.
            private = f"/etc/dkimkeys/{key['selector']}.private"
            public = deployed.ssh(host, f"openssl rsa -in {private} -pubout 2>/dev/null").stdout
            base64 = "".join(line for line in public.splitlines() if "-----" not in line)
            name = f"{key['selector']}._domainkey.{domain}"
            (text,) = kdig(deployed, SERVERS[0], f"{name} TXT")
            tags = dict(
                part.strip().split("=", 1)
                for part in text.replace('" "', "").strip('"').split(";")
                if part.strip()
            )
            assert tags == {"v": "DKIM1", "k": "rsa", "p": base64}


def test_what_others_keep_in_the_zones_is_untouched(deployed: Lab) -> None:
    for domain in DOMAINS:
        token = f'"site-verification=lab-{domain.replace(".", "-")}"'
        assert token in kdig(deployed, SERVERS[0], f"{domain} TXT")
        assert kdig(deployed, SERVERS[0], f"www.{domain} A") == ["198.18.0.80"]
        assert kdig(deployed, SERVERS[0], f"shop.{domain} CNAME") == [f"www.{domain}."]


def test_the_zones_are_still_signed_and_validate(deployed: Lab) -> None:
    """A host's own validating resolver accepts what was published."""
    query = (
        "import socket,struct;"
        "n=b''.join(bytes([len(l)])+l for l in b'example.com'.split(b'.'))+b'\\0';"
        "q=struct.pack('>HHHHHH',7,0x0120,1,0,0,0)+n+struct.pack('>HH',15,1);"
        "s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM);s.settimeout(15);"
        "s.sendto(q,('127.0.0.1',53));a=s.recv(4096);print(a[3]&15,a[3]>>5&1,a[7])"
    )
    answer = deployed.ssh("mta1.eu.example.net", ["python3", "-c", query]).stdout.split()
    assert answer == ["0", "1", "2"]  # NOERROR, authenticated data, two MX


def test_a_second_plan_is_empty_and_verify_agrees(deployed: Lab) -> None:
    plan = deployed.run(["mailfleet", "dns", "plan", "--json"])
    assert json.loads(plan.stdout)["zones"] == []
    report = json.loads(deployed.run(["mailfleet", "dns", "verify", "--json"]).stdout)
    assert report["ok"] is True
    assert len(report["servers"]) == 4
    assert report["not_asked"] == []
    assert report["waiting"] == []


def test_a_stranger_in_our_place_is_refused_and_left_alone(deployed: Lab, fleet: Fleet) -> None:
    """Somebody changes our DMARC record by hand; the plan stops, names it, and heals on request."""
    name = "_dmarc.example.org"
    ours = kdig(deployed, SERVERS[0], f"{name} TXT")
    _by_hand(deployed, "example.org", name, '"v=DMARC1; p=none; rua=mailto:them@example.org"')
    try:
        refused = deployed.run(["mailfleet", "dns", "plan"], check=False)
        assert refused.returncode == 1
        assert f"--adopt {name}/TXT" in refused.stderr
        failed = deployed.run(["mailfleet", "dns", "verify", "--timeout", "0"], check=False)
        assert failed.returncode == 1
        assert "them@example.org" in failed.stdout
        assert "them@example.org" in kdig(deployed, SERVERS[1], f"{name} TXT")[0]
    finally:
        healed = deployed.run(["mailfleet", "dns", "apply", "--yes", "--adopt", f"{name}/TXT"])
    assert "1 changes in 1 zones." in healed.stdout
    assert kdig(deployed, SERVERS[0], f"{name} TXT") == ours
    ledger = Path(fleet.directory, "state", "dns-ledger.json")
    assert name in json.loads(ledger.read_text())["zones"]["example.org"].__str__()


def _by_hand(lab: Lab, zone: str, name: str, value: str) -> None:
    """Replace a TXT record with another client, knsupdate."""
    script = (
        f"server 198.18.0.53\nzone {zone}.\n"
        f"update delete {name}. TXT\nupdate add {name}. 3600 TXT {value}\nsend\n"
    )
    key = 'knsupdate -y "hmac-sha256:mailfleet:$MAILFLEET_TSIG_SECRET"'
    lab.run(["sh", "-c", f"printf '%s' '{script}' | {key}"])
