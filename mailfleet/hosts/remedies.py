"""From the words of a failure to what the operator can do about it."""

from __future__ import annotations

import re
from collections.abc import Sequence

# The first pattern found in the last lines of a failed command decides.
_REMEDIES = (
    (
        r"host key .*does not match|IDENTIFICATION HAS CHANGED",
        "the host answers with another SSH key than before: if it was reinstalled, "
        "ssh-keygen -R {host} (or its address); if not, find out who answers",
    ),
    (
        r"Authentication error|Permission denied \(publickey",
        "check `ssh_user` in inventories/group_data/all.py, and that the host has your public "
        "key (ssh -v shows which are tried)",
    ),
    (
        r"timed out|No route to host|Network is unreachable|Unable to connect|Could not connect"
        r"|Connection refused|Error reading SSH protocol banner",
        "check that the host is up and that its address and SSH port are right; its firewall "
        "lets in only fleet.management_networks",
    ),
    (
        r"Name or service not known|Could not resolve",
        "the name does not resolve: set `ssh_hostname` in the inventory, or publish its address",
    ),
    (
        r"a password is required|interactive authentication is required|sudo password",
        "sudo asks for a password: allow this user NOPASSWD, or connect as root",
    ),
    (
        r"No space left on device|Disk quota exceeded|Wrote only \d+ of",
        "the disk is full: make room (df -h)",
    ),
    (
        r"Read-only file system",
        "a file system is read-only, often after a disk error: see dmesg on the host",
    ),
    (
        r"lock\b.*(held|lock)|get lock|frontend lock|has held",
        "another package manager or another mailfleet is at work on the host: wait and run again",
    ),
    (
        r"Temporary failure resolving|Failed to fetch|Unable to fetch|Could not connect to .*:80",
        "the package mirror cannot be reached: check the name server and the sources of apt "
        "on the host",
    ),
    (
        r"Unable to locate package|has no installation candidate",
        "the package is not in the host's archive: check its apt sources and that `debian` in "
        "the inventory is its release",
    ),
    (
        r"refused by its own checker",
        "nothing was changed on the host; correct the setting or template that the lines above "
        "speak of",
    ),
    (
        r"could not read the state|Command socket/SSH error|Socket is closed",
        "the connection broke or the host could not be read: run again",
    ),
    (
        r"\.service|\.timer|\.socket",
        "see why the unit does not run: journalctl -u UNIT on the host",
    ),
)


def remedy(output: Sequence[str], host: str) -> str:
    """What to do about a failure that printed these lines."""
    text = "\n".join(output)
    for pattern, advice in _REMEDIES:
        if re.search(pattern, text, re.IGNORECASE):
            return advice.format(host=host)
    return "correct what the lines above speak of and run again; what was done stays done"
