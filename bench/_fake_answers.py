"""What a fake host answers that has everything its roles want."""

from __future__ import annotations

import datetime as dt
from base64 import b64encode

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from mailfleet.dkim.records import merged, write_record
from mailfleet.dkim.selector import selector_for
from mailfleet.fleet.model import Fleet, Host
from mailfleet.hosts.files import DEPLOYED, File
from mailfleet.hosts.rendered import files_of
from mailfleet.hosts.roles import packages_of, role

_DER = (
    rsa.generate_private_key(65537, 2048)
    .public_key()
    .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
)
PUBLIC_KEY = b64encode(_DER).decode()


def answers(fleet: Fleet, host: Host) -> dict[str, list[str]]:
    """For @fake: from a part of a command to the lines it prints. Records the host's DKIM key."""
    now = dt.datetime.now(dt.UTC)
    selector = selector_for(host.name, fleet.general.zone, now.date())
    files = {file.path: file for file in files_of(fleet, host)}
    if host.pool:
        write_record(fleet.directory, host.name, merged((), {selector: PUBLIC_KEY}))
        files |= {file.path: file for file in role("opendkim").files(fleet, host, selector)}
    files[DEPLOYED] = File(DEPLOYED, f"{host.name}\n")
    sums = [f"{file.sha256}  {path}" for path, file in files.items()]
    states = [
        f"stat {0o100000 | int(file.mode, 8):x} {file.user} {file.group} {path}"
        for path, file in files.items()
    ]
    names = {name.strip() for each in packages_of(fleet, host) for name in each.split("|")}
    return {
        "/etc/os-release": [f"debian {host.debian}"],
        "echo mailfleet-packages": ["mailfleet-packages", *(f"ii {name}" for name in names)],
        "echo mailfleet-files": ["mailfleet-files", *states, *sums],
        # Off where the signatures are private.
        "-- clamav-freshclam": [
            "mailfleet-service",
            "LoadState=loaded",
            "ActiveState=inactive",
            "UnitFileState=disabled",
        ],
        "echo mailfleet-service": [
            "mailfleet-service",
            "LoadState=loaded",
            "ActiveState=active",
            "UnitFileState=enabled",
            "NeedDaemonReload=no",
            "ActiveEnterTimestamp=@9",
            *(f"changed 1 {path}" for path in files),
            "stamp",
        ],
        "echo mailfleet-test": ["mailfleet-test", "yes"],
        "echo mailfleet-firewall": [
            "mailfleet-firewall",
            "installed",
            "Status: active",
            "Default: deny (incoming), allow (outgoing), disabled (routed)",
            *(f"ufw {rule} comment 'mailfleet'" for rule in role("firewall").rules(fleet, host)),
            "ENABLED=yes",
            "IPV6=yes",
            "boot enabled",
        ],
        "mailfleet-cert state=absent": ["mailfleet-cert state=issued"],
        "echo mailfleet-dkim": [f"key {selector} {PUBLIC_KEY}", "mailfleet-dkim"],
        "echo mailfleet-warmup": [f"date {now:%Y-%m-%d}", "installed yes", "mailfleet-warmup"],
        "MemTotal": ["8000000"],
    }
