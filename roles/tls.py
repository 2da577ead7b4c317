"""The role `tls`: one certificate a host, for its own name, by ACME HTTP-01 (RFC 8555).

It is self-signed until the CA has given one, so that everything can start before DNS points to
the host. No credential for DNS is on the host: whoever takes one host must not get the zones.
"""

from __future__ import annotations

import shlex
from collections.abc import Generator

from pyinfra import context, logger
from pyinfra.api.command import StringCommand
from pyinfra.api.deploy import deploy
from pyinfra.api.facts import FactBase
from pyinfra.api.operation import operation

from mailfleet.fleet.model import Fleet, Host, Role
from mailfleet.hosts import changes, operations
from mailfleet.hosts.files import File
from mailfleet.hosts.render import render
from mailfleet.hosts.roles import Port

SCRIPT = "/usr/local/lib/mailfleet/mailfleet-cert"
# Days before its end; public CAs give 90, and revoke nothing that is renewed early.
RENEW_DAYS = 30
# Units that read the certificate when they are told to reload. A sender serves it to nobody yet,
# and a reload would restart the pauses of its warm-up.
RELOADED = {
    Role.SENDER: (),
    Role.MX: ("postfix.service",),
    Role.BACKUP_MX: ("postfix.service",),
}

_UNITS = "/etc/systemd/system"


def certificate_path(host: Host) -> str:
    """Key first, then the chain, in one file: what `smtpd_tls_chain_files` wants."""
    return f"/etc/mailfleet/tls/{host.name}.pem"


def packages(host: Host) -> tuple[str, ...]:
    """The same on Debian 12 and 13; lego is 4.9 on both."""
    return ("lego", "openssl")


def ports(fleet: Fleet, host: Host) -> tuple[Port, ...]:
    """80, where the CA looks for the answer; something listens only while it is asked."""
    return (Port(80, answers="nothing"),)


def files(fleet: Fleet, host: Host) -> tuple[File, ...]:
    """The script, its settings, and the timer that calls it. Never a key."""
    settings = {
        "name": host.name,
        "zone": fleet.general.zone,
        "addresses": shlex.quote(" ".join(str(address) for address in host.addresses)),
        "directory": shlex.quote(fleet.acme.directory),
        "contact": shlex.quote(fleet.acme.contact or fleet.general.contact),
        "certificate": certificate_path(host),
        "renew_days": RENEW_DAYS,
        "reload": shlex.quote(" ".join(RELOADED[host.role])),
    }
    return (
        File(SCRIPT, render("usr/local/lib/mailfleet/mailfleet-cert.j2"), mode="755"),
        File("/etc/mailfleet/cert.conf", render("etc/mailfleet/cert.conf.j2", **settings)),
        *(
            File(f"{_UNITS}/{unit}", render(f"etc/systemd/system/{unit}.j2", name=host.name))
            for unit in ("mailfleet-cert.service", "mailfleet-cert.timer")
        ),
    )


class Certificate(FactBase[dict[str, str] | None]):
    """What `mailfleet-cert status` says: `state`, and while that is not `issued` `dns`, `found`."""

    def command(self) -> str:
        return (
            f"if [ -x {SCRIPT} ] && [ -r /etc/mailfleet/cert.conf ]; then {SCRIPT} status; "
            "else echo mailfleet-cert state=absent; fi"
        )

    def process(self, output: list[str]) -> dict[str, str] | None:
        words = output[-1].split()
        if words[:1] != ["mailfleet-cert"]:
            return None
        return dict(word.split("=", 1) for word in words[1:])


def waits_for_dns(state: dict[str, str]) -> bool:
    """Whether nothing can be done until DNS points to the host."""
    return state["state"] not in ("absent", "missing", "issued") and state["dns"] == "elsewhere"


@operation()
def certificate(host: Host) -> Generator[StringCommand, None, None]:
    """Have a certificate: self-signed at least, the CA's when the name points to the host."""
    state = context.host.get_fact(Certificate)
    if state is None:
        yield StringCommand("echo 'could not read the state of the certificate' >&2; exit 1")
        return
    if state["state"] == "issued":
        return
    if waits_for_dns(state):
        _note(host, state)
        return
    changes.announce("command", certificate_path(host), state["state"])
    yield StringCommand(f"{SCRIPT} ensure")
    after = context.host.get_fact(Certificate)
    if after is not None and waits_for_dns(after):
        _note(host, after)


def _note(host: Host, state: dict[str, str]) -> None:
    context.host.log(
        f"Certificate of {host.name} is {state['state']}: DNS does not point to this host yet "
        f"(found {state['found']}, expected {', '.join(map(str, host.addresses))}). It is tried "
        "again every hour, and by the next deploy",
        logger.warning,
    )


@deploy("tls")
def tls(fleet: Fleet, host: Host) -> None:
    """The certificate, and the timer that keeps it."""
    wanted = files(fleet, host)
    operations.files(name="Settings of the certificate", files=wanted, validate=_CHECK)
    certificate(name="Certificate", host=host)
    operations.run(
        name="systemd knows how to renew it",
        command="systemctl daemon-reload",
        unless="systemctl show -P NeedDaemonReload mailfleet-cert.service | grep -qx no",
    )
    operations.service(
        name="It is renewed in time", unit="mailfleet-cert.timer", restarts=wanted[-1:]
    )


_CHECK = f'sh -n "$(staged {SCRIPT})" && sh -eu "$(staged /etc/mailfleet/cert.conf)"'
