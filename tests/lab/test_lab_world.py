"""The lab's DNS, certificate authority and control machine, asked with other tools."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import dns.dnssec
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import pytest

from mailfleet.lab import network
from mailfleet.lab.lab import Lab

pytestmark = pytest.mark.lab

SERVERS = ("198.18.0.53", "198.18.0.54", "2001:db8:0:18::53", "2001:db8:0:18::54")
KEY_OPTION = ("-y", "hmac-sha256:mailfleet")


def kdig(lab: Lab, *arguments: str, server: str = SERVERS[0]) -> str:
    return lab.run(["kdig", f"@{server}", "+noall", "+answer", "+short", *arguments]).stdout.strip()


def update(
    lab: Lab, zone: str, lines: str, key: str | None = None
) -> subprocess.CompletedProcess[str]:
    script = f"server 198.18.0.53\nzone {zone}\n{lines}\nsend\n"
    signed = ["-y", f"hmac-sha256:mailfleet:{key}"] if key else []
    return lab.run(["knsupdate", *signed], input=script, check=False)


def secret(lab: Lab) -> str:
    return lab.run(["sh", "-c", 'printf %s "$MAILFLEET_TSIG_SECRET"']).stdout


# -- DNS


@pytest.mark.parametrize("server", SERVERS)
def test_both_servers_answer_by_both_families(server: str, lab: Lab) -> None:
    assert "gmail-smtp-in.l.google.com." in kdig(lab, "gmail.com", "MX", server=server)
    assert kdig(lab, "-x", "198.18.1.25", server=server) == "gmail-smtp-in.l.google.com."
    assert kdig(lab, "-x", "198.18.0.14", server=server) == "acme.lab.test."
    assert "site-verification" in kdig(lab, "example.com", "TXT", server=server)


def validated(name: str, rdtype: str, anchor: dns.rrset.RRset) -> dns.rrset.RRset:
    """The RRset, validated from the root's key down, or an exception."""
    owner = dns.name.from_text(name)
    zone, keys = dns.name.root, fetch(dns.name.root, "DNSKEY", anchor, dns.name.root)
    for depth in range(1, len(owner.labels) + 1):
        below = dns.name.Name(owner.labels[-depth:])
        if below == dns.name.root:
            continue
        try:
            ds = fetch(below, "DS", keys, zone)
        except LookupError:
            continue
        child = ask(below, "DNSKEY")
        key = child[0]
        hashes = [dns.dnssec.make_ds(below, item, "SHA256") for item in key]
        assert any(item in ds for item in hashes), f"no key of {below} matches its DS"
        dns.dnssec.validate(*child, {below: key})
        zone, keys = below, key
    return fetch(owner, rdtype, keys, zone)


def fetch(
    name: dns.name.Name, rdtype: str, keys: dns.rrset.RRset, zone: dns.name.Name
) -> dns.rrset.RRset:
    rrset, signatures = ask(name, rdtype)
    dns.dnssec.validate(rrset, signatures, {zone: keys})
    return rrset


def ask(name: dns.name.Name, rdtype: str) -> tuple[dns.rrset.RRset, dns.rrset.RRset]:
    query = dns.message.make_query(name, rdtype, want_dnssec=True)
    answer = dns.query.udp(query, SERVERS[0], timeout=5)
    kind = dns.rdatatype.from_text(rdtype)
    rrset = answer.get_rrset(answer.answer, name, dns.rdataclass.IN, kind)
    covering = dns.rdatatype.RRSIG
    signatures = answer.get_rrset(answer.answer, name, dns.rdataclass.IN, covering, kind)
    if rrset is None or signatures is None:
        raise LookupError(f"{name} {rdtype}")
    return rrset, signatures


@pytest.mark.parametrize(
    ("name", "rdtype"),
    [
        ("gmail.com.", "MX"),
        ("gmail-smtp-in.l.google.com.", "AAAA"),
        ("outlook.com.", "TXT"),
        ("acme.lab.test.", "A"),
        ("example.com.", "SOA"),
        ("example.net.", "NS"),
        ("25.1.18.198.in-addr.arpa.", "PTR"),
        ("100.51.198.in-addr.arpa.", "SOA"),
        ("8.b.d.0.1.0.0.2.ip6.arpa.", "SOA"),
    ],
)
def test_dnssec_validates_from_the_key_the_hosts_have(name: str, rdtype: str, lab: Lab) -> None:
    line = lab.ssh("mx1.us", "cat /usr/share/dns/root.key").stdout
    anchor = dns.rrset.from_text(".", 0, "IN", "DNSKEY", line.split("DNSKEY")[1].strip())
    assert network.inside(lab.layout, lambda: validated(name, rdtype, anchor))


def test_a_wrong_anchor_does_not_validate(lab: Lab) -> None:
    other = base64.b64encode(bytes(range(64))).decode()
    anchor = dns.rrset.from_text(".", 0, "IN", "DNSKEY", f"257 3 13 {other}")
    with pytest.raises(dns.dnssec.ValidationFailure):
        network.inside(lab.layout, lambda: validated("gmail.com.", "MX", anchor))


def test_an_update_needs_the_key(lab: Lab) -> None:
    name = "tsig-test.example.com."
    line = f'add {name} 60 TXT "here"'
    wrong = base64.b64encode(b"x" * 32).decode()
    for key in (None, wrong):
        refused = update(lab, "example.com.", line, key)
        assert refused.returncode != 0
        said = refused.stdout + refused.stderr
        assert any(code in said for code in ("NOTAUTH", "REFUSED", "BADSIG")), said
    assert kdig(lab, name, "TXT") == ""
    good = update(lab, "example.com.", line, secret(lab))
    assert good.returncode == 0, good.stderr
    for server in SERVERS:
        assert kdig(lab, name, "TXT", server=server) == '"here"'
    signed = lab.run(["kdig", "@198.18.0.53", "+dnssec", "+noall", "+answer", name, "TXT"]).stdout
    assert "RRSIG" in signed
    assert update(lab, "example.com.", f"del {name} TXT", secret(lab)).returncode == 0
    assert kdig(lab, name, "TXT") == ""


@pytest.mark.parametrize("zone", ["gmail.com.", "lab.test.", "18.198.in-addr.arpa."])
def test_zones_of_others_take_no_update(zone: str, lab: Lab) -> None:
    result = update(lab, zone, f'add x.{zone} 60 TXT "x"', secret(lab))
    assert result.returncode != 0
    assert kdig(lab, f"x.{zone}", "TXT") == ""


def test_a_transfer_needs_the_key(lab: Lab) -> None:
    without = lab.run(["kdig", "@198.18.0.53", "example.com", "AXFR"], check=False)
    assert "SOA" not in without.stdout
    key = f"hmac-sha256:mailfleet:{secret(lab)}"
    whole = lab.run(["kdig", "@198.18.0.53", "-y", key, "example.com", "AXFR"]).stdout
    assert "site-verification" in whole


# -- ACME and trust


def test_every_host_and_control_trust_the_acme_server(lab: Lab) -> None:
    url = "https://acme.lab.test:14000/dir"
    script = f"import urllib.request as r; print(r.urlopen({url!r}, timeout=10).status)"
    client = "openssl s_client -verify_return_error -connect acme.lab.test:14000 </dev/null 2>&1"
    for host in lab.record().hosts:
        assert "Verification: OK" in lab.ssh(host.name, client).stdout, host.name
    assert lab.run([sys.executable, "-c", script]).stdout.strip() == "200"


def test_nobody_outside_the_lab_trusts_it(lab: Lab) -> None:
    system = Path("/etc/ssl/certs/ca-certificates.crt").read_text()
    authority = (lab.layout.secrets / "ca.pem").read_text()
    assert authority.strip() not in system
    assert authority.strip() in lab.run(["cat", "/etc/ssl/certs/ca-certificates.crt"]).stdout


# -- the control machine


def test_a_command_keeps_its_directory_input_and_exit_code(lab: Lab, tmp_path: Path) -> None:
    script = 'pwd; cat; echo "$MAILFLEET_LAB $HOME" >&2; exit 41'
    result = lab.run(["sh", "-c", script], check=False, input="given", cwd=tmp_path)
    assert result.returncode == 41
    assert result.stdout == f"{tmp_path}\ngiven"
    assert result.stderr == f"1 {lab.layout.home}\n"
    with pytest.raises(subprocess.CalledProcessError):
        lab.run(["false"])


def test_the_commands_of_the_cli(lab: Lab, tmp_path: Path) -> None:
    mailfleet = str(Path(sys.executable).parent / "mailfleet")
    env = {**os.environ, "MAILFLEET_LAB_DIR": str(lab.layout.directory)}

    def cli(*argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [mailfleet, "lab", *argv],
            env=env,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    ran = cli("run", "--", "sh", "-c", "pwd; cat /etc/resolv.conf; exit 9")
    assert ran.returncode == 9
    assert ran.stdout.splitlines()[0] == str(tmp_path)
    assert "nameserver 198.18.0.53" in ran.stdout
    assert "nameserver 198.18.0.53" not in Path("/etc/resolv.conf").read_text()
    there = cli("ssh", "mx1.eu", "--", "echo $SSH_CONNECTION; exit 7")
    assert there.returncode == 7
    assert "198.51.100.25" in there.stdout
    nowhere = cli("ssh", "mta1")
    assert nowhere.returncode == 1
    assert "matches several hosts" in nowhere.stderr
    status = json.loads(cli("status", "--json").stdout)
    assert status["up"] is True
    assert all(status["services"].values())
    assert {host["name"] for host in status["hosts"]} == {h.name for h in lab.record().hosts}


def test_the_host_keys_are_the_known_ones(lab: Lab) -> None:
    """No trust on first use: an unknown key is refused by name and by every address."""
    known = (lab.layout.home / ".ssh/known_hosts").read_text()
    for host in lab.record().hosts:
        key = lab.ssh(host.name, "cat /etc/ssh/ssh_host_ed25519_key.pub").stdout.split()[1]
        names = ",".join((host.name, *map(str, host.addresses)))
        assert f"{names} ssh-ed25519 {key}" in known
    assert len({line.split()[2] for line in known.splitlines()}) == len(lab.record().hosts)


def test_secrets_are_for_root_only(lab: Lab) -> None:
    place = lab.layout
    for path in (place.home, place.home / ".ssh", place.secrets):
        assert path.stat().st_mode & 0o077 == 0, path
    for path in (place.knot / "knot.conf", place.home / ".ssh/id_ed25519", place.secrets / "tsig"):
        assert path.stat().st_mode & 0o077 == 0, path
    arguments = "".join(
        path.read_text(errors="replace")
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if path.exists()
    )
    assert (place.secrets / "tsig").read_text() not in arguments


# -- a deployed host

# Bare hosts have no DNS tool: the question is made here, and asked there.
ASK = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(10)
s.sendto(bytes.fromhex(sys.argv[1]), ("127.0.0.1", 53))
print(s.recv(4096).hex())
"""


@pytest.mark.parametrize(
    ("name", "rdtype"),
    [("gmail.com.", "MX"), ("example.com.", "MX"), ("acme.lab.test.", "A"), (".", "DNSKEY")],
)
def test_the_resolver_of_a_deployed_host_validates(name: str, rdtype: str, deployed: Lab) -> None:
    query = dns.message.make_query(name, rdtype, want_dnssec=True)
    for host in deployed.record().hosts:
        argv = ["python3", "-c", ASK, query.to_wire().hex()]
        answer = dns.message.from_wire(bytes.fromhex(deployed.ssh(host.name, argv).stdout))
        assert answer.flags & dns.flags.AD, host.name
        assert answer.answer, host.name
