"""The lab's name servers: one knotd at the addresses of ns1 and ns2, authoritative for all."""

from __future__ import annotations

import base64
import shutil
import subprocess
import time
from pathlib import Path

import dns.dnssec
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rdatatype
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from dns.rdtypes.ANY.DNSKEY import DNSKEY

from mailfleet.lab import keys, zones
from mailfleet.lab.errors import LabError
from mailfleet.lab.files import write
from mailfleet.lab.layout import Layout
from mailfleet.lab.network import inside
from mailfleet.lab.processes import PATH, end, log_tail, runs, service, spawn
from mailfleet.lab.world import NAME_SERVERS

NAME = "dns"


def prepare(lab: Layout, fleet_zones: tuple[str, ...]) -> None:
    """Write configuration, zones and key; a zone that exists keeps what was done to it."""
    home = lab.knot
    known = home / "zones.txt"
    wanted = "\n".join(zones.names(fleet_zones))
    if known.is_file() and known.read_text() == wanted:
        return
    end(service(lab, NAME), timeout=20)
    key = _key(lab)
    for name in ("zones", "run", "db"):
        (home / name).mkdir(parents=True, exist_ok=True)
    write(home / "knot.conf", _configuration(lab, fleet_zones), 0o600)
    # The root tells of every zone, so it is written anew, with a higher serial.
    for zone in zones.build(fleet_zones, key):
        path = _zone_file(lab, zone.name)
        if zone.name == "" or not path.is_file():
            write(path, zone.text(serial=int(time.time())))
    _import_keys(lab, zones.names(fleet_zones))
    write(known, wanted)


def start(lab: Layout, fleet_zones: tuple[str, ...]) -> None:
    """Start knotd unless it runs, and wait until every zone is there and signed."""
    if not service(lab, NAME):
        spawn(lab, NAME, ["knotd", "--config", str(lab.knot / "knot.conf")])
    missing = inside(lab, lambda: _wait(lab, zones.names(fleet_zones)))
    if missing is not None:
        raise LabError(
            f"The lab's name server does not serve {missing or 'the root zone'}. It says:\n"
            + log_tail(lab, NAME),
            f"Its configuration and log are in {lab.knot} and {lab.logs / 'dns.log'}.",
        )


def trust_anchor(lab: Layout) -> tuple[str, str, str]:
    """root.hints, root.key and root.ds as the hosts get them."""
    anchor = zones.trust_anchor(_key(lab))
    return zones.root_hints(), anchor["key"], anchor["ds"]


def _key(lab: Layout) -> DNSKEY:
    """The one key (a CSK, RFC 6781) that signs every zone; made when there is none."""
    path = lab.secrets / "dnssec.pem"
    if not path.is_file():
        made = ec.generate_private_key(ec.SECP256R1())
        pem = made.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        write(path, pem, 0o600)
    private = serialization.load_pem_private_key(path.read_bytes(), None)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise LabError(f"{path} is not an EC key.", "Run `mailfleet lab down`, then `up`.")
    numbers = private.public_key().public_numbers()
    material = numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
    text = f"257 3 13 {base64.b64encode(material).decode()}"
    rdata = dns.rdata.from_text("IN", "DNSKEY", text)
    if not isinstance(rdata, DNSKEY):
        raise TypeError(text)
    return rdata


def _import_keys(lab: Layout, names: tuple[str, ...]) -> None:
    known = lab.knot / "keys.txt"
    have = set(known.read_text().split("\n")) if known.is_file() else set()
    if not known.is_file():
        shutil.rmtree(lab.knot / "db" / "keys", ignore_errors=True)
    for name in names:
        if name in have:
            continue
        argv = ["keymgr", "-c", str(lab.knot / "knot.conf"), f"{name}.", "import-pem"]
        argv += [str(lab.secrets / "dnssec.pem"), "algorithm=ECDSAP256SHA256"]
        argv += ["ksk=yes", "zsk=yes", "created=t-1d", "publish=t-1d", "ready=t-1d", "active=t-1d"]
        result = subprocess.run(
            argv, capture_output=True, text=True, check=False, env={"PATH": PATH}
        )
        if result.returncode:
            raise LabError(f"`{' '.join(argv)}` failed: {result.stderr.strip()}")
    write(known, "\n".join(names))


def _configuration(lab: Layout, fleet_zones: tuple[str, ...]) -> str:
    home = lab.knot
    listen = [f'"{address}@53"' for pair in NAME_SERVERS.values() for address in pair]
    lines = [
        "server:",
        f'  rundir: "{home}/run"',
        f"  listen: [ {', '.join(listen)} ]",
        "  udp-workers: 1",
        "  tcp-workers: 2",
        "  background-workers: 2",
        "log:",
        "  - target: stderr",
        "    any: info",
        "database:",
        f'  storage: "{home}/db"',
        "  journal-db-max-size: 256M",
        "  kasp-db-max-size: 64M",
        "  timer-db-max-size: 64M",
        "key:",
        f"  - id: {keys.TSIG_NAME}",
        f"    algorithm: {keys.TSIG_ALGORITHM}",
        f"    secret: {keys.tsig_secret(lab)}",
        "acl:",
        "  - id: operator",
        f"    key: {keys.TSIG_NAME}",
        "    action: [ update, transfer ]",
        "policy:",
        "  - id: lab",
        "    manual: on",
        "    single-type-signing: on",
        "    algorithm: ecdsap256sha256",
        "    cds-cdnskey-publish: none",
        "template:",
        "  - id: default",
        f'    storage: "{home}/zones"',
        "    dnssec-signing: on",
        "    dnssec-policy: lab",
        "    semantic-checks: off",
        "zone:",
    ]
    for name in zones.names(fleet_zones):
        lines += [f'  - domain: "{name}."', f'    file: "{_zone_file(lab, name).name}"']
        if name in fleet_zones:
            lines.append("    acl: operator")
    return "\n".join(lines) + "\n"


def _zone_file(lab: Layout, name: str) -> Path:
    return lab.knot / "zones" / f"{name or 'root'}.zone"


def _wait(lab: Layout, names: tuple[str, ...]) -> str | None:
    """The first zone that does not get served in time; None when all are."""
    deadline = time.monotonic() + 30
    for name in names:
        while not _signed(name):
            if time.monotonic() > deadline or not runs(lab, NAME):
                return name
            time.sleep(0.1)
    return None


def _signed(name: str) -> bool:
    query = dns.message.make_query(f"{name}.", "SOA", want_dnssec=True)
    servers = [str(pair[0]) for pair in NAME_SERVERS.values()]
    try:
        answers = [dns.query.udp(query, server, timeout=1) for server in servers]
    except (OSError, dns.exception.DNSException):
        return False
    return all(
        any(rrset.rdtype == dns.rdatatype.RRSIG for rrset in answer.answer) for answer in answers
    )
