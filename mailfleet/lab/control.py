"""The control machine: how a command runs inside the lab.

The command keeps this machine's file system and working directory, but is in the lab's network
namespace and sees, in a mount namespace of its own, the lab's resolver, certificate authorities
and SSH identity. So every tool works in the lab as it would on a real control machine.
"""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from mailfleet.lab import keys
from mailfleet.lab.files import write
from mailfleet.lab.layout import Layout
from mailfleet.lab.processes import MARKER, PATH, enter
from mailfleet.lab.seal import sealed

BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
# Every name under which some program looks for a CA bundle.
_BUNDLE_VARIABLES = (
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "LEGO_CA_CERTIFICATES",
)
# Settings that would lead a program out of the lab, or past its CA bundle.
_DROPPED = (
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "SSH_AUTH_SOCK",
    "SSL_CERT_DIR",
    "MAILFLEET_LAB_SERVICE",
)


def prepare(lab: Layout, roots: str) -> None:
    """Write the CA bundle that a command in the lab sees (`roots` is PEM)."""
    system = BUNDLE.read_text() if BUNDLE.is_file() else ""
    authority = (lab.secrets / "ca.pem").read_text()
    write(lab.home / "ca-certificates.crt", system + authority + roots)


def command(lab: Layout, argv: Sequence[str]) -> list[str]:
    """The full command line that runs `argv` inside the lab."""
    user_ssh = Path(pwd.getpwuid(os.getuid()).pw_dir) / ".ssh"
    binds = {
        lab.home / "ca-certificates.crt": BUNDLE,
        # ssh(1) ignores HOME: it reads the password database's directory, then the system's file.
        lab.home / ".ssh": user_ssh,
        lab.home / ".ssh/config": Path("/etc/ssh/ssh_config"),
    }
    return [*enter(lab), *sealed(lab, argv, binds)]


def environment(lab: Layout, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a command inside the lab."""
    env = dict(os.environ if base is None else base)
    for name in _DROPPED:
        env.pop(name, None)
        env.pop(name.upper(), None)
    # This installation's own mailfleet, pyinfra and Python come first.
    env["PATH"] = f"{Path(sys.executable).parent}:{env.get('PATH', '')}:{PATH}"
    env.update({name: str(lab.home / "ca-certificates.crt") for name in _BUNDLE_VARIABLES})
    env.update(
        {
            MARKER: lab.id,
            "HOME": str(lab.home),
            "MAILFLEET_LAB": "1",
            "MAILFLEET_LAB_DIR": str(lab.directory),
            "MAILFLEET_CACHE_DIR": str(lab.cache),
            "MAILFLEET_TSIG_SECRET": keys.tsig_secret(lab),
        }
    )
    return env
